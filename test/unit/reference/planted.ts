/** Twenty faults that kernels, rings and wires have had: each spoils a right result. */
import type { FixedInput } from "../../../engine/cluster/in-process.ts";
import { type KeyRun, reference } from "../../../engine/reference/attention.ts";

/** A result to spoil. */
export interface Result {
  readonly out: Float32Array;
  readonly lse: Float32Array;
}

type Input = Omit<FixedInput, "variant">;

/** O and LSE of the keys of each of four ranks, by contiguous quarters of one sequence. */
function parts(input: Input, ranks = 4) {
  const keys = input.k.length / (input.kvHeads * input.headDim);
  const held = (rank: number): KeyRun => ({
    sequence: 0,
    start: Math.floor((rank * keys) / ranks),
    length: Math.floor(((rank + 1) * keys) / ranks) - Math.floor((rank * keys) / ranks),
  });
  return Array.from({ length: ranks }, (_, rank) => reference(input, undefined, [held(rank)]));
}

type Part = ReturnType<typeof reference>;

/** Eq. 4, or a faulty version: the `weight` of a part with LSE `lse` if the largest is `top`. */
function merged(some: readonly Part[], D: number, weight = (lse: number, top: number) => Math.exp(lse - top)): Result {
  const rows = some[0].lse.length;
  const out = new Float32Array(rows * D);
  const lse = new Float32Array(rows);
  for (let r = 0; r < rows; r++) {
    const top = Math.max(...some.map((part) => part.lse[r]));
    const weights = some.map((part) => (part.lse[r] === -Infinity ? 0 : weight(part.lse[r], top)));
    const sum = weights.reduce((a, b) => a + b, 0);
    lse[r] = top + Math.log(sum);
    for (let d = 0; d < D; d++) {
      out[r * D + d] = some.reduce((total, part, i) => total + (weights[i] / sum) * part.out[r * D + d], 0);
    }
  }
  return { out, lse };
}

const single = ({ out, lse }: Part): Result => ({ out: Float32Array.from(out), lse: Float32Array.from(lse) });
const changed = (x: Float32Array, at: number, value: number) => x.map((old, i) => (i === at ? value : old));
const row = (input: Input) => input.heads * input.headDim;

/** Each fault by name. `allowed`: the bound of an element of O. */
export const FAULTS: Readonly<
  Record<string, (input: Input, right: Result, allowed: (at: number) => number) => Result>
> = {
  "a sign": (_, { out, lse }) => ({ out: changed(out, 777, -out[777]), lse }),
  "a neighbour's row": (input, { out, lse }) => ({
    out: out.map((x, i) => (Math.floor(i / row(input)) === 9 ? out[i + row(input)] : x)),
    lse,
  }),
  "a head in another's place": (input, { out, lse }) => ({
    out: out.map((x, i) => (Math.floor(i / input.headDim) === 21 ? out[i + input.headDim] : x)),
    lse,
  }),
  "a lost rank": (input) => merged(parts(input).slice(0, 3), input.headDim),
  "a hop merged twice": (input) => merged([...parts(input), parts(input)[1]], input.headDim),
  "LSE in base 2": (_, { out, lse }) => ({ out, lse: lse.map((x) => x / Math.LN2) }),
  "one element of O off by 8 bounds": (_, { out, lse }, allowed) => ({
    out: changed(out, 500, out[500] + 8 * allowed(500)),
    lse,
  }),
  "one element of LSE off by a twentieth": (_, { out, lse }) => ({ out, lse: changed(lse, 40, lse[40] * 1.05) }),
  "a NaN": (_, { out, lse }) => ({ out: changed(out, 3, NaN), lse }),
  "an infinite LSE": (_, { out, lse }) => ({ out, lse: changed(lse, 3, Infinity) }),
  "a row left at zero": (input, { out, lse }) => ({
    out: out.map((x, i) => (Math.floor(i / row(input)) === 30 ? 0 : x)),
    lse,
  }),
  "the mask one key short": (input) =>
    single(
      reference({ ...input, sequences: [{ new: input.sequences[0].new, cached: input.sequences[0].cached - 1 }] }),
    ),
  "no mask": (input) => single(reference({ ...input, causal: false })),
  "scores times 1.02": (input) => single(reference({ ...input, scale: 1.02 / Math.sqrt(input.headDim) })),
  "the heads of another group": (input) =>
    single(
      reference({
        ...input,
        q: input.q.map((_, i, q) => q[i - (i % row(input)) + ((i + input.headDim) % row(input))]),
      }),
    ),
  "two keys exchanged, their values not": (input) => single(reference({ ...input, k: exchanged(input, input.k) })),
  "partials averaged, not weighed": (input) => merged(parts(input), input.headDim, () => 1),
  "merged with weights of base 2": (input) => merged(parts(input), input.headDim, (lse, top) => 2 ** (lse - top)),
  "a later partial taken for the merge": (input) => single(parts(input)[0]),
  "values rounded to 8 bits": (input) =>
    single(reference({ ...input, v: input.v.map((x) => Math.fround(Number(x.toPrecision(2)))) })),
};

/** Swaps key 0 and the last key that every query sees. */
function exchanged({ kvHeads, headDim, sequences }: Input, k: Float32Array): Float32Array {
  const width = kvHeads * headDim;
  const other = sequences[0].cached;
  return k.map((x, i) => (i < width ? k[i + other * width] : Math.floor(i / width) === other ? k[i % width] : x));
}
