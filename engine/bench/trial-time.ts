/** A text timed in turns with the shipped one on the same device, and its results checked at the size that is timed. */
import type { FixedInput } from "../cluster/in-process.ts";
import { isMergeKernel } from "../gpu/kernels.ts";
import { productsOf } from "../gpu/products.ts";
import { check, checkAsync } from "../reference/check.ts";
import { type Difference, difference } from "../reference/error.ts";
import { F32_PAIR_TOLERANCE } from "../reference/tolerance.ts";
import { operandsOf, timeAttention } from "./attention-run.ts";
import { HEADS, type Heads, inputOfMeasured, measuredAt } from "./inputs.ts";
import { mergeRig } from "./measure-merge.ts";
import type { Bench } from "./open.ts";
import { interleave, type Repeats, repeatsOf } from "./stats.ts";
import { attentionKernel, roleOf } from "./texts.ts";
import { casesOf, storedAs } from "./trial-cases.ts";

/** The text and the shipped one on one experiment, in seconds on the device. */
export interface TrialTime {
  readonly label: string;
  readonly shipped: Repeats;
  readonly text: Repeats;
  /** The text's time over the shipped one's, round by round. */
  readonly ratio: Repeats;
  /**
   * Largest difference of their results. `within`: rows of the text's result are within their bounds of float64, and in
   * f32 every element is as near the shipped one's as two right kernels are.
   */
  readonly apart: Difference;
}

/** Something that a trial times, in the device's seconds. */
export interface Measurement {
  readonly label: string;
  /** `take` gets O and LSE as one buffer. */
  readonly run: (bench: Bench, take?: (data: ArrayBuffer) => void) => Promise<number>;
  /** Whether rows of a result are right: each element within its bound of float64. */
  readonly right: (result: Float32Array, signal?: AbortSignal) => Promise<boolean>;
  /** What a kernel's products are computed from. */
  readonly products: "f32" | "f16";
  readonly dispose: () => void;
}

/** Tokens of what is timed: doubled until the shipped kernel takes long enough for any clock, in seconds. */
const SIZES = { least: 512, most: 8192 };
const LONG_ENOUGH = 0.02;
/** Rows that are checked against float64. */
const ROWS = 16;

/** What is timed of a kernel; nothing if it neither attends nor merges. */
export async function measurementsOf(
  name: string,
  shipped: Bench,
  signal: AbortSignal | undefined,
  progress: (what: string) => void,
): Promise<readonly Measurement[]> {
  if (isMergeKernel(name)) {
    const [rows, parts] = name === "merge-parts"
      ? [1, [64, 512]]
      : [shipped.gpu.facts.software ? SIZES.least : SIZES.most, [2, 8]];
    return parts.map((n): Measurement => {
      const { partial, ...rig } = mergeRig(shipped, rows, n, name);
      return { ...rig, products: "f32", right: (result) => Promise.resolve(mergesRight(rows, n, partial, result)) };
    });
  }
  if (attentionKernel(name) === undefined) return [];
  const able = HEADS.filter(({ headDim }) => casesOf(name, shipped.gpu).some((c) => c.headDim === headDim));
  const measurements: Measurement[] = [];
  for (const heads of able) measurements.push(await attention(name, heads, shipped, signal, progress));
  return measurements;
}

/** An attention of a head shape, large enough to be timed. */
async function attention(
  name: string,
  heads: Heads,
  shipped: Bench,
  signal: AbortSignal | undefined,
  progress: (what: string) => void,
): Promise<Measurement> {
  const [kernel, kv, products] = [attentionKernel(name)!, storedAs(name), productsOf(name)];
  const decodes = roleOf(name) === "pieces";
  for (let size = SIZES.least;; size *= 2) {
    signal?.throwIfAborted();
    const shape = measuredAt(size, heads).find(({ mask }) => mask === (decodes ? "decode" : "causal"))!;
    const input = inputOfMeasured(shape);
    const operands = operandsOf(input, kv);
    const cached = shape.cached === 0 ? "" : `, P ${shape.cached}`;
    const label = `${decodes ? "decode" : "causal prefill"}, T ${shape.tokens}${cached}, ` +
      `heads ${heads.heads}/${heads.kvHeads}, D ${heads.headDim}`;
    progress(label);
    const run: Measurement["run"] = async (bench, take) => (await timeAttention(bench, operands, kernel, take)).device;
    // With some drivers the first run compiles, and clocks rise.
    await run(shipped);
    if (size < SIZES.most && (await run(shipped)) < LONG_ENOUGH) continue;
    const judged = { ...input, ranks: 1, products, variant: "pass-kv", wireDtype: kv } as const;
    return { label, run, products, right: (result, signal) => attendsRight(judged, result, signal), dispose: () => {} };
  }
}

