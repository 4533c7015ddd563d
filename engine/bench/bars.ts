/** The bars for the kernels, and whether a run of the benchmark met them. */
import type { BenchDocument } from "./document.ts";

/** One bar that a run has a figure for. */
export interface Bar {
  readonly what: string;
  readonly sense: "at least" | "at most";
  readonly bar: number;
  /** The worst figure of the run. */
  readonly found: number;
  readonly met: boolean;
}

/** The bars of the ring's own cost apply from this many tokens on: with fewer, fixed costs weigh too much. */
const RING_TOKENS = 2048;

/** The bars that a run has figures for. */
export function barsOf(
  { adapter, kernels, ring, peers, coldStart }: Pick<
    BenchDocument,
    "adapter" | "kernels" | "ring" | "peers" | "coldStart"
  >,
): readonly Bar[] {
  const eight = ring.filter((r) => r.ranks === 8 && r.tokens >= RING_TOKENS);
  const chosen = kernels.filter((k) => k.chosen);
  return [
    // On a software adapter, multiply-adds cost next to nothing beside loads. The bar there is a peer's time.
    ...atLeast(
      "prefill: share of the f32 multiply-add rate, best shape",
      0.5,
      adapter.software
        ? []
        : best(chosen.filter((k) => isPrefill(k) && k.ofMatrix === undefined).map((k) => k.ofMultiplyAdd)),
    ),
    ...atLeast(
      "prefill on matrix units: share of their f16 rate, best shape",
      0.35,
      best(kernels.filter(isPrefill).flatMap((k) => k.ofMatrix ?? [])),
    ),
    ...atLeast(
      "decode: share of the copying kernel's bandwidth",
      0.6,
      chosen.filter((k) => k.shape.mask === "decode").map((k) => k.ofCopyKernel),
    ),
    ...atMost(
      `ring, N = 8, ${RING_TOKENS} tokens and up: summed attention over the single call's`,
      1.08,
      eight.map((r) => r.ofSingleCall),
    ),
    ...atMost(
      `ring, N = 8, ${RING_TOKENS} tokens and up: merge over attention and merge`,
      0.03,
      eight.map((r) => r.mergeShare),
    ),
    ...atLeast(
      "peer's time over ours, 1,024 to 4,096 tokens",
      4,
      peers.filter((p) => p.shape.tokens >= 1024 && p.shape.tokens <= 4096).map((p) => p.ratio),
    ),
    ...atMost(
      "seconds to the first result in a browser just started",
      3,
      coldStart === null ? [] : [coldStart.firstResultSeconds],
    ),
  ];
}

function atLeast(what: string, bar: number, found: readonly number[]): Bar[] {
  const worst = Math.min(...found);
  return found.length === 0 ? [] : [{ what, sense: "at least", bar, found: worst, met: worst >= bar }];
}

function atMost(what: string, bar: number, found: readonly number[]): Bar[] {
  const worst = Math.max(...found);
  return found.length === 0 ? [] : [{ what, sense: "at most", bar, found: worst, met: worst <= bar }];
}

const isPrefill = ({ shape }: BenchDocument["kernels"][number]) => shape.mask === "causal" || shape.mask === "full";

const best = (found: readonly number[]) => (found.length === 0 ? [] : [Math.max(...found)]);
