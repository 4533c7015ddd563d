/**
 * Compares somebody's result with the right one: says what is wrong first, how much is, and which fault of the catalogue
 * makes the same numbers.
 */
import { PADDING } from "../../layout/catalog.ts";
import { Turns } from "../../turns.ts";
import type { KeyRun } from "../attention.ts";
import { sayRowTolerance } from "../tolerance.ts";
import { type Expected, expectedOf, type OpenAttender, soFar } from "./expected.ts";
import { Case, type Context, HYPOTHESES, type Hypothesis, type Prediction } from "./hypotheses.ts";
import { Allowance, type Off, worstOf, wrongIn } from "./judge.ts";
import { type At, foundAt, type Piece, type Problem, tokenOf, type Values } from "./problem.ts";
import { merged, Rows } from "./row.ts";
import type { Setting } from "./setting.ts";

/** What to compare. */
export interface CompareInput {
  readonly problem: Problem;
  readonly pieces: readonly Piece[];
  /** Who holds which token; undefined for a whole result without a layout. */
  readonly setting?: Setting;
  /** Makes a device of this machine for a shape. */
  readonly open: OpenAttender;
  readonly signal?: AbortSignal;
  /** Called with the pieces done, and their total. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** A wrong number and where it is. */
export interface Place extends Off {
  readonly rank: number;
  /** Null in a final result. */
  readonly hop: number | null;
  /** The row of Q in the whole batch. */
  readonly token: number;
  /** The token's sequence, and its position there. */
  readonly sequence: number;
  readonly position: number;
  /** Its place in the rank's shard. */
  readonly place: number;
  readonly head: number;
}

/** A fault that makes the same numbers. */
export interface Named {
  readonly name: string;
  /** What went wrong. */
  readonly says: string;
  /** The share of the wrong rows that it reproduces, of those tried. */
  readonly explains: number;
  /** The largest difference between its numbers and theirs. */
  readonly error: number;
  /** What was fitted, or which of several. */
  readonly detail?: string;
}

/** The rows and heads of a rank and hop, and how many are wrong. */
export interface Cell {
  readonly rank: number;
  readonly hop: number | null;
  readonly rows: number;
  readonly wrong: number;
}

/** The verdict. */
export interface Comparison {
  readonly ok: boolean;
  /** The first wrong number: of the lowest hop, then rank, then place, then head. */
  readonly first: Place | null;
  /** The number that is farthest beyond its bound. */
  readonly worst: Place | null;
  /** Faults that make the same numbers, the likeliest first. */
  readonly hypotheses: readonly Named[];
  readonly grid: readonly Cell[];
  /** How many wrong rows and heads are off by up to 10, 100, ... times their bound. */
  readonly histogram: readonly { readonly upTo: number; readonly count: number }[];
  /** What the files held. */
  readonly compared: readonly ("o" | "lse")[];
  /** Partial results: of each hop alone, or of all hops so far. */
  readonly reading: "hop" | "so-far" | null;
  /** The bound in words. */
  readonly tolerance: string;
  /** A remark on the comparison itself. */
  readonly note?: string;
}

/** Wrong rows that faults are tried on. */
const TRIED = 40;
/** A fault is named if it reproduces at least this share of them; from SURE on, we look no further. */
const NAMED = 0.5, SURE = 0.9;
const STEPS = [10, 100, 1000, 10_000, Infinity];

/** A piece with its right values, and the wrong rows and heads in it. */
interface Judged {
  readonly piece: Piece;
  readonly right: Expected;
  /** place * H + head, ascending. */
  readonly wrong: readonly number[];
}

/** Compares. Errors: InputError; the signal's reason. */
export async function compare(input: CompareInput): Promise<Comparison> {
  const { problem, setting, signal, onProgress } = input;
  const turns = new Turns(signal);
  const pause = async () => {
    await turns.next();
    signal?.throwIfAborted();
  };
  const pieces = [...input.pieces].sort((a, b) => (a.hop ?? 0) - (b.hop ?? 0) || a.rank - b.rank);
  const alone: Expected[] = [];
  for (const [i, piece] of pieces.entries()) {
    alone.push(await expectedOf(problem, piece, input.open, pause));
    onProgress?.(i + 1, pieces.length);
  }
  const rows = new Rows(problem);
  const allowance = new Allowance(problem);
  const verdicts: Comparison[] = [];
  // Partial results are of their hop alone or of all so far: whichever fits better.
  for (const { reading, right, keysOf } of readingsOf(pieces, setting, alone)) {
    const context: Context = { rows, setting, pieces, reading, keysOf };
    const judged = pieces.map((piece, i) => judge(problem, piece, right[i], allowance));
    verdicts.push(await verdictOf(context, allowance, judged, pause));
    if (verdicts.at(-1)!.ok) break;
  }
  return verdicts.toSorted((a, b) =>
    Number(b.ok) - Number(a.ok) || explained(b) - explained(a) || wrongOf(a) - wrongOf(b)
  )[0];
}

const explained = ({ hypotheses: [first] }: Comparison) => Math.round(10 * (first?.explains ?? 0));
const wrongOf = ({ grid }: Comparison) => grid.reduce((sum, { wrong }) => sum + wrong, 0);

async function verdictOf(
  context: Context,
  allowance: Allowance,
  judged: readonly Judged[],
  pause: () => Promise<void>,
): Promise<Comparison> {
  const { problem } = context.rows;
  const confirm = (piece: Judged, index: number) => confirmed(context, allowance, piece, index);
  let first: Place | null = null;
  for (const piece of judged) {
    for (const index of piece.wrong) {
      first = confirm(piece, index);
      if (first !== null) break;
      await pause();
    }
    if (first !== null) break;
  }
  const compared = (["o", "lse"] as const).filter((name) => judged.some(({ piece }) => piece[name] !== undefined));
  const facts = {
    compared,
    reading: context.reading,
    tolerance: `${sayRowTolerance(problem.dtype, true)}; more where scores are large`,
  };
  const grid = judged.map(({ piece, wrong }): Cell => ({
    rank: piece.rank,
    hop: piece.hop ?? null,
    rows: piece.rows.filter((row) => row !== PADDING).length * problem.heads,
    wrong: first === null ? 0 : wrong.length,
  }));
  if (first === null) {
    return { ok: true, first: null, worst: null, hypotheses: [], grid, histogram: [], ...facts };
  }
  const wrong = judged.flatMap((piece) => piece.wrong.map((index) => ({ piece, index })));
  const tried = evenly(wrong, TRIED).filter(({ piece, index }) => confirm(piece, index) !== null);
  let hypotheses = await named(context, allowance, tried, everywhere, pause);
  if ((hypotheses[0]?.explains ?? 0) < SURE) {
    const inOne = await named(context, allowance, evenly(tried, TRIED / 2), inOneHop, pause);
    if ((inOne[0]?.explains ?? 0) > (hypotheses[0]?.explains ?? 0)) hypotheses = inOne;
  }
  const note = remark(problem, judged, hypotheses);
  const spread = spreadOf(problem, judged, allowance);
  return { ok: false, first, ...spread, hypotheses, grid, ...facts, ...(note === undefined ? {} : { note }) };
}

/** The readings of partial results, each with what is right in it. */
function readingsOf(
  pieces: readonly Piece[],
  setting: Setting | undefined,
  alone: readonly Expected[],
): { reading: Comparison["reading"]; right: readonly Expected[]; keysOf: Context["keysOf"] }[] {
  const own = { right: alone, keysOf: (piece: Piece) => piece.held };
  if (pieces.every(({ hop }) => hop === undefined)) return [{ reading: null, ...own }];
  if (setting?.variant !== "pass-kv") return [{ reading: "hop", ...own }];
  const sums: Expected[] = [...alone];
  const before = new Map<Piece, readonly KeyRun[]>();
  for (const rank of new Set(pieces.map((piece) => piece.rank))) {
    // If a hop is missing, there is no sum for the hops after it.
    const complete = pieces.flatMap((piece, i) => (piece.rank === rank ? [i] : [])).filter((i, j) =>
      pieces[i].hop === j
    );
    soFar(complete.map((i) => alone[i])).forEach((sum, j) => (sums[complete[j]] = sum));
    complete.forEach((i, j) => before.set(pieces[i], complete.slice(0, j + 1).flatMap((c) => pieces[c].held ?? [])));
  }
  return [
    { reading: "hop", ...own },
    { reading: "so-far", right: sums, keysOf: (piece) => before.get(piece) ?? piece.held },
  ];
}

function judge(problem: Problem, piece: Piece, right: Expected, allowance: Allowance): Judged {
  const wrong: number[] = [];
  for (const { place, head } of wrongIn(problem, piece, right, allowance)) {
    wrong.push(place * problem.heads + head);
  }
  return { piece, right, wrong };
}

function atOf({ piece }: Judged, index: number, heads: number): At {
  const place = Math.floor(index / heads);
  return { piece, place, row: piece.rows[place], head: index % heads };
}

/** The worst number of a row and head, by float64; null if it is right. */
function confirmed(context: Context, allowance: Allowance, judged: Judged, index: number): Place | null {
  const { rows } = context;
  const { heads, sequences } = rows.problem;
  const at = atOf(judged, index, heads);
  const found = foundAt(at, heads, rows.valueDim);
  const { right } = new Case(context, at, found);
  const allowed = allowance.of(at.row, at.head, { ...right, spread: judged.right.spread[index] });
  const off = worstOf(found, right, allowed);
  if (off === undefined) return null;
  const { sequence, position } = tokenOf(sequences, at.row);
  const { of, column, found: number, expected, bound } = off;
  return {
    rank: at.piece.rank,
    hop: at.piece.hop ?? null,
    token: at.row,
    sequence,
    position,
    place: at.place,
    head: at.head,
    of,
    column,
    found: number,
    expected,
    bound,
  };
}

function spreadOf(
  problem: Problem,
  judged: readonly Judged[],
  allowance: Allowance,
): Pick<Comparison, "worst" | "histogram"> {
  const counts = STEPS.map(() => 0);
  let worst: Place | null = null;
  let most = 0;
  for (const { piece, right } of judged) {
    for (const wrong of wrongIn(problem, piece, right, allowance)) {
      counts[STEPS.findIndex((step) => wrong.share <= step)]++;
      if (wrong.share <= most) continue;
      most = wrong.share;
      const { sequence, position } = tokenOf(problem.sequences, wrong.row);
      const { place, row, head, off } = wrong;
      worst = { rank: piece.rank, hop: piece.hop ?? null, token: row, sequence, position, place, head, ...plain(off) };
    }
  }
  return { worst, histogram: STEPS.map((upTo, i) => ({ upTo, count: counts[i] })) };
}

const plain = ({ of, column, found, expected, bound }: Off): Off => ({ of, column, found, expected, bound });

/** `most` items from all over a list, the first one included. */
function evenly<T>(items: readonly T[], most: number): T[] {
  const n = Math.min(most, items.length);
  // From a different place of each part: at equal steps, all could be rows of one head.
  return Array.from({ length: n }, (_, i) => items[Math.floor(((i + (i * 0.618) % 1) * items.length) / n)]);
}

/** A fault's predictions of a row, by what they are called together with the fault's name. */
type Tries = (of: Case, hypothesis: Hypothesis) => Iterable<readonly [where: string, prediction: Prediction]>;

/** The fault everywhere. */
const everywhere: Tries = function* (of, { predict }) {
  for (const prediction of predict(of)) yield ["", prediction];
};

/** The fault in one hop alone, merged with what is right in the others. */
const inOneHop: Tries = function* (of, { predict }) {
  const { context, at } = of;
  const { setting } = context;
  if (setting === undefined || of.parts.length < 2) return;
  for (const hop of of.parts.keys()) {
    const held = setting.keys[setting.keysMet(at.piece.rank, hop)];
    const piece: Piece = { ...at.piece, hop, held };
    const alone = new Case({ ...context, reading: "hop", keysOf: () => held }, { ...at, piece }, {});
    for (const { o, lse, detail } of predict(alone)) {
      const part = { o: Float64Array.from(o ?? of.parts[hop].o), lse: lse ?? of.parts[hop].lse };
      const whole = merged([...of.parts.map((right, j) => (j === hop ? part : right)), ...of.sink]);
      yield [`in hop ${hop}`, {
        ...whole,
        detail: detail === undefined ? `in hop ${hop}` : `${detail}, in hop ${hop}`,
      }];
    }
  }
};

/** Tries every fault on some wrong rows. */
async function named(
  context: Context,
  allowance: Allowance,
  tried: readonly { readonly piece: Judged; readonly index: number }[],
  tries: Tries,
  pause: () => Promise<void>,
): Promise<Named[]> {
  const { rows } = context;
  const { heads } = rows.problem;
  interface Tally {
    readonly hypothesis: Hypothesis;
    count: number;
    error: number;
    readonly details: Map<string, number>;
  }
  const tallies = new Map<string, Tally>();
  for (const { piece, index } of tried) {
    const at = atOf(piece, index, heads);
    const found = foundAt(at, heads, rows.valueDim);
    const of = new Case(context, at, found);
    const spread = piece.right.spread[index];
    const bar = allowance.of(at.row, at.head, { ...of.right, spread });
    const wrong = wrongParts(found, of.right, bar);
    for (const hypothesis of HYPOTHESES) {
      await pause();
      const best = new Map<string, { error: number; detail?: string }>();
      for (const [where, prediction] of tries(of, hypothesis)) {
        const error = reproduces(prediction, found, wrong, allowance, at, of, spread);
        if (error !== undefined && error < (best.get(where)?.error ?? Infinity)) {
          best.set(where, { error, detail: prediction.detail });
        }
      }
      for (const [where, { error, detail }] of best) {
        const key = `${hypothesis.name} ${where}`;
        const tally = tallies.get(key) ?? { hypothesis, count: 0, error: 0, details: new Map<string, number>() };
        tallies.set(key, tally);
        tally.count++;
        tally.error = Math.max(tally.error, error);
        if (detail !== undefined) tally.details.set(detail, (tally.details.get(detail) ?? 0) + 1);
      }
    }
  }
  const order = (tally: Tally) => HYPOTHESES.indexOf(tally.hypothesis);
  // One fault has one detail, as one hop or one rank: the rows with another one speak against it.
  const scattered = ({ details }: Tally) => {
    const counts = [...details.values()];
    return counts.reduce((sum, count) => sum + count, 0) - Math.max(0, ...counts);
  };
  return [...tallies.values()]
    .filter(({ count }) => count / Math.max(1, tried.length) >= NAMED)
    .sort((a, b) => b.count - a.count || scattered(a) - scattered(b) || order(a) - order(b))
    .map(({ hypothesis: { name, says }, count, error, details }): Named => {
      const [detail] = [...details].sort(([, a], [, b]) => b - a)[0] ?? [];
      return { name, says, explains: count / tried.length, error, ...(detail === undefined ? {} : { detail }) };
    });
}

type Bar = ReturnType<Allowance["of"]>;

/** The parts of a row that are wrong. */
function wrongParts(
  { o, lse }: Values,
  right: { o: ArrayLike<number>; lse: number },
  bar: Bar,
): readonly ("o" | "lse")[] {
  return [
    ...(worstOf({ o }, right, bar) === undefined ? [] : ["o" as const]),
    ...(worstOf({ lse }, right, bar) === undefined ? [] : ["lse" as const]),
  ];
}

/** The largest difference if a prediction gives theirs within the bound, and covers what is wrong. */
function reproduces(
  prediction: Prediction,
  found: Values,
  wrong: readonly ("o" | "lse")[],
  allowance: Allowance,
  at: At,
  of: Case,
  spread: number,
): number | undefined {
  if (wrong.some((part) => prediction[part] === undefined)) return undefined;
  const bars = [of.right, { o: prediction.o ?? of.right.o, lse: prediction.lse ?? of.right.lse }]
    .map((values) => allowance.of(at.row, at.head, { ...values, spread }));
  let most = 0;
  const near = (a: number, b: number, bound: number) => {
    if (a === b || (Number.isNaN(a) && Number.isNaN(b))) return true;
    const off = Math.abs(a - b);
    most = Math.max(most, off);
    return off <= bound;
  };
  const { o, lse } = prediction;
  if (lse !== undefined && found.lse !== undefined && !near(found.lse, lse, Math.max(...bars.map((bar) => bar.lse)))) {
    return undefined;
  }
  for (let d = 0; o !== undefined && d < (found.o?.length ?? 0); d++) {
    if (!near(found.o![d], o[d], Math.max(...bars.map((bar) => bar.out(o[d]))))) return undefined;
  }
  return most;
}

/** What the numbers say of the comparison itself. */
function remark(problem: Problem, judged: readonly Judged[], hypotheses: readonly Named[]): string | undefined {
  if (problem.dtype !== "f32" || hypotheses.length > 0) return undefined;
  for (const dtype of ["f16", "bf16"] as const) {
    const wider = { ...problem, dtype };
    const allowance = new Allowance(wider);
    if (judged.every(({ piece, right }) => wrongIn(wider, piece, right, allowance).next().done)) {
      return `every row is within what ${dtype} allows: if they computed or rounded in it, say --dtype ${dtype}`;
    }
  }
  return undefined;
}
