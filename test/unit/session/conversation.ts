/** A conversation under test: the steps of a session, checked against one full prefill in float64. */
import assert from "node:assert/strict";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import type { FixedInput } from "../../../engine/cluster/in-process.ts";
import type { Session } from "../../../engine/cluster/session.ts";
import type {
  ClusterOptions,
  SessionOptions,
  SessionRows,
  StepOptions,
  StepResult,
} from "../../../engine/cluster/types.ts";
import type { Platform } from "../../../engine/platform.ts";
import { check } from "../../../engine/reference/check.ts";
import { experiment } from "../../experiment.ts";
import { testPlatform } from "../../platform.ts";

/** A conversation over seeded tensors: its outputs so far, and their check against one full prefill. */
export class Conversation {
  readonly session: Session;
  readonly held: number[];
  readonly #options: SessionOptions;
  readonly #inputs: readonly FixedInput[];
  readonly #outs: number[][];
  readonly #lses: number[][];

  constructor(session: Session, options: SessionOptions, rows: readonly number[]) {
    const { v: _, variant: __, ...rest } = options;
    this.session = session;
    this.#options = options;
    this.#inputs = rows.map((n, seed) => experiment({ ...rest, seed: seed + 1, sequences: [{ new: n, cached: 0 }] }));
    this.held = rows.map(() => 0);
    this.#outs = rows.map(() => []);
    this.#lses = rows.map(() => []);
  }

  rows(sequence: number, n: number): SessionRows {
    const { q, k, v } = this.#part(sequence, this.held[sequence], n);
    return { sequence, q, k, ...(this.#options.v === undefined ? { v } : {}) };
  }

  /** Rows of a sequence's tensors. */
  #part(sequence: number, from: number, n: number) {
    const { q, k, v, heads, kvHeads, headDim, valueDim = headDim } = this.#inputs[sequence];
    const part = (x: Float32Array, width: number) => x.subarray(from * width, (from + n) * width);
    return { q: part(q, heads * headDim), k: part(k, kvHeads * headDim), v: part(v, kvHeads * valueDim) };
  }

  /** One step with rows of each sequence. It is a decode if each has one row and cached rows. */
  async step(
    step: readonly (readonly [sequence: number, rows: number])[],
    options: StepOptions = {},
  ): Promise<StepResult> {
    const batch = step.map(([s, n]) => this.rows(s, n));
    const decode = step.every(([s, n]) => n === 1 && this.held[s] > 0);
    const result = await (decode ? this.session.decode(batch, options) : this.session.prefill(batch, options));
    assert.equal(result.report.mode, decode ? "decode" : "prefill");
    for (const { sequence, out, lse } of result.outputs) {
      for (const x of out) this.#outs[sequence].push(x);
      for (const x of lse) this.#lses[sequence].push(x);
    }
    for (const [s, n] of step) this.held[s] += n;
    for (const { perRank } of result.report.tokens) {
      assert.ok(Math.max(...perRank) - Math.min(...perRank) <= 1, `tokens per rank ${perRank}`);
    }
    return result;
  }

  /** Checks all rows so far against a full prefill in float64. */
  verify(): void {
    this.#inputs.forEach((input, i) => {
      const n = this.held[i];
      if (n === 0) return;
      // Keys and values are cached rounded, and queries may travel rounded.
      const consumed = {
        ...input,
        ...this.#part(i, 0, n),
        ...(this.#options.v === undefined ? {} : { v: this.#options.v }),
        sequences: [{ new: n, cached: 0 }],
        variant: "auto" as const,
      };
      const { passed, out, lse } = check(consumed, {
        out: Float32Array.from(this.#outs[i]),
        lse: Float32Array.from(this.#lses[i]),
      });
      assert.ok(passed, `sequence ${i}, ${n} rows: out off by ${out.max} at ${out.at}, lse by ${lse.max} at ${lse.at}`);
    });
  }
}

export async function talking(
  cluster: ClusterOptions,
  options: SessionOptions,
  rows: readonly number[],
  use: (talk: Conversation, cluster: Cluster) => Promise<void>,
  on?: Platform,
): Promise<void> {
  const running = await Cluster.start(on ?? await testPlatform(), cluster);
  try {
    const session = await running.session(options);
    await use(new Conversation(session, options, rows), running);
    await session.dispose();
  } finally {
    await running.dispose();
  }
}
