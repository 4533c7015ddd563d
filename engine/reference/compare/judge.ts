/** Judges pieces against what is right: which rows and heads are wrong, how much, and the first of them. */
import { PADDING } from "../../layout/catalog.ts";
import { ROUNDING } from "../../tensor/dtype.ts";
import { isPrefixOfK } from "../../tensor/heads.ts";
import { rowTolerance } from "../tolerance.ts";
import type { Expected } from "./expected.ts";
import { type At, foundAt, type Piece, type Problem, type Values } from "./problem.ts";

/** One number of theirs beside the right one. */
export interface Off {
  readonly of: "o" | "lse";
  /** The element of O's row; 0 of LSE. */
  readonly column: number;
  readonly found: number;
  readonly expected: number;
  /** How far it may lie off. */
  readonly bound: number;
}

/** How far a row and head of a right result may lie off. */
export class Allowance {
  readonly #problem: Problem;
  readonly #key: number;
  readonly #value: number;

  constructor(problem: Problem) {
    this.#problem = problem;
    const { k, headDim } = problem;
    this.#key = longest(k, headDim);
    this.#value = largest(isPrefixOfK(problem.v) ? k : problem.v);
  }

  /**
   * The bounds of each element of O and of LSE: those of `rowTolerance`, and what f32 makes of scores as large as this
   * row's may be (bounds.ts).
   */
  of(
    row: number,
    head: number,
    values: { o: ArrayLike<number>; lse: number; spread: number },
  ): { out: (x: number) => number; lse: number } {
    const { q, heads, headDim: D, dtype } = this.#problem;
    const scale = Math.abs(this.#problem.scale ?? 1 / Math.sqrt(D));
    const score = norm(q, (row * heads + head) * D, D) * this.#key * scale;
    const lse = Number.isFinite(values.lse) ? values.lse : 0;
    const b = ROUNDING.f32 * ((3 * Math.sqrt(D) + 4) * score + 8 * (Math.abs(lse) + 2));
    const most = largest(values.o);
    const bar = rowTolerance(dtype, true, { lse, largest: most, spread: values.spread });
    return {
      out: (x) => bar.out(x) + 2 * b * Math.min(this.#value, most + values.spread * this.#value),
      lse: bar.lse + b,
    };
  }
}

/** The number of a row and head that uses the largest share of its bound, if it is beyond it. */
export function worstOf(
  found: Values,
  right: { o: ArrayLike<number>; lse: number },
  allowed: { out: (x: number) => number; lse: number },
): Off & { share: number } | undefined {
  let worst: Off & { share: number } | undefined;
  const take = (of: Off["of"], column: number, f: number, expected: number, bound: number) => {
    const off = f === expected ? 0 : Math.abs(f - expected);
    const share = Number.isNaN(off) ? Infinity : off === 0 ? 0 : off / bound;
    if (share > 1 && share > (worst?.share ?? 0)) worst = { of, column, found: f, expected, bound, share };
  };
  if (found.lse !== undefined) take("lse", 0, found.lse, right.lse, allowed.lse);
  for (let d = 0; d < (found.o?.length ?? 0); d++) take("o", d, found.o![d], right.o[d], allowed.out(right.o[d]));
  return worst;
}

/** A wrong row and head. */
export interface Wrong extends At {
  readonly off: Off;
  /** How many times its bound it is off; Infinity for a NaN. */
  readonly share: number;
}

/** Every wrong row and head of a piece, in the order of its places. */
export function* wrongIn(problem: Problem, piece: Piece, right: Expected, allowance: Allowance): Generator<Wrong> {
  const { heads } = problem;
  const width = right.o.length / right.lse.length;
  for (const [place, row] of piece.rows.entries()) {
    if (row === PADDING) continue;
    for (let head = 0; head < heads; head++) {
      const i = place * heads + head;
      const at: At = { piece, place, row, head };
      const values = { o: right.o.subarray(i * width, (i + 1) * width), lse: right.lse[i], spread: right.spread[i] };
      const off = worstOf(foundAt(at, heads, width), values, allowance.of(row, head, values));
      if (off !== undefined) yield { ...at, off, share: off.share };
    }
  }
}

function norm(x: Float32Array, at: number, D: number): number {
  let sum = 0;
  for (let d = 0; d < D; d++) sum += x[at + d] * x[at + d];
  return Math.sqrt(sum);
}

function longest(x: Float32Array, D: number): number {
  let most = 0;
  for (let at = 0; at < x.length; at += D) most = Math.max(most, norm(x, at, D));
  return most;
}

function largest(x: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < x.length; i++) most = Math.max(most, Math.abs(x[i]));
  return most;
}
