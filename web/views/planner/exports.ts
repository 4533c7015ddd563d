/** The planner's files: plans as JSON and CSV. */
import type { Plan } from "../../engine/plan.ts";
import type { Planned } from "./requests.ts";
import type { Question } from "../../lib/address/plan.ts";

/** A table as CSV, with quotes if necessary. */
export function csv(rows: readonly (readonly (string | number | boolean)[])[]): string {
  const cell = (
    value: string | number | boolean,
  ) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  return `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;
}

/** The engine's plan, with the question, both variants and the address that reproduces it. */
export function planJson(question: Question, { plan, both }: Planned, address: string): string {
  return JSON.stringify(
    { address, question, ...plan, variants: Object.fromEntries(both.map((one) => [one.variant, one.plan])) },
    null,
    2,
  );
}

/** The plan and both variants as columns: one row per figure, with units in the names. */
export function planCsv({ plan, both }: Planned): string {
  const columns: readonly Plan[] = [plan, ...both.map((one) => one.plan)];
  const row = (name: string, of: (p: Plan) => string | number | boolean) => [name, ...columns.map(of)];
  return csv([
    ["figure", "plan", ...both.map((one) => one.variant)],
    ...([
      "model",
      "cluster",
      "mode",
      "cp",
      "tp",
      "gpus",
      "hosts",
      "new",
      "cached",
      "batch",
      "missRate",
      "variant",
      "seconds",
    ] as const).map((key) => row(key, (p) => p[key])),
    ...(["gemm", "attention", "exposed", "all2all", "allreduce", "launch"] as const).map((key) =>
      row(`${key} (s)`, (p) => p.breakdown[key])
    ),
    ...(["capacity", "weights", "kv", "activations", "ring", "reserve", "total"] as const).map((key) =>
      row(`memory ${key} (B a GPU)`, (p) => p.memory[key])
    ),
    row("fits", (p) => p.memory.fits),
    row("room for KV (tokens)", (p) => p.memory.kvCapacityTokens),
    row("FLOP/s a GPU", (p) => p.flopsPerGpu),
    row("share of the bf16 peak", (p) => p.utilization),
    row("parallel efficiency", (p) => p.parallelEfficiency),
  ]);
}
