/** The document that `ringside bench --json` prints, and that ships as results. */
import type { AdapterFacts } from "../cluster/types.ts";
import type { Ceilings } from "./ceilings.ts";
import type { KernelCheck } from "./grid.ts";
import type { KernelFigures } from "./measure-kernels.ts";
import type { MergeFigures } from "./measure-merge.ts";
import type { ReachFigures } from "./measure-reach.ts";
import type { RingFigures } from "./measure-ring.ts";
import type { ColdStart, Peer, PeersReport } from "./peer-types.ts";

/** One run of the benchmark. Times in seconds, rates in FLOP/s and bytes/s. */
export interface BenchDocument {
  readonly benchmark: "ringside bench";
  /** When the run began, ISO 8601. */
  readonly date: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly runtime: string;
  readonly adapter: AdapterFacts;
  /** Where the launcher found the adapter. */
  readonly adapterSource: string | null;
  /** The clock of `seconds`. */
  readonly clock: "GPU timestamps" | "host clock";
  /**
   * `load`: the machine's load averages over a minute before and after, 0 if the system has none. A high load before
   * means that others were at work.
   */
  readonly host: {
    readonly processor: string;
    readonly cores: number;
    readonly load: readonly [before: number, after: number];
  };
  readonly sizes: readonly number[];
  readonly repeats: number;
  readonly checks: readonly KernelCheck[];
  /** If a check failed, everything below is empty. */
  readonly passed: boolean;
  readonly ceilings: Ceilings | null;
  readonly kernels: readonly KernelFigures[];
  readonly merge: readonly MergeFigures[];
  readonly ring: readonly RingFigures[];
  /** Empty unless requested; absent in older documents. */
  readonly reach?: readonly ReachFigures[];
  /** Empty unless requested. */
  readonly peers: readonly Peer[];
  /** The first result in a fresh browser, measured with the peers. */
  readonly coldStart: ColdStart | null;
  /** The browser, its adapter and its checks, if peers were requested. */
  readonly peerPage: Omit<PeersReport, "peers" | "coldStart"> | null;
  /** What a reader should know about this run: software adapters, clocks, how a peer was measured. */
  readonly notes: readonly string[];
}