/** Checks rows of an attention from the first to the last. */
async function attendsRight(
  input: FixedInput & Parameters<typeof checkAsync>[0],
  result: Float32Array,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const { heads, headDim } = input;
  const tokens = input.sequences[0].new;
  const rows = someOf(tokens);
  const at = tokens * heads * headDim;
  const out = rowsOf(result.subarray(0, at), rows, heads * headDim);
  const lse = rowsOf(result.subarray(at), rows, heads);
  const { passed } = await checkAsync(input, { out, lse }, { rows, ...(signal === undefined ? {} : { signal }) });
  return passed;
}

/** Checks rows of a merge: it is an attention whose scores are the LSE of the parts, and whose values are their O. */
function mergesRight(
  tokens: number,
  parts: number,
  partial: (part: number) => Float32Array,
  result: Float32Array,
): boolean {
  const { heads, headDim: D } = HEADS[0];
  const all = tokens * heads;
  const rows = someOf(all);
  const [q, k, v] = [1, parts, parts].map((n) => new Float32Array(rows.length * n * D));
  rows.forEach((row, i) => {
    q[i * D] = 1;
    for (let s = 0; s < parts; s++) {
      const at = (i * parts + s) * D;
      k[at] = partial(s)[all * D + row];
      v.set(partial(s).subarray(row * D, (row + 1) * D), at);
    }
  });
  const sequences = rows.map(() => ({ new: 1, cached: parts - 1 }));
  const found = { out: rowsOf(result.subarray(0, all * D), rows, D), lse: rowsOf(result.subarray(all * D), rows, 1) };
  return check({ q, k, v, sequences, heads: 1, kvHeads: 1, headDim: D, scale: 1, ranks: parts }, found).passed;
}

/** Up to ROWS rows of `count`, the first and the last among them. */
function someOf(count: number): number[] {
  const length = Math.min(count, ROWS);
  return Array.from({ length }, (_, i) => Math.floor((i * (count - 1)) / Math.max(1, length - 1)));
}

function rowsOf(from: Float32Array, rows: readonly number[], width: number): Float32Array {
  const to = new Float32Array(rows.length * width);
  rows.forEach((row, i) => to.set(from.subarray(row * width, (row + 1) * width), i * width));
  return to;
}

/** Times a measurement on both benches in turns, and judges the text's result. `step` is called before each run. */
export async function timeBeside(
  { label, run, right, products }: Measurement,
  { shipped, own }: { readonly shipped: Bench; readonly own: Bench },
  repeats: number,
  signal: AbortSignal | undefined,
  step: () => void,
): Promise<TrialTime> {
  const turn = async (bench: Bench, take?: (data: ArrayBuffer) => void) => {
    step();
    return await run(bench, take);
  };
  const results: Float32Array[] = [];
  for (const bench of [shipped, own]) await turn(bench, (data) => results.push(new Float32Array(data)));
  const [theirs, ours] = await interleave([shipped, own], repeats, (bench) => turn(bench), signal);
  const apart = difference(results[1], results[0], F32_PAIR_TOLERANCE);
  // Products in f16 round far more than the tolerance of f32, each kernel in its own way.
  const within = (apart.within || products === "f16") && await right(results[1], signal);
  return {
    label,
    shipped: repeatsOf(theirs),
    text: repeatsOf(ours),
    ratio: repeatsOf(ours.map((seconds, round) => seconds / theirs[round])),
    apart: { ...apart, within },
  };
}
