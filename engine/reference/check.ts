/** Checks a result against float64: each element has the bound that its own row allows (bounds.ts). */
import type { Variant } from "../ring/contract.ts";
import { InputError } from "../errors.ts";
import { nearest, sayValue } from "../options.ts";
import { type DType, fromBytes, toBytes } from "../tensor/dtype.ts";
import { isPrefixOfK, valueHead } from "../tensor/heads.ts";
import { Turns } from "../turns.ts";
import { allRows, ExactHead, type ReferenceInput } from "./attention.ts";
import { type Arithmetic, Bounds } from "./bounds.ts";

/** An experiment, with what its wire may have rounded and how the result was computed. */
export interface CheckInput extends ReferenceInput, Arithmetic {
  /**
   * Which operand travelled; default "pass-kv". "auto" means unknown: the wire rounded q, or k and v, or (in a session)
   * all of them.
   */
  readonly variant?: Variant | "auto";
  /** How the travelling operand was stored; default "f32". */
  readonly wireDtype?: DType;
}

/** A row of Q: O `[H, Dv]` and LSE `[H]`, in float64. */
export interface RowValues {
  /** O `[H, Dv]`. */
  readonly out: Float64Array;
  /** LSE `[H]`. */
  readonly lse: Float64Array;
}

/** One row of a right result. */
export interface ExpectedRow {
  /** Its place among the checked rows. */
  readonly place: number;
  /** From the unrounded operands. */
  readonly exact: RowValues;
  /** From the operands as the wire may have rounded them, each with the bound of every element. */
  readonly ways: readonly (RowValues & { readonly allowed: RowValues })[];
}

/** How far O, or LSE, lies from float64. */
export interface Judged {
  /** Largest and root-mean-square absolute difference. */
  readonly max: number;
  /** Root-mean-square absolute difference. */
  readonly rms: number;
  /** Index of the element that differs most. */
  readonly at: number;
  /** Whether every element is within its bound. */
  readonly within: boolean;
  /**
   * The element that uses the largest share of its bound: above 1, it is wrong. `expected` is computed from the values
   * that travelled.
   */
  readonly worst: {
    readonly at: number;
    readonly share: number;
    readonly found: number;
    readonly expected: number;
    readonly allowed: number;
  };
}

/** Both verdicts, and the bounds in words. */
export interface Check {
  /** The verdict on O. */
  readonly out: Judged;
  /** The verdict on LSE. */
  readonly lse: Judged;
  /** The bounds in words. */
  readonly tolerance: string;
  /** Are O and LSE within their bounds? */
  readonly passed: boolean;
}

/** A result to check; shapes as in ReferenceOutput. */
export interface Computed {
  /** O, f32 `[T, H, Dv]`. */
  readonly out: Float32Array;
  /** LSE, f32 `[T, H]`. */
  readonly lse: Float32Array;
}

/**
 * Compares a result with float64. Give `expected` to check several results of one input without computing it again.
 */
export function check(input: CheckInput, result: Computed, expected?: readonly ExpectedRow[]): Check {
  requireTensors(input, result);
  return last(checking(input, result, { expected }));
}

/**
 * The same with pauses, so that timers and signals of the thread still work. `rows` checks these rows of Q alone, which
 * `result` holds in their order. `onProgress` gets the rows done, and their total. Errors: InputError; the signal's
 * reason.
 */
export async function checkAsync(
  input: CheckInput,
  result: Computed,
  { signal, onProgress, rows }: {
    readonly signal?: AbortSignal;
    readonly onProgress?: (done: number, total: number) => void;
    readonly rows?: readonly number[];
  } = {},
): Promise<Check> {
  requireTensors(input, result);
  const steps = checking(input, result, { rows });
  const total = (rows ?? allRows(input)).length;
  const turns = new Turns(signal);
  signal?.throwIfAborted();
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    onProgress?.(step.value, total);
    await turns.next();
  }
}

/** Every row of a right result. */
export function expect(input: CheckInput): ExpectedRow[] {
  const kept = ({ out, lse }: RowValues): RowValues => ({ out: out.slice(), lse: lse.slice() });
  const rows: ExpectedRow[] = [];
  for (const { place, exact, ways } of expecting(input, allRows(input))) {
    rows.push({ place, exact: kept(exact), ways: ways.map((way) => ({ ...kept(way), allowed: kept(way.allowed) })) });
  }
  return rows;
}

/** Throws InputError if a tensor is missing or the wire type unknown: a check of something else would pass. */
function requireTensors(input: CheckInput, { out, lse }: Computed): void {
  const { q, k, v } = input;
  for (const [name, data] of Object.entries({ q, k, v: isPrefixOfK(v) ? k : v, out, lse })) {
    if (!(data instanceof Float32Array)) {
      throw new InputError(`check: ${name}: found ${sayValue(data)}, expected a Float32Array`);
    }
  }
  const { wireDtype = "f32" } = input;
  if (!["f32", "f16", "bf16"].includes(wireDtype)) {
    throw new InputError(`check: found wire dtype ${sayValue(wireDtype)}, expected f32, f16 or bf16`);
  }
  const near = Object.keys(input).find((name) => name !== "wireDtype" && nearest(name, ["wireDtype"]) !== undefined);
  if (near !== undefined) {
    throw new InputError(`check: found the option ${JSON.stringify(near)}; did you mean "wireDtype"?`);
  }
}

