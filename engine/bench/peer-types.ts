/** What the benchmark's driver requests of its page, and what the page answers. */
import type { AdapterFacts } from "../cluster/types.ts";
import type { KernelCheck } from "./grid.ts";
import type { Heads } from "./inputs.ts";
import type { Repeats } from "./stats.ts";

/** Largest difference at which the peer's output and ours count as the same attention: both are f32. */
export const PEER_TOLERANCE = 1e-3;

/** What the page has to measure. */
export interface PageRequest {
  /** Address of the folder of onnxruntime-web's files. */
  readonly ort: string;
  /** Which of them the page loads. */
  readonly file: string;
  /** T of each whole causal prefill. */
  readonly sizes: readonly number[];
  readonly shapes: readonly Heads[];
  readonly repeats: number;
}

/**
 * One peer on one shape beside ours. Seconds are medians by the host's clock, from the call to the device's answer,
 * without compilation and copies.
 */
export interface Peer {
  readonly name: string;
  readonly version: string;
  readonly shape: Heads & {
    readonly tokens: number;
    readonly cached: number;
    readonly causal: boolean;
    readonly dtype: "f32";
  };
  readonly peerSeconds: number;
  readonly ourSeconds: number;
  /** The peer's time over ours: above 1, ours is faster. */
  readonly ratio: number;
  readonly peer: Repeats;
  readonly ours: Repeats;
  /** Our kernel. */
  readonly kernel: string;
  readonly maxDifference: number;
  /** Whether maxDifference is within the bound. */
  readonly agrees: boolean;
}

/** The first experiment in a freshly started browser: nothing is compiled or cached. Seconds. */
export interface ColdStart extends Heads {
  readonly ranks: number;
  readonly tokens: number;
  /** Until the ranks' workers have their devices. */
  readonly startSeconds: number;
  /** The experiment, compilation included. */
  readonly attendSeconds: number;
  /** The sum: from the call to the first result. */
  readonly firstResultSeconds: number;
  /** Compilation of the rank that compiled longest. */
  readonly compileSeconds: number;
  /** Whether the result passes the check against float64. */
  readonly passed: boolean;
}

/** The page's findings. */
export interface PageResult {
  readonly adapter: AdapterFacts;
  /** Cross-origin isolated: the clock then steps by 5 us, else by 100 us. */
  readonly isolated: boolean;
  readonly checks: readonly KernelCheck[];
  readonly peers: readonly Peer[];
  readonly coldStart: ColdStart;
  /** Anything special about how the peer was measured. */
  readonly note: string | undefined;
}

/** The page's findings with the browser that it ran in. */
export interface PeersReport extends PageResult {
  readonly browser: string;
  readonly source: string;
}
