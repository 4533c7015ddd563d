/** Every figure that the paper prints, as a cell: its value, and how to get the planner's figure. */
import type { Plan } from "../plan.ts";
import type { PlanInput } from "../plan-input.ts";
import { attentionFlops, attentionFlopsPrinted, causalPairs } from "../flops.ts";
import { findModel, weightCount } from "../models.ts";
import { cpElements, kvMessage, qMessage, tpElements } from "../traffic.ts";
import { K, KERNEL_FLOPS, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8 } from "./tables.ts";

/**
 * The kind of figure. The accuracy bars depend on it. `formula`: Tables 2 and 3, evaluated at 128K. `claim`: headline
 * figures and prose.
 */
export type CellGroup = "ttft" | "ttit" | "part" | "decode" | "formula" | "claim";

/** A layout and a step to plan. The model is Llama 3 405B and the cluster is GTT. */
export type Ask = Omit<PlanInput, "model" | "cluster" | "parameters">;

/** One printed figure. */
export interface Cell {
  /** A short name that is unique, such as "t6.128.cp1.ttft". */
  readonly id: string;
  /** "Table 4", "Headline", ... */
  readonly table: string;
  /** What the figure is. */
  readonly label: string;
  /** The unit of `paper` and `value`. */
  readonly unit: "s" | "ms" | "µs" | "elements" | "weights" | "FLOP" | "B" | "TFLOP/s" | "%";
  /** The kind of figure. */
  readonly group: CellGroup;
  /** The printed figure. */
  readonly paper: number;
  /** The plans that the figure needs. Formulas need none. */
  readonly asks: readonly Ask[];
  /** The planner's figure in the cell's unit. */
  readonly value: (plans: readonly Plan[]) => number;
  /** The reason to leave the cell out of the accuracy bars. */
  readonly excluded?: string;
  /** A remark on a disagreement. */
  readonly note?: string;
}

const MODEL = findModel("llama3-405b");
const CONTEXT = 128 * K;
const PREFILL: Ask = { tp: 8, new: CONTEXT };

const milliseconds = (plans: readonly Plan[]) => plans[0].seconds * 1e3;
const seconds = (plans: readonly Plan[]) => plans[0].seconds;
const name = (variant: "pass-kv" | "pass-q") => (variant === "pass-kv" ? "kv" : "q");

/** Table 4's layout: its benchmark has a persistent KV cache, even in the row without cached tokens. */
export function table4Ask(row: { readonly new: number; readonly cached: number }, variant: "pass-kv" | "pass-q"): Ask {
  return { cp: 4, tp: 8, new: row.new, cached: row.cached, variant, persistent: true };
}

function table2and3(): Cell[] {
  const { width, heads, kvHeads, headDim } = MODEL;
  const [T, P] = [3200, CONTEXT - 3200];
  const cell = (
    id: string,
    table: string,
    label: string,
    unit: Cell["unit"],
    paper: number,
    mine: number,
    note?: string,
  ): Cell => ({
    id,
    table,
    label,
    unit,
    group: "formula",
    paper,
    asks: [],
    value: () => mine,
    ...(note === undefined ? {} : { note }),
  });
  const causal = "the planner counts only the causal pairs, as Appendix A does; Table 3 counts all";
  return [
    cell(
      "t2.tp.linear",
      "Table 2",
      "TP: T N_H D_H per two linear layers, T = 128K",
      "elements",
      CONTEXT * heads * headDim,
      tpElements(CONTEXT, heads, headDim) / 2,
    ),
    cell(
      "t2.tp.total",
      "Table 2",
      "TP: 2 T N_H D_H a block",
      "elements",
      2 * CONTEXT * heads * headDim,
      tpElements(CONTEXT, heads, headDim),
    ),
    cell(
      "t2.cp.total",
      "Table 2",
      "CP: T N_KV D_H a block",
      "elements",
      cpElements(CONTEXT, kvHeads, headDim),
      kvMessage(CONTEXT, kvHeads, headDim, 1),
      "Table 2 counts only K; K and V travel, as in Table 3",
    ),
    cell("t2.tp.weights", "Table 2", "TP8: W / N_TP", "weights", 405e9 / 8, weightCount(MODEL) / 8),
    cell("t2.cp.weights", "Table 2", "CP: W", "weights", 405e9, weightCount(MODEL)),
    cell(
      "t3.full.flops",
      "Table 3",
      "full prefill 4 T² D, T = 128K",
      "FLOP",
      attentionFlopsPrinted(CONTEXT, 0, width),
      attentionFlops(causalPairs({ new: CONTEXT, cached: 0 }), heads, headDim),
      causal,
    ),
    cell(
      "t3.partial.flops",
      "Table 3",
      "partial prefill 4 T D (T+P), T = 3200 of 128K",
      "FLOP",
      attentionFlopsPrinted(T, P, width),
      attentionFlops(causalPairs({ new: T, cached: P }), heads, headDim),
      causal,
    ),
    cell(
      "t3.full.q",
      "Table 3",
      "Q bytes T D e, T = 128K",
      "B",
      CONTEXT * width * 2,
      qMessage(CONTEXT, heads, headDim, 2),
    ),
    cell(
      "t3.full.kv",
      "Table 3",
      "KV bytes 2 T D (N_KV/N_H) e, T = 128K",
      "B",
      (2 * CONTEXT * width * kvHeads * 2) / heads,
      kvMessage(CONTEXT, kvHeads, headDim, 2),
    ),
    cell("t3.partial.q", "Table 3", "Q bytes T D e, T = 3200", "B", T * width * 2, qMessage(T, heads, headDim, 2)),
    cell(
      "t3.partial.kv",
      "Table 3",
      "KV bytes 2 (P+T) D (N_KV/N_H) e, P+T = 128K",
      "B",
      (2 * (P + T) * width * kvHeads * 2) / heads,
      kvMessage(P + T, kvHeads, headDim, 2),
    ),
  ];
}

