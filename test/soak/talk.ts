/** A session under test, with a record of what its caches should hold. */
import assert from "node:assert/strict";
import type { Session } from "../../engine/cluster/session.ts";
import type { FixedInput } from "../../engine/cluster/in-process.ts";
import type { SessionOptions, SessionRows, StepResult } from "../../engine/cluster/types.ts";
import { check } from "../../engine/reference/check.ts";
import type { DType } from "../../engine/tensor/dtype.ts";
import { experiment } from "../experiment.ts";

/** Rows that each sequence may grow to. */
const ROWS = 400;

/** One session, and the content that it should have. */
export class Talk {
  readonly options: SessionOptions & { readonly wireDtype: DType };
  session: Session;
  /** Cached rows by sequence. */
  held = new Map<number, number>();
  /** The caches' bytes, as a snapshot. */
  bytes: Uint8Array = new Uint8Array();
  saved: { readonly bytes: Uint8Array; readonly held: ReadonlyMap<number, number> } | undefined;
  readonly #inputs: readonly FixedInput[];

  constructor(session: Session, options: Talk["options"]) {
    this.session = session;
    this.options = options;
    this.#inputs = [1, 2, 3].map((seed) =>
      experiment({ ...options, variant: undefined, seed, sequences: [{ new: ROWS, cached: 0 }] })
    );
  }

  rows(sequence: number, n: number): SessionRows {
    const { q, k, v, heads, kvHeads, headDim } = this.#inputs[sequence];
    const from = this.held.get(sequence) ?? 0;
    const part = (x: Float32Array, width: number) => x.subarray(from * width, (from + n) * width);
    return { sequence, q: part(q, heads * headDim), k: part(k, kvHeads * headDim), v: part(v, kvHeads * headDim) };
  }

  /** Checks a step's results against float64, and counts its rows as held. */
  done(batch: readonly SessionRows[], { outputs }: StepResult): void {
    const { heads, kvHeads, headDim, wireDtype } = this.options;
    for (const { sequence, out, lse } of outputs) {
      const cached = this.held.get(sequence) ?? 0;
      const { q } = batch.find((b) => b.sequence === sequence)!;
      const fresh = q.length / (heads * headDim);
      const { k, v } = this.#inputs[sequence];
      const keys = (x: Float32Array) => x.subarray(0, (cached + fresh) * kvHeads * headDim);
      const input = {
        heads,
        kvHeads,
        headDim,
        wireDtype,
        variant: "auto" as const,
        q,
        k: keys(k),
        v: keys(v),
        sequences: [{ new: fresh, cached }],
      };
      const { passed, ...off } = check(input, { out, lse });
      assert.ok(passed, `sequence ${sequence}, ${fresh} rows after ${cached}: ${JSON.stringify(off)}`);
      this.held.set(sequence, cached + fresh);
    }
  }
}
