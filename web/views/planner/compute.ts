/** Answers to the view's requests: the engine's functions, without a page or a worker. */
import {
  CELLS,
  chromeTrace,
  DEALINGS,
  findModel,
  InputError,
  type PaperReport,
  paperReport,
  type Plan,
  plan,
  type PlanInput,
  sweep,
} from "../../engine/plan.ts";
import type { Span, Variant } from "../../engine/run.ts";
import type { Answers, Curve, Curves, Grid, PaperPoint, Planned, Request, Simulated } from "./requests.ts";
import { clusterOf, EVERY_RANK, hasWindows, inputOf, MAP, masksOf, onPaper } from "./state.ts";
import type { Question } from "../../lib/address/plan.ts";

/** The most spans of one variant to draw: drawing them takes less than a tenth of a second. */
const SPANS = 800;

/** Contexts of the curves. The paper's K is 1,000. */
export const CONTEXTS = [8, 16, 32, 64, 128, 256, 512, 1000].map((k) => k * 1000);

type Progress = (done: number, total: number) => void;

/** Answers a request. Errors: InputError if the engine rejects the question. */
export async function answer(request: Request, onProgress: Progress): Promise<Answers[Request["kind"]]> {
  switch (request.kind) {
    case "plan":
      return await planned(request.question);
    case "curves":
      return await curves(request.question, onProgress);
    case "grid":
      return await grid(request.question, onProgress);
    case "layouts":
      return await layouts(request.question, request.maxGpus);
    case "report":
      return await paperReport();
    case "trace":
      return await trace(request.question, request.variant);
  }
}

/** The variants to compare. */
export function variantsOf({ cp }: Question): readonly Variant[] {
  return cp === 1 ? ["pass-kv"] : ["pass-kv", "pass-q"];
}

/** The plan and both variants. */
export async function planned(question: Question): Promise<Planned> {
  const input = inputOf(question);
  const best = await plan(input);
  const both: Simulated[] = [];
  for (const variant of variantsOf(question)) {
    const { spans = [], ...one } = await plan({ ...input, variant, spans: question.cp <= EVERY_RANK });
    const shown = Math.min(question.cp, Math.max(1, Math.floor((SPANS * question.cp) / Math.max(1, spans.length))));
    both.push({
      variant,
      plan: one,
      spans: shown === question.cp ? spans : spans.filter((span: Span) => span.rank < shown),
      shown,
    });
  }
  const dealings: Plan[] = [];
  if (question.cp > 1 && hasWindows(question)) {
    for (const dealing of DEALINGS) dealings.push(await plan({ ...input, dealing }));
  }
  return { plan: best, both, dealings };
}

/** The layouts of the curves: CP at the question's TP, and tensor parallelism over several hosts. */
export function curveLayouts(question: Question): { readonly cp: number; readonly tp: number }[] {
  const cps = [...new Set([1, 2, 4, 8, 16, question.cp])].sort((a, b) => a - b);
  const { gpusPerHost } = clusterOf(question);
  return [
    ...cps.map((cp) => ({ cp, tp: question.tp })),
    ...[2, 4, 8].map((hosts) => ({ cp: 1, tp: hosts * gpusPerHost })).filter(({ tp }) => tp !== question.tp),
  ];
}

async function curves(question: Question, onProgress: Progress): Promise<Curves> {
  const layouts = curveLayouts(question);
  const base: PlanInput = { model: findModel(question.model), cluster: clusterOf(question), ...masksOf(question) };
  const out: Curve[] = [];
  for (const [i, { cp, tp }] of layouts.entries()) {
    onProgress(i, layouts.length);
    const points = [];
    try {
      for (const context of CONTEXTS) {
        const { seconds, variant, memory } = await plan({ ...base, cp, tp, new: context });
        points.push({ context, seconds, variant, fits: memory.fits });
      }
    } catch (error) {
      // A tensor-parallel size that does not split this model's heads has no curve. The plan itself rejects the
      // question's TP.
      if (!(error instanceof InputError)) throw error;
      continue;
    }
    out.push({ cp, tp, points });
  }
  return { curves: out, paper: onPaper(question) ? paperPoints(await paperReport()) : [] };
}

/** The paper's TTFT cells of full prefill on an empty cache. */
export function paperPoints({ rows }: PaperReport): PaperPoint[] {
  return CELLS.filter(({ group, table, asks }) => group === "ttft" && table !== "Table 4" && asks.length === 1).map(
    (cell) => {
      const [ask] = cell.asks;
      const row = rows.find(({ id }) => id === cell.id)!;
      const unit = cell.unit === "ms" ? 1e-3 : 1;
      return {
        id: cell.id,
        table: cell.table,
        label: cell.label,
        context: ask.new!,
        cp: ask.cp ?? 1,
        tp: ask.tp ?? 8,
        paper: cell.paper * unit,
        model: row.model * unit,
        origin: row.origin,
        ...(cell.excluded === undefined ? {} : { excluded: cell.excluded }),
      };
    },
  );
}

/** Cells of the map: fewer if a plan takes longer. */
function resolution(cp: number, windows: boolean): readonly [number, number] {
  // Two dealings, and often two kinds of layers.
  if (windows) return cp <= 8 ? [24, 16] : cp <= 16 ? [12, 8] : [6, 4];
  return cp <= 16 || cp > EVERY_RANK ? [48, 32] : cp <= 64 ? [24, 16] : [12, 8];
}

function middles([from, to]: readonly [number, number] | readonly number[], cells: number): number[] {
  return Array.from({ length: cells }, (_, i) => from * (to / from) ** ((i + 0.5) / cells));
}

async function grid(question: Question, onProgress: Progress): Promise<Grid> {
  const [columns, rows] = resolution(question.cp, hasWindows(question));
  const tokens = middles(MAP.tokens, columns).map(Math.round);
  const misses = middles(MAP.misses, rows);
  const lead = new Float64Array(columns * rows);
  const fits = new Uint8Array(columns * rows);
  const { model, cluster, cp, tp, mask, dealing } = inputOf(question);
  const step = { model, cluster, cp, tp, ...(mask === undefined ? {} : { mask }), dealing: dealing ?? "auto" };
  for (const [r, miss] of misses.entries()) {
    onProgress(r, rows);
    for (const [c, T] of tokens.entries()) {
      const { alternatives, memory } = await plan({ ...step, new: T, cached: Math.round(T / miss) - T });
      const [kv, q] = variantsOf(question).map((variant) =>
        Math.min(...alternatives.filter((one) => one.variant === variant).map(({ seconds }) => seconds))
      );
      lead[r * columns + c] = Math.log(q / kv);
      fits[r * columns + c] = memory.fits ? 1 : 0;
    }
  }
  return { tokens, misses, lead, fits };
}

async function layouts(question: Question, maxGpus: number) {
  const { cp: _cp, tp: _tp, variant: _variant, ...step } = inputOf(question);
  return await sweep({ ...step, maxGpus });
}

/** The timeline of every rank of a variant as Chrome-trace JSON. */
export async function trace(question: Question, variant: Variant): Promise<string> {
  const p = await plan({ ...inputOf(question), variant, spans: true });
  return chromeTrace(p.spans!, titleOf(p));
}

/** Title of a trace, the same as from `ringside plan --trace`. */
export function titleOf(p: Plan): string {
  const step = `${p.mode}, T = ${p.new}, P = ${p.cached}, ${p.variant}`;
  return `ringside plan: one layer of ${p.model} on ${p.cluster}, CP${p.cp} x TP${p.tp}, ${step}`;
}