function table4(): Cell[] {
  return TABLE_4.flatMap((row) =>
    (["pass-kv", "pass-q"] as const).map((variant): Cell => ({
      id: `t4.${row.new}.${name(variant)}`,
      table: "Table 4",
      label: `CP4, T = ${row.new}, P = ${row.cached}, ${variant}`,
      unit: "ms",
      group: "ttft",
      paper: variant === "pass-kv" ? row.passKv : row.passQ,
      asks: [table4Ask(row, variant)],
      value: milliseconds,
    }))
  );
}

function table5(): Cell[] {
  return TABLE_5.flatMap((row) => {
    const ask = table4Ask({ new: row.new, cached: CONTEXT - row.new }, row.variant);
    const part = (what: string, paper: number, value: (p: Plan) => number): Cell => ({
      id: `t5.${row.miss}.${what === "attn" ? "" : `${name(row.variant)}.`}${what}`,
      table: "Table 5",
      label: `CP4, miss rate ${row.miss} %, ${row.variant}, ${what}`,
      unit: "µs",
      group: "part",
      paper,
      asks: [ask],
      value: ([p]) => value(p) * 1e6,
    });
    return [
      part("sendrecv", row.sendRecv, (p) => p.layer.transfer),
      ...(row.variant === "pass-kv" ? [part("attn", row.attend, (p) => p.layer.attend)] : []),
      ...(row.all2all === undefined ? [] : [part("all2all", row.all2all, (p) => p.layer.exchange)]),
    ];
  });
}

function table6(): Cell[] {
  return TABLE_6.flatMap((row) => {
    const label = `${row.context / K}K, ${row.cp === 1 ? "TP8" : `CP${row.cp}+TP8`}`;
    const id = `t6.${row.context / K}.cp${row.cp}`;
    return [
      {
        id: `${id}.ttft`,
        table: "Table 6",
        label: `${label}, TTFT`,
        unit: "ms",
        group: "ttft",
        paper: row.ttft,
        asks: [{ cp: row.cp, tp: 8, new: row.context, variant: "pass-kv" }],
        value: milliseconds,
      },
      {
        id: `${id}.ttit`,
        table: "Table 6",
        label: `${label}, TTIT`,
        unit: "ms",
        group: "ttit",
        paper: row.ttit,
        asks: [decodeAsk(row.cp, 8, row.context, 1)],
        value: milliseconds,
      },
    ] satisfies Cell[];
  });
}

function table7(): Cell[] {
  return TABLE_7.flatMap((row) => {
    const label = row.tp === 8 ? `CP${row.cp}+TP8` : `TP${row.tp}`;
    return [
      {
        id: `t7.${row.name}.ttft`,
        table: "Table 7",
        label: `128K, ${label}, TTFT`,
        unit: "ms",
        group: "ttft",
        paper: row.ttft,
        asks: [{ ...PREFILL, cp: row.cp, tp: row.tp, variant: "pass-kv" }],
        value: milliseconds,
      },
      {
        id: `t7.${row.name}.ttit`,
        table: "Table 7",
        label: `128K, ${label}, TTIT`,
        unit: "ms",
        group: "ttit",
        paper: row.ttit,
        asks: [decodeAsk(row.cp, row.tp, CONTEXT, 1)],
        value: milliseconds,
      },
    ] satisfies Cell[];
  });
}

