/** Chapter 3: partial results of disjoint keys, merged; and what goes wrong with other ways to do it. */
import { block, difference, fromBytes, type Range, reference, toBytes, visibility } from "../../../engine/learn.ts";
import { copyOf, Desk, type Partial, small } from "./small.ts";

/** Tokens of the figure. */
export const TOKENS = 48;

/** What one part of the keys gives for the row. */
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
  /** Root mean square of the error of O, one a number of {@link COUNTS}. */
  readonly rms: readonly number[];
}

/** Numbers of parts whose errors are compared. */
export const COUNTS: readonly number[] = [2, 4, 8, 16];
/** The tokens that they are parts of. */
export const ROWS = 128;

/** One row's parts and their merge. */
export interface Merging {
  readonly parts: readonly Part[];
  readonly out: number;
  readonly lse: number;
  readonly exact: { readonly out: number; readonly lse: number };
  /** First element of O when each pair is merged by the bare formula, in the chosen order. */
  readonly unguarded: number;
  /**
   * Distance from an LSE to the next larger bf16 number: at the merged LSE, and at that of a long context of equal
   * scores.
   */
  readonly spacing: { readonly here: number; readonly long: number };
}

/** Tokens of the long context. */
export const LONG = 128_000;

const bf16 = (x: Float32Array) => fromBytes(toBytes(x, "bf16"), "bf16");

const asIs = (part: Partial) => part;
const roundO = ({ o, lse }: Partial): Partial => ({ o: bf16(o), lse });
const roundLse = ({ o, lse }: Partial): Partial => ({ o, lse: bf16(lse) });

/** `sent` is done to each part, `kept` to what is held after each merge. */
const WAYS: readonly {
  readonly name: string;
  readonly sent: (part: Partial) => Partial;
  readonly kept: (part: Partial) => Partial;
}[] = [
  { name: "everything in f32", sent: asIs, kept: asIs },
  { name: "each O sent in bf16", sent: roundO, kept: asIs },
  { name: "merged O kept in bf16", sent: asIs, kept: roundO },
  { name: "each LSE sent in bf16", sent: roundLse, kept: asIs },
  { name: "merged LSE kept in bf16", sent: asIs, kept: roundLse },
];

/** What each way to store partial results costs, against float64. */
export async function storing(seed: number): Promise<Stored[]> {
  const input = small(seed, [{ new: ROWS, cached: 0 }]);
  const desk = new Desk(input);
  const exact = reference(input).out;
  const all = block([[{ start: 0, end: ROWS }]]);
  const rms = WAYS.map((): number[] => []);
  for (const count of COUNTS) {
    const parts = await Promise.all(split(ROWS, count).map((keys) => desk.attend(all, block([[keys]]))));
    for (const [i, { sent, kept }] of WAYS.entries()) {
      // Folded one by one, as pass-KV does.
      let held = { ...parts[0], ...sent(parts[0]) };
      for (const part of parts.slice(1)) {
        const merged = await desk.merge([held, { ...part, ...sent(part) }]);
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

/** `count` parts of the keys of 48 tokens; the row's parts are merged in order, or from the last to the first. */
export async function merging(seed: number, count: number, row: number, backwards: boolean): Promise<Merging> {
  const input = small(seed, [{ new: TOKENS, cached: 0 }]);
  const desk = new Desk(input);
  const ranges = split(TOKENS, count);
  const order = <T>(list: readonly T[]) => (backwards ? list.toReversed() : list);
  const one = block([[{ start: row, end: row + 1 }]]);
  const partials = await Promise.all(ranges.map((keys) => desk.attend(one, block([[keys]]))));
  const copies = partials.map(copyOf);
  const merged = copyOf(await desk.merge(order(partials)));
  const exactRow = reference(input, [row]);
  return {
    parts: ranges.map(({ start, end }, i) => ({
      from: start,
      to: end,
      seen: visibility(one, block([[ranges[i]]]), true).pairs,
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

/** Distance between the bf16 numbers around a positive one. */
function spacing(value: number): number {
  const bits = new Uint16Array(toBytes(Float32Array.of(value), "bf16"));
  const next = fromBytes(Uint16Array.of(bits[0] + 1).buffer, "bf16")[0];
  return next - fromBytes(bits.buffer, "bf16")[0];
}

/** The first element of O by the formula as it is written, two at a time, with nothing said about rows without keys. */
function unguarded(parts: readonly Partial[]): number {
  let [out, lse] = [parts[0].o[0], parts[0].lse[0]];
  for (const part of parts.slice(1)) {
    const max = Math.max(lse, part.lse[0]);
    const [a, b] = [Math.exp(lse - max), Math.exp(part.lse[0] - max)];
    out = (a * out + b * part.o[0]) / (a + b);
    lse = max + Math.log(a + b);
  }
  return out;
}
