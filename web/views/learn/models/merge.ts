/** Chapter 3: partial results over disjoint keys, merged, and what goes wrong with other ways to merge them. */
import {
  block,
  CAUSAL,
  difference,
  fromBytes,
  type Range,
  reference,
  toBytes,
  visibility,
} from "../../../engine/learn.ts";
import { copyOf, type PartialResult, small, SmallAttention } from "./small.ts";

/** Tokens of the first figure. */
export const TOKENS = 48;

/** The result of one part of the keys for the row. */
export interface Part {
  readonly from: number;
  readonly to: number;
  /** Keys that the row sees. */
  readonly seen: number;
  readonly lse: number;
  /** First element of O. */
  readonly out: number;
  /** exp(LSE_s - LSE): its share of the result. */
  readonly weight: number;
}

/** A way to store partial results, with its error over all rows for each number of parts. */
export interface Stored {
  readonly name: string;
  /** Root mean square error of O, one for each of {@link COUNTS}. */
  readonly rms: readonly number[];
}

/** The second figure compares the errors of these numbers of parts. */
export const COUNTS: readonly number[] = [2, 4, 8, 16];
/** Tokens of the second figure. */
export const ROWS = 128;

/** One row's parts and their merge. */
export interface Merging {
  readonly parts: readonly Part[];
  readonly out: number;
  readonly lse: number;
  readonly exact: { readonly out: number; readonly lse: number };
  /** First element of O if the bare formula merges the parts two at a time, in the chosen order. */
  readonly unguarded: number;
  /** Distance between bf16 numbers at the merged LSE, and at the LSE of a long context with equal scores. */
  readonly spacing: { readonly here: number; readonly long: number };
}

/** Tokens of the long context. */
export const LONG = 128_000;

const bf16 = (x: Float32Array) => fromBytes(toBytes(x, "bf16"), "bf16");

const asIs = (part: PartialResult) => part;
const roundO = ({ o, lse }: PartialResult): PartialResult => ({ o: bf16(o), lse });
const roundLse = ({ o, lse }: PartialResult): PartialResult => ({ o, lse: bf16(lse) });

/** `sent` applies to each part, `kept` to the merged result after each merge. */
const WAYS: readonly {
  readonly name: string;
  readonly sent: (part: PartialResult) => PartialResult;
  readonly kept: (part: PartialResult) => PartialResult;
}[] = [
  { name: "everything in f32", sent: asIs, kept: asIs },
  { name: "each O sent in bf16", sent: roundO, kept: asIs },
  { name: "merged O kept in bf16", sent: asIs, kept: roundO },
  { name: "each LSE sent in bf16", sent: roundLse, kept: asIs },
  { name: "merged LSE kept in bf16", sent: asIs, kept: roundLse },
];

/** The error of each way to store partial results, against float64. */
export async function storing(seed: number): Promise<Stored[]> {
  const input = small(seed, [{ new: ROWS, cached: 0 }]);
  const attention = new SmallAttention(input);
  const exact = reference(input).out;
  const all = block([[{ start: 0, end: ROWS }]]);
  const rms = WAYS.map((): number[] => []);
  for (const count of COUNTS) {
    const parts = await Promise.all(split(ROWS, count).map((keys) => attention.attend(all, block([[keys]]))));
    for (const [i, { sent, kept }] of WAYS.entries()) {
      // Fold parts in one by one, as pass-KV does.
      let held = { ...parts[0], ...sent(parts[0]) };
      for (const part of parts.slice(1)) {
        const merged = await attention.merge([held, { ...part, ...sent(part) }]);
        held = { ...merged, ...kept(merged) };
      }
      rms[i].push(difference(held.o, exact).rms);
    }
  }
  return WAYS.map(({ name }, i) => ({ name, rms: rms[i] }));
}

function split(tokens: number, count: number): Range[] {
  const bounds = Array.from({ length: count + 1 }, (_, i) => Math.round((i * tokens) / count));
  return bounds.slice(1).map((end, i) => ({ start: bounds[i], end }));
}

/** Cuts the keys of {@link TOKENS} tokens into `count` parts and merges the row's results, in order or backwards. */
export async function merging(seed: number, count: number, row: number, backwards: boolean): Promise<Merging> {
  const input = small(seed, [{ new: TOKENS, cached: 0 }]);
  const attention = new SmallAttention(input);
  const ranges = split(TOKENS, count);
  const order = <T>(list: readonly T[]) => (backwards ? list.toReversed() : list);
  const one = block([[{ start: row, end: row + 1 }]]);
  const partials = await Promise.all(ranges.map((keys) => attention.attend(one, block([[keys]]))));
  const copies = partials.map(copyOf);
  const merged = copyOf(await attention.merge(order(partials)));
  const exactRow = reference(input, [row]);
  return {
    parts: ranges.map(({ start, end }, i) => ({
      from: start,
      to: end,
      seen: visibility(one, block([[ranges[i]]]), CAUSAL).pairs,
      lse: copies[i].lse[0],
      out: copies[i].o[0],
      weight: Math.exp(copies[i].lse[0] - merged.lse[0]),
    })),
    out: merged.o[0],
    lse: merged.lse[0],
    exact: { out: exactRow.out[0], lse: exactRow.lse[0] },
    unguarded: unguarded(order(copies)),
    spacing: { here: spacing(Math.abs(merged.lse[0])), long: spacing(Math.log(LONG)) },
  };
}

/** Distance from a positive number, rounded to bf16, to the next larger bf16 number. */
function spacing(value: number): number {
  const bits = new Uint16Array(toBytes(Float32Array.of(value), "bf16"));
  const next = fromBytes(Uint16Array.of(bits[0] + 1).buffer, "bf16")[0];
  return next - fromBytes(bits.buffer, "bf16")[0];
}

/** The first element of O by the bare formula, two parts at a time, without a guard for rows that see no key. */
function unguarded(parts: readonly PartialResult[]): number {
  let [out, lse] = [parts[0].o[0], parts[0].lse[0]];
  for (const part of parts.slice(1)) {
    const max = Math.max(lse, part.lse[0]);
    const [a, b] = [Math.exp(lse - max), Math.exp(part.lse[0] - max)];
    out = (a * out + b * part.o[0]) / (a + b);
    lse = max + Math.log(a + b);
  }
  return out;
}