/** Judges row by row; yields the rows done. */
function* checking(
  input: CheckInput,
  result: Computed,
  { expected, rows = allRows(input) }: {
    readonly expected?: readonly ExpectedRow[];
    readonly rows?: readonly number[];
  },
): Generator<number, Check> {
  const { heads } = input;
  const { valueDim } = valueHead(input);
  const [out, lse] = [
    new Judge(result.out, rows.length * heads * valueDim),
    new Judge(result.lse, rows.length * heads),
  ];
  for (const { place, exact, ways } of expected ?? expecting(input, rows)) {
    const [atOut, atLse] = [place * heads * valueDim, place * heads];
    // A row was computed in one way.
    const shares = ways.map((way) =>
      Math.max(out.share(atOut, way.out, way.allowed.out), lse.share(atLse, way.lse, way.allowed.lse))
    );
    const way = ways[shares.indexOf(Math.min(...shares))];
    out.take(atOut, exact.out, way.out, way.allowed.out);
    lse.take(atLse, exact.lse, way.lse, way.allowed.lse);
    yield place + 1;
  }
  const [o, l] = [out.verdict(), lse.verdict()];
  return { out: o, lse: l, tolerance: sayBounds(input), passed: o.within && l.within };
}

/** The rows of a right result. Read each before the next. */
function* expecting(input: CheckInput, rows: readonly number[]): Generator<ExpectedRow> {
  const { heads } = input;
  const { valueDim: D } = valueHead(input);
  const make = (): RowValues => ({ out: new Float64Array(heads * D), lse: new Float64Array(heads) });
  const own = new ExactHead(input);
  const exact = make();
  const ways = roundings(input).map((sent) => ({
    head: sent === input ? own : new ExactHead(sent),
    bounds: new Bounds(sent, input),
    ...(sent === input ? exact : make()),
    allowed: make(),
  }));
  for (const [place, row] of rows.entries()) {
    for (const head of new Set([own, ...ways.map((way) => way.head)])) head.go(row);
    for (let h = 0; h < heads; h++) {
      exact.lse[h] = own.attend(h);
      exact.out.set(own.out, h * D);
      for (const { head, bounds, out, lse, allowed } of ways) {
        if (head !== own) {
          lse[h] = head.attend(h);
          out.set(head.out, h * D);
        }
        allowed.lse[h] = bounds.take(head, row, h, lse[h]);
        allowed.out.set(bounds.out, h * D);
      }
    }
    yield { place, exact, ways };
  }
}

/** The operands as the wire may have rounded them: in one way, or in three if the variant is unknown. */
function roundings(input: CheckInput): readonly ReferenceInput[] {
  const { wireDtype = "f32", variant = "pass-kv" } = input;
  const rounded = (x: Float32Array) => {
    const back = fromBytes(toBytes(x, wireDtype), wireDtype);
    return back.every((value, i) => value === x[i]) ? x : back;
  };
  const q = variant === "pass-kv" ? input.q : rounded(input.q);
  const k = variant === "pass-q" ? input.k : rounded(input.k);
  const v = variant === "pass-q" || isPrefixOfK(input.v) ? input.v : rounded(input.v);
  const [queries, keys] = [q !== input.q, k !== input.k || v !== input.v];
  const ways = [queries || keys ? { ...input, q, k, v } : input];
  if (variant !== "auto") return ways;
  // A session caches rounded keys and values whatever travels, and sends rounded queries in some steps; one attention
  // rounds one operand alone.
  if (queries) ways.push(keys ? { ...input, k, v } : input);
  if (keys) ways.push(queries ? { ...input, q } : input);
  return ways;
}

/** Compares found values with expected ones, and keeps the largest errors. */
class Judge {
  readonly #found: Float32Array;
  #max = 0;
  #at = 0;
  #squares = 0;
  #worst: Judged["worst"] = { at: 0, share: 0, found: 0, expected: 0, allowed: 0 };

  constructor(found: Float32Array, length: number) {
    if (found.length !== length) throw new RangeError(`comparing ${found.length} elements with ${length}`);
    this.#found = found;
  }

  /** The largest share of its bound that an element from `from` on uses. */
  share(from: number, sent: Float64Array, allowed: Float64Array): number {
    let most = 0;
    for (let i = 0; i < sent.length; i++) most = Math.max(most, shareOf(this.#found[from + i], sent[i], allowed[i]));
    return most;
  }

  take(from: number, exact: Float64Array, sent: Float64Array, allowed: Float64Array): void {
    for (let i = 0; i < exact.length; i++) {
      const found = this.#found[from + i];
      const off = apart(found, exact[i]);
      if (off > this.#max) [this.#max, this.#at] = [off, from + i];
      this.#squares += off * off;
      const share = shareOf(found, sent[i], allowed[i]);
      if (share > this.#worst.share) {
        this.#worst = { at: from + i, share, found, expected: sent[i], allowed: allowed[i] };
      }
    }
  }

  verdict(): Judged {
    return {
      max: this.#max,
      rms: Math.sqrt(this.#squares / Math.max(1, this.#found.length)),
      at: this.#at,
      within: this.#worst.share <= 1,
      worst: this.#worst,
    };
  }
}

/** Equal infinities agree, and a NaN never does. */
function apart(found: number, expected: number): number {
  const off = found === expected ? 0 : Math.abs(found - expected);
  return Number.isNaN(off) ? Infinity : off;
}

function shareOf(found: number, expected: number, allowed: number): number {
  const off = apart(found, expected);
  return off === 0 ? 0 : off / allowed;
}

function sayBounds({ wireDtype = "f32", products = "f32" }: CheckInput): string {
  const wire = wireDtype === "f32" ? "" : ` from the values that were sent, rounded to ${wireDtype}`;
  return `each element within what ${
    products === "f32" ? "f32 arithmetic" : "f32 sums of f16 products"
  } may make of its row${wire}`;
}

function last<T>(steps: Generator<unknown, T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}
