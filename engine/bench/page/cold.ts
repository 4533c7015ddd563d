/** The first result in a fresh browser: workers, devices, compilation and a small experiment. */
import { Cluster } from "../../browser.ts";
import { check } from "../../reference/check.ts";
import { type Heads, inputOf } from "../inputs.ts";
import type { ColdStart } from "../peer-types.ts";

const RANKS = 4, TOKENS = 512;
const SHAPE: Heads = { heads: 8, kvHeads: 2, headDim: 64 };

/** Starts a cluster and runs one experiment, as a page does at its first Run. Call it before anything uses the GPU. */
export async function coldStart(): Promise<ColdStart> {
  const input = {
    ...inputOf({ ...SHAPE, sequences: [{ new: TOKENS, cached: 0 }] }),
    variant: "pass-kv" as const,
  };
  const begin = performance.now();
  const cluster = await Cluster.start({ ranks: RANKS });
  try {
    const started = performance.now();
    const result = await cluster.attend(input);
    const done = performance.now();
    return {
      ...SHAPE,
      ranks: RANKS,
      tokens: TOKENS,
      startSeconds: (started - begin) / 1000,
      attendSeconds: (done - started) / 1000,
      firstResultSeconds: (done - begin) / 1000,
      compileSeconds: result.report.times.compile,
      passed: check(input, result).passed,
    };
  } finally {
    await cluster.dispose();
  }
}
