/** Compares the planner with the paper: every printed cell with its prediction, its error and its origin. */
import type { Variant } from "../../ring/contract.ts";
import { findCluster } from "../clusters.ts";
import { findModel } from "../models.ts";
import { PARAMETERS, type PlanParameters, PROVENANCE } from "../parameters.ts";
import { type Plan, plan } from "../plan.ts";
import { NEAR_TIE } from "../reason.ts";
import { type Ask, type Cell, type CellGroup, CELLS, table4Ask } from "./cells.ts";
import { Turns } from "../../turns.ts";
import { type Contradiction, CONTRADICTIONS, contradictionsOf } from "./contradictions.ts";
import { TABLE_4 } from "./tables.ts";

/** One cell with its prediction. */
export interface PaperRow {
  /** The cell's id. */
  readonly id: string;
  /** "Table 4", "Headline", ... */
  readonly table: string;
  /** What the figure is. */
  readonly label: string;
  /** The unit of `paper` and `model`. */
  readonly unit: Cell["unit"];
  /** The kind of figure. */
  readonly group: CellGroup;
  /** The printed figure. */
  readonly paper: number;
  /** The planner's figure. */
  readonly model: number;
  /** model / paper - 1; null if the paper prints 0. */
  readonly error: number | null;
  /** `calibrated`: a parameter was fixed on this figure. `formula`: arithmetic, not a prediction. */
  readonly origin: "calibrated" | "predicted" | "formula";
  /** Parameters that this cell fixes. */
  readonly fixes: readonly (keyof PlanParameters)[];
  /** The reason to leave the cell out of the accuracy bars. */
  readonly excluded?: string;
  /** A remark on a disagreement. */
  readonly note?: string;
  /** The contradictions of the paper that it is part of. */
  readonly contradicts: readonly string[];
}

/** The variant that wins a row of Table 4. */
export interface Winner {
  /** T of the row. */
  readonly new: number;
  /** P of the row. */
  readonly cached: number;
  /** The variant that is faster in the paper. */
  readonly paper: Variant;
  /** The planner's faster variant. */
  readonly model: Variant;
  /** The loser's printed TTFT over the winner's, minus 1. */
  readonly apart: number;
  /** Are the printed times a near-tie? */
  readonly nearTie: boolean;
  /** Do both name the same variant? */
  readonly agrees: boolean;
}

/** Errors of a group of cells, as shares. */
export interface GroupError {
  /** Cells in the group. */
  readonly cells: number;
  /** The median error. */
  readonly median: number;
  /** The largest error. */
  readonly worst: number;
  /** Id of the worst cell. */
  readonly worstCell: string;
  /** The same over the predicted cells: no parameter was calibrated on them. */
  readonly predicted: { readonly cells: number; readonly median: number; readonly worst: number };
}

/** The whole comparison. */
export interface PaperReport {
  /** Every cell. */
  readonly rows: readonly PaperRow[];
  /** The errors of each group. */
  readonly errors: Readonly<Record<Exclude<CellGroup, "formula">, GroupError>>;
  /** The winners of Table 4, row by row. */
  readonly winners: readonly Winner[];
  /** Where the paper contradicts itself. */
  readonly contradictions: readonly Contradiction[];
  /** The parameters that the planner had. */
  readonly parameters: PlanParameters;
}

/** Predicts every cell of Tables 2 to 8 and the headline figures. */
export async function paperReport(parameters: PlanParameters = PARAMETERS, signal?: AbortSignal): Promise<PaperReport> {
  const turns = new Turns(signal);
  const known = new Map<string, Plan>();
  const answer = async (ask: Ask): Promise<Plan> => {
    await turns.next();
    const key = keyOf(ask);
    const found = known.get(key) ??
      (await plan({
        ...ask,
        model: findModel("llama3-405b"),
        cluster: findCluster("gtt"),
        parameters,
        ...(signal === undefined ? {} : { signal }),
      }));
    known.set(key, found);
    return found;
  };
  const rows: PaperRow[] = [];
  for (const cell of CELLS) {
    const plans: Plan[] = [];
    for (const ask of cell.asks) plans.push(await answer(ask));
    rows.push(rowOf(cell, cell.value(plans)));
  }
  const winners: Winner[] = [];
  for (const row of TABLE_4) {
    const [kv, q] = [await answer(table4Ask(row, "pass-kv")), await answer(table4Ask(row, "pass-q"))];
    const apart = Math.max(row.passKv, row.passQ) / Math.min(row.passKv, row.passQ) - 1;
    const paper = row.passKv < row.passQ ? "pass-kv" : "pass-q";
    const model = kv.seconds <= q.seconds ? "pass-kv" : "pass-q";
    winners.push({
      new: row.new,
      cached: row.cached,
      paper,
      model,
      apart,
      nearTie: apart < NEAR_TIE,
      agrees: paper === model,
    });
  }
  const group = (name: CellGroup) =>
    errorsOf(rows.filter((r) => r.group === name && r.excluded === undefined && r.error !== null));
  const errors = {
    ttft: group("ttft"),
    ttit: group("ttit"),
    part: group("part"),
    decode: group("decode"),
    claim: group("claim"),
  };
  return { rows, errors, winners, contradictions: CONTRADICTIONS, parameters };
}

function rowOf(cell: Cell, model: number): PaperRow {
  const fixes = PROVENANCE.filter((p) => p.cells.includes(cell.id)).map((p) => p.name);
  return {
    id: cell.id,
    table: cell.table,
    label: cell.label,
    unit: cell.unit,
    group: cell.group,
    paper: cell.paper,
    model,
    error: cell.paper === 0 ? null : model / cell.paper - 1,
    origin: cell.group === "formula" ? "formula" : fixes.length > 0 || sameFigure(cell) ? "calibrated" : "predicted",
    fixes,
    ...(cell.excluded === undefined ? {} : { excluded: cell.excluded }),
    ...(cell.note === undefined ? {} : { note: cell.note }),
    contradicts: contradictionsOf(cell.id).map((c) => c.what),
  };
}

/** Whether a cell repeats the figure of a calibration cell. It is then not a prediction either. */
function sameFigure(cell: Cell): boolean {
  const scale = (c: Cell) => c.paper * (c.unit === "s" ? 1e3 : 1);
  return CELLS.some((other) =>
    other !== cell && other.group === cell.group && scale(other) === scale(cell) &&
    other.asks.map(keyOf).join() === cell.asks.map(keyOf).join() && PROVENANCE.some((p) => p.cells.includes(other.id))
  );
}

/** An ask as text, independent of the order of its fields. */
function keyOf(ask: Ask): string {
  return JSON.stringify(Object.entries(ask).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function errorsOf(rows: readonly PaperRow[]): GroupError {
  const sizes = (some: readonly PaperRow[]) => some.map((r) => Math.abs(r.error!));
  const worstRow = rows.reduce((a, b) => (Math.abs(b.error!) > Math.abs(a.error!) ? b : a));
  const predicted = sizes(rows.filter((r) => r.origin === "predicted"));
  return {
    cells: rows.length,
    median: median(sizes(rows)),
    worst: Math.abs(worstRow.error!),
    worstCell: worstRow.id,
    predicted: { cells: predicted.length, median: median(predicted), worst: Math.max(...predicted) },
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
