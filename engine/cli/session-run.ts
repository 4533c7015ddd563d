/** Runs the script of `ringside session` on a cluster's session, and collects what its steps give. */
import type { ClusterFace, SessionFace, SessionOptions, SessionRows, StepReport } from "../cluster/types.ts";
import { NOTHING_CACHED } from "../cluster/ranges.ts";
import { type Elsewhere, validateRows, validateSession } from "../cluster/validate.ts";
import { InputError, RankError } from "../errors.ts";
import { productsOf } from "../gpu/products.ts";
import { offsets } from "../layout/shards.ts";
import type { Fault } from "../rank/job.ts";
import type { CheckInput } from "../reference/check.ts";
import type { Operands } from "../reference/compare/operands.ts";
import { isPrefixOfK, valueHead } from "../tensor/heads.ts";
import type { Io } from "./io.ts";
import { progressLine } from "./progress.ts";
import { consumedRows, isDecode, type Script } from "./script.ts";

/** A script with the tensors that hold its rows, one sequence after the other. */
export class ScriptRows {
  readonly script: Script;
  /** Rows of each sequence that the steps consume. */
  readonly consumed: readonly number[];
  readonly #tensors: Operands;
  readonly #starts: readonly number[];

  constructor(script: Script, tensors: Operands) {
    this.script = script;
    this.consumed = consumedRows(script);
    this.#tensors = tensors;
    this.#starts = offsets(script.rows);
  }

  /** `n` rows of a sequence, from its row `from` on. */
  of(sequence: number, from: number, n: number): SessionRows {
    const { q, k, v, heads, kvHeads, headDim, valueDim } = this.#tensors;
    const at = this.#starts[sequence] + from;
    const part = (x: Float32Array, width: number) => x.subarray(at * width, (at + n) * width);
    return {
      sequence,
      q: part(q, heads * headDim),
      k: part(k, kvHeads * headDim),
      ...(v instanceof Float32Array && { v: part(v, kvHeads * valueDim) }),
    };
  }

  /** All consumed rows, as one full prefill takes them. */
  all(): Pick<
    CheckInput,
    "q" | "k" | "v" | "sinks" | "heads" | "kvHeads" | "headDim" | "valueDim" | "sequences"
  > {
    const { v, sinks, heads, kvHeads, headDim, valueDim } = this.#tensors;
    const parts = this.consumed.map((n, sequence) => this.of(sequence, 0, n));
    return {
      q: concatenated(parts.map(({ q }) => q)),
      k: concatenated(parts.map(({ k }) => k)),
      v: isPrefixOfK(v) ? v : concatenated(parts.map(({ v }) => v!)),
      sinks,
      heads,
      kvHeads,
      headDim,
      valueDim,
      sequences: this.consumed.map((n) => ({ new: n, cached: 0 })),
    };
  }

  /** Checks every step's rows against the rows that are cached by then. Errors: InputError with the step. */
  validate(options: SessionOptions, where: Elsewhere | undefined): void {
    validateSession(options, where);
    const cached = this.script.rows.map(() => NOTHING_CACHED);
    const known = { ...options, wireDtype: options.wireDtype ?? "f32" };
    for (const [number, step] of this.script.steps.entries()) {
      for (const [sequence, n] of step) {
        try {
          const rows = this.of(sequence, cached[sequence].tokens, n);
          ({ cached: cached[sequence] } = validateRows(rows, known, cached[sequence]));
        } catch (error) {
          throw error instanceof InputError ? new InputError(`step ${number}, ${error.message}`) : error;
        }
      }
    }
  }
}

/** The results of a script. */
export interface ScriptRun {
  /** O and LSE of all consumed rows, one sequence after the other. */
  readonly out: Float32Array;
  readonly lse: Float32Array;
  readonly reports: readonly StepReport[];
  /** The steps that a fault struck and that ran again after a repair. */
  readonly recovered: readonly {
    readonly step: number;
    readonly replaced: readonly number[];
    readonly error: string;
  }[];
}

/** Runs all steps. After the step of `fault`, it repairs the cluster and runs the step again. */
export async function runScript(
  io: Io,
  cluster: ClusterFace,
  talk: SessionFace,
  rows: ScriptRows,
  { heads, ...shape }: Pick<SessionOptions, "heads" | "headDim" | "valueDim" | "v">,
  fault: Fault | undefined,
): Promise<ScriptRun> {
  const { script, consumed } = rows;
  const { valueDim: Dv } = valueHead(shape);
  const starts = offsets(consumed);
  const total = consumed.reduce((sum, n) => sum + n, 0);
  const out = new Float32Array(total * heads * Dv);
  const lse = new Float32Array(total * heads);
  const reports: StepReport[] = [];
  const recovered: { step: number; replaced: readonly number[]; error: string }[] = [];
  const held = script.rows.map(() => 0);
  const line = progressLine(io);
  for (const [number, step] of script.steps.entries()) {
    const batch = [...step].map(([sequence, n]) => rows.of(sequence, held[sequence], n));
    const decode = isDecode(step, held);
    const run = () => decode ? talk.decode(batch, { signal: io.signal }) : talk.prefill(batch, { signal: io.signal });
    const result = await run().catch(async (error: unknown) => {
      if (!(error instanceof RankError) || fault?.step !== number) throw error;
      const replaced = await cluster.repair();
      io.stderr(`step ${number}: ${error.message}; replaced rank ${replaced.join(", ")} and repeated the step\n`);
      recovered.push({ step: number, replaced, error: error.message });
      return await run();
    });
    for (const { sequence, out: o, lse: l } of result.outputs) {
      out.set(o, (starts[sequence] + held[sequence]) * heads * Dv);
      lse.set(l, (starts[sequence] + held[sequence]) * heads);
    }
    for (const [sequence, n] of step) held[sequence] += n;
    reports.push(result.report);
    line(`step ${number + 1} of ${script.steps.length}`);
  }
  line("");
  return { out, lse, reports, recovered };
}

/** The input of one full prefill that checks a script's results. */
export function prefillInput(
  rows: ScriptRows,
  reports: readonly StepReport[],
  { wireDtype, scale, mask }: Pick<SessionOptions, "wireDtype" | "scale" | "mask">,
  ranks: number,
): CheckInput {
  return {
    ...rows.all(),
    ranks,
    products: productsOf(reports.map(({ kernel }) => kernel).join(" + ")),
    scale,
    mask,
    wireDtype,
    // A 16-bit wire always rounds keys and values, because they are cached in its type; and queries if they travelled.
    variant: reports.some((r) => r.variant === "pass-q") ? "auto" : "pass-kv",
  };
}

function concatenated(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