function table8(): Cell[] {
  return TABLE_8.flatMap((row) => {
    const id = `t8.${row.context / K}.cp${row.cp}`;
    const label = `${row.context / K}K, batch ${row.batch}, ${row.cp === 1 ? "TP8" : `CP${row.cp}`}`;
    const cell = (what: string, text: string, paper: number, value: (p: Plan) => number): Cell => ({
      id: `${id}.${what}`,
      table: "Table 8",
      label: `${label}, ${text}`,
      unit: "µs",
      group: "decode",
      paper,
      asks: [decodeAsk(row.cp, 8, row.context, row.batch)],
      value: ([p]) => value(p) * 1e6,
    });
    const { cp } = row;
    return [
      cell("op", "one attention op", row.op, (p) => p.layer.attend),
      cell("ring", "attention, whole ring", row.ring, (p) => p.layer.attend * cp),
      cell("sendrecv", "SendRecv", row.sendRecv, (p) => p.layer.transfer * (cp - 1)),
      cell("all2all", "All2All", row.all2all, (p) => p.layer.exchange),
      cell(
        "whole",
        "whole pass-Q",
        row.whole,
        (p) => p.layer.breakdown.attention + p.layer.breakdown.exposed + p.layer.breakdown.all2all,
      ),
    ];
  });
}

function decodeAsk(cp: number, tp: number, cached: number, batch: number): Ask {
  return { cp, tp, cached, batch, decode: true, variant: "pass-q" };
}

function headline(): Cell[] {
  const million: Ask = { cp: 16, tp: 8, new: 1000 * K, variant: "pass-kv" };
  const cell = (
    id: string,
    label: string,
    unit: Cell["unit"],
    group: CellGroup,
    paper: number,
    asks: readonly Ask[],
    value: Cell["value"],
    more: Partial<Cell> = {},
  ): Cell => ({
    id: `headline.${id}`,
    table: "Headline",
    label,
    unit,
    group,
    paper,
    asks,
    value,
    ...more,
  });
  const tp = (n: number): Ask => ({ ...PREFILL, tp: n });
  const cp = (n: number): Ask => ({ ...PREFILL, cp: n, variant: "pass-kv" });
  return [
    cell("1m.cp16", "1M on CP16, TTFT", "s", "ttft", 77, [million], seconds),
    cell("128k.cp16", "128K on CP16, TTFT", "s", "ttft", 3.8, [cp(16)], seconds),
    cell("128k.cp8", "128K on CP8, TTFT", "s", "ttft", 5.85, [cp(8)], seconds),
    cell("1m.cp1", '1M on one host, TTFT, "about"', "s", "ttft", 1200, [{ tp: 8, new: 1000 * K }], seconds, {
      note: "does not fit one host's memory; printed as an estimate",
    }),
    cell("128k.cp1", '128K on one host, TTFT, "about"', "s", "ttft", 60, [cp(1)], seconds, {
      excluded: "the introduction's round figure contradicts Tables 6 and 7 (42.010 s)",
    }),
    cell("flops", "1M on CP16, FLOP/s a GPU", "TFLOP/s", "claim", 502, [million], ([p]) => p.flopsPerGpu / 1e12),
    cell(
      "efficiency",
      "1M on CP16, over the kernel's 540 TFLOP/s",
      "%",
      "claim",
      93,
      [million],
      ([p]) => (p.flopsPerGpu / KERNEL_FLOPS) * 100,
    ),
    cell("utilization", "1M on CP16, share of the peak", "%", "claim", 63, [million], ([p]) => p.utilization * 100),
    cell("kernel", "attention kernel alone, 8K causal, one GPU", "TFLOP/s", "claim", KERNEL_FLOPS / 1e12, [{
      tp: 8,
      new: 8 * K,
    }], ([p]) => attentionRate(p)),
    cell("tp16.gap", "TP16 slower than CP2 (prose, Fig. 7)", "%", "claim", 15, [tp(16), cp(2)], gap, {
      excluded: "Table 7 itself gives 42 %",
    }),
    cell("tp64.gap", "TP64 slower than CP8 (prose, Fig. 7)", "%", "claim", 100, [tp(64), cp(8)], gap, {
      note: "from a plot whose 15 % at two hosts contradicts Table 7",
    }),
  ];
}

const gap = ([tp, cp]: readonly Plan[]) => (tp.seconds / cp.seconds - 1) * 100;

/** TFLOP/s of the attention call in a plan of one rank, with its launch. */
function attentionRate(p: Plan): number {
  const pairs = causalPairs({ new: p.new, cached: p.cached });
  return attentionFlops(pairs, MODEL.heads / p.tp, MODEL.headDim) / p.layer.attend / 1e12;
}

/** All cells, by table. Figures of 0 (no SendRecv on one rank) have no relative error. */
export const CELLS: readonly Cell[] = [
  ...table2and3(),
  ...table4(),
  ...table5(),
  ...table6(),
  ...table7(),
  ...table8(),
  ...headline(),
];
