/**
 * The catalogue of faults: each row predicts what a program with that fault makes of one row and head. A new fault is a
 * row here and a plant in its test.
 */
import { LAYOUT_NAMES, layoutOf, PADDING } from "../../layout/catalog.ts";
import { isLocal, type Mask, sinkTokensOf } from "../../layout/mask.ts";
import { fromBytes, toBytes } from "../../tensor/dtype.ts";
import type { KeyRun } from "../attention.ts";
import { type At, type Piece, tokenOf, type Values } from "./problem.ts";
import { type Changed, merged, type Rows, type RowValues } from "./row.ts";
import type { Setting } from "./setting.ts";

/** What a fault's prediction may read. */
export interface Context {
  readonly rows: Rows;
  /** Who holds which token; undefined for a whole result without a layout. */
  readonly setting: Setting | undefined;
  readonly pieces: readonly Piece[];
  /** Whether partial results are of their hop alone or of all so far; null: there are none. */
  readonly reading: "hop" | "so-far" | null;
  /** The keys of a row's piece; undefined: all. */
  readonly keysOf: (piece: Piece) => readonly KeyRun[] | undefined;
}

/** What a fault makes of a row and head. A part left out may be anything. */
export interface Prediction {
  readonly o?: ArrayLike<number>;
  readonly lse?: number;
  /** What was fitted or which of several, such as a window's size. */
  readonly detail?: string;
}

/** A fault. */
export interface Hypothesis {
  readonly name: string;
  /** What went wrong, for people. */
  readonly says: string;
  readonly predict: (of: Case) => Iterable<Prediction>;
}

/** One wrong row and head, and the ways to compute it with a fault. */
export class Case {
  readonly context: Context;
  readonly at: At;
  readonly found: Values;
  readonly sequence: number;
  readonly position: number;
  /** P and T of the row's sequence. */
  readonly cached: number;
  readonly fresh: number;
  readonly held: readonly KeyRun[] | undefined;
  #right: RowValues | undefined;
  #keys: Int32Array | undefined;
  #parts: readonly RowValues[] | undefined;

  constructor(context: Context, at: At, found: Values) {
    const { sequences } = context.rows.problem;
    const { sequence, position } = tokenOf(sequences, at.row);
    this.context = context;
    this.at = at;
    this.found = found;
    this.sequence = sequence;
    this.position = position;
    this.cached = sequences[sequence].cached;
    this.fresh = sequences[sequence].new;
    this.held = context.keysOf(at.piece);
  }

  get mask(): Mask {
    return this.context.rows.mask;
  }

  /** Whether this is a row of a final result: sinks count there alone. */
  get final(): boolean {
    return this.at.piece.hop === undefined;
  }

  /** The keys that the row sees. */
  get keys(): Int32Array {
    return this.#keys ??= this.context.rows.seen(this.at.row, this.mask, this.held);
  }

  /** What is right. */
  get right(): RowValues {
    return this.#right ??= this.attend({});
  }

  /** The row with something changed. */
  attend(changed: Changed, row = this.at.row): RowValues {
    const { rows } = this.context;
    const keys = row === this.at.row ? this.keys : rows.seen(row, this.mask, this.held);
    return rows.attend(row, this.at.head, { keys, ...(this.final ? {} : { sink: -Infinity }), ...changed });
  }

  /** The row under another mask. */
  under(mask: Mask): RowValues {
    return this.attend({ keys: this.context.rows.seen(this.at.row, mask, this.held) });
  }

  /** The row with the keys at the positions that `wanted` wants. */
  seeing(wanted: (position: number) => boolean): RowValues {
    return this.attend({ keys: this.context.rows.held(this.sequence, this.held, wanted) });
  }

  /** The right values of another row of Q. */
  rightOf(row: number): RowValues {
    return row === this.at.row ? this.right : this.attend({}, row);
  }

  /** The results of the hops that are merged into this row, by hop; none where a row is of one hop alone. */
  get parts(): readonly RowValues[] {
    const { setting, rows, reading } = this.context;
    if (setting === undefined || reading === "hop") return [];
    const length = this.final ? setting.ranks : this.at.piece.hop! + 1;
    return this.#parts ??= Array.from({ length }, (_, hop) => {
      const held = setting.keys[setting.keysMet(this.at.piece.rank, hop)];
      return rows.attend(this.at.row, this.at.head, {
        keys: rows.seen(this.at.row, this.mask, held),
        sink: -Infinity,
      });
    });
  }

  /** The learned logit of the head, as a part; none without sinks. */
  get sink(): readonly RowValues[] {
    const { sinks } = this.context.rows.problem;
    return sinks === undefined || !this.final
      ? []
      : [{ o: new Float64Array(this.context.rows.valueDim), lse: sinks[this.at.head] }];
  }
}

const zero = (of: Case) => new Float64Array(of.context.rows.valueDim);

/** The catalogue: where several explain the same rows, the first is the likeliest. */
export const HYPOTHESES: readonly Hypothesis[] = [
  {
    name: "all-zero",
    says: "O is 0 everywhere: nothing was computed or copied",
    *predict(of) {
      const everything = of.context.pieces.every(({ o }) => o?.every((x) => x === 0) ?? true);
      if (everything) yield* [{ o: zero(of) }, { o: zero(of), lse: 0 }];
    },
  },
  {
    name: "hop-missing",
    says: "the result of one hop was never merged",
    *predict(of) {
      for (const hop of of.parts.keys()) {
        const times = [...of.parts.keys()].map((j) => Number(j !== hop));
        yield { ...merged([...of.parts, ...of.sink], [...times, ...of.sink.map(() => 1)]), detail: `hop ${hop}` };
      }
    },
  },
  {
    name: "shard-missing",
    says: "a rank's shard is missing: its rows are 0, or nobody attended to its keys",
    *predict(of) {
      const { at: { piece }, context: { rows, setting } } = of;
      if (piece.o?.every((x) => x === 0)) {
        yield* [{ o: zero(of) }, { o: zero(of), lse: 0 }, { o: zero(of), lse: -Infinity }];
      }
      if (setting === undefined || setting.ranks === 1 || !of.final) return;
      for (let rank = 0; rank < setting.ranks; rank++) {
        const keys = rows.seen(of.at.row, of.mask).filter((p) => setting.owners[of.sequence][p] !== rank);
        if (keys.length < of.keys.length) yield { ...of.attend({ keys }), detail: `keys of rank ${rank}` };
      }
    },
  },
  {
    name: "nan-empty-row",
    says: "a row that sees no key is NaN; it should have O = 0 and LSE = -Infinity",
    *predict(of) {
      if (of.right.lse === -Infinity) {
        yield* [{ o: zero(of).fill(NaN), lse: NaN }, { o: zero(of).fill(NaN) }, { lse: NaN }];
      }
    },
  },
  {
    name: "empty-row-lse",
    says: "a row that sees no key has another LSE than -Infinity",
    *predict(of) {
      if (of.right.lse === -Infinity) yield* [Infinity, 0].map((lse) => ({ o: zero(of), lse, detail: `${lse}` }));
    },
  },
  {
    name: "lse-base-2",
    says: "LSE is a logarithm to base 2; it should be a natural one",
    *predict(of) {
      yield { o: of.right.o, lse: of.right.lse / Math.LN2 };
      if (of.parts.length < 2) return;
      // Merged as if they were natural ones: all of them, or those that arrived.
      for (const first of [0, 1]) {
        const parts = of.parts.map((part, hop) => hop < first ? part : { ...part, lse: part.lse / Math.LN2 });
        const { o, lse } = merged([...parts, ...of.sink]);
        yield* [lse, lse * Math.LN2].map((l) => ({ o, lse: l, detail: "merged as natural ones" }));
      }
    },
  },
  {
    name: "lse-base-2-read-as-e",
    says: "LSE is a natural logarithm that was multiplied by ln 2",
    *predict(of) {
      yield { o: of.right.o, lse: of.right.lse * Math.LN2 };
      const { o, lse } = merged([...of.parts, ...of.sink].map((part) => ({ ...part, lse: part.lse * Math.LN2 })));
      if (of.parts.length > 1) yield* [lse, lse / Math.LN2].map((l) => ({ o, lse: l, detail: "merged as base 2" }));
    },
  },
  {
    name: "lse-without-scale",
    says: "LSE is that of the scores before the scale",
    *predict(of) {
      yield { o: of.right.o, lse: of.attend({ scale: 1 }).lse };
    },
  },
  {
    name: "lse-transposed",
    says: "LSE lies as [heads, rows] and was read as [rows, heads]",
    *predict(of) {
      const { piece, place, head } = of.at;
      const { heads } = of.context.rows.problem;
      const flat = place * heads + head;
      const [otherHead, other] = [Math.floor(flat / piece.rows.length), flat % piece.rows.length];
      const row = piece.rows[other];
      if (row === PADDING) return;
      const moved = new Case(of.context, { piece, place: other, row, head: otherHead }, {});
      yield { o: of.right.o, lse: moved.right.lse };
    },
  },
  {
    name: "scale-missing",
    says: "scores were not scaled",
    *predict(of) {
      if (of.context.rows.scale !== 1) yield of.attend({ scale: 1 });
    },
  },
  {
    name: "scale-twice",
    says: "scores were scaled twice",
    *predict(of) {
      yield of.attend({ scale: of.context.rows.scale ** 2 });
    },
  },
  {
    name: "scale-1-over-d",
    says: "scores were scaled by 1/D",
    *predict(of) {
      yield of.attend({ scale: 1 / of.context.rows.problem.headDim });
    },
  },
  {
    name: "causal-off-by-one",
    says: "a query does not see its own key, or sees the next one too",
    *predict(of) {
      if (of.mask.kind !== "causal") return;
      yield { ...of.seeing((p) => p < of.position), detail: "not its own key" };
      yield { ...of.seeing((p) => p <= of.position + 1), detail: "one key too many" };
    },
  },
  {
    name: "causal-top-left",
    says: "the causal mask is aligned top-left: cached tokens do not shift it; it should be aligned bottom-right",
    *predict(of) {
      if (of.cached > 0 && of.mask.kind !== "full") yield of.seeing((p) => p <= of.position - of.cached);
    },
  },
  {
    name: "cached-missing",
    says: "cached tokens are not attended to",
    *predict(of) {
      if (of.keys.some((p) => p < of.cached)) yield of.attend({ keys: of.keys.filter((p) => p >= of.cached) });
    },
  },
  {
    name: "no-mask",
    says: "every query sees every key of its sequence",
    *predict(of) {
      if (of.mask.kind !== "full") yield of.under({ kind: "full" });
    },
  },
  {
    name: "causal-for-full",
    says: "the mask is causal; it should be full",
    *predict(of) {
      if (of.mask.kind === "full") yield of.under({ kind: "causal" });
    },
  },
  {
    name: "mask-by-local-position",
    says: "the causal mask compares places in the shards, not positions in the sequence",
    *predict(of) {
      const { setting } = of.context;
      if (setting === undefined || setting.ranks === 1) return;
      const place = setting.places[of.sequence];
      yield of.seeing((p) => place[p] <= place[of.position]);
    },
  },
  {
    name: "window-off-by-one",
    says: "the window has one key too many or too few: W keys are p-W+1 to p",
    *predict(of) {
      if (of.mask.kind !== "window") return;
      for (const [by, detail] of [[1, "one key too many"], [-1, "one key too few"]] as const) {
        if (of.mask.size + by >= 1) yield { ...of.under({ ...of.mask, size: of.mask.size + by }), detail };
      }
    },
  },
  {
    name: "window-missing",
    says: "the mask is causal, without its window or chunks",
    *predict(of) {
      if (isLocal(of.mask)) yield of.under({ kind: "causal" });
    },
  },
  {
    name: "sink-tokens-missing",
    says: "the first tokens of the sequence are not seen by all queries",
    *predict(of) {
      if (isLocal(of.mask) && sinkTokensOf(of.mask) > 0) yield of.under({ ...of.mask, sinkTokens: 0 });
    },
  },
  {
    name: "window-for-causal",
    says: "a query sees a window of keys; it should see all up to its own",
    predict: windowed,
  },
  {
    name: "sink-missing",
    says: "the learned sink is not in the denominator",
    *predict(of) {
      if (of.sink.length > 0) yield of.attend({ sink: -Infinity });
    },
  },
  {
    name: "sink-per-rank",
    says: "the learned sink counts once on every rank; it should count once in all",
    *predict(of) {
      const ranks = of.context.setting?.ranks;
      if (of.sink.length === 0) return;
      for (const n of ranks === undefined ? [2, 4, 8] : [ranks]) {
        yield { ...of.attend({ sink: of.sink[0].lse + Math.log(n) }), detail: `${n} times` };
      }
    },
  },
  {
    name: "kv-heads-interleaved",
    says: "query head h reads KV head h mod Hkv; it should read floor(h / (H / Hkv))",
    *predict(of) {
      const { heads, kvHeads } = of.context.rows.problem;
      if (kvHeads > 1 && heads > kvHeads) yield of.attend({ keyHead: of.at.head % kvHeads });
    },
  },
  {
    name: "value-head-other",
    says: "values are those of another KV head than the keys",
    *predict(of) {
      const { kvHeads } = of.context.rows.problem;
      for (let h = 0; h < kvHeads; h++) {
        if (h !== of.context.rows.kvHead(of.at.head)) yield { ...of.attend({ valueHead: h }), detail: `KV head ${h}` };
      }
    },
  },
  {
    name: "kv-head-other",
    says: "keys and values are those of another KV head",
    *predict(of) {
      const { kvHeads } = of.context.rows.problem;
      for (let h = 0; h < kvHeads; h++) {
        if (h !== of.context.rows.kvHead(of.at.head)) yield { ...of.attend({ keyHead: h }), detail: `KV head ${h}` };
      }
    },
  },
  {
    name: "hop-twice",
    says: "the result of one hop was merged twice",
    *predict(of) {
      for (const hop of of.parts.keys()) {
        const times = [...of.parts.keys()].map((j) => (j === hop ? 2 : 1));
        yield { ...merged([...of.parts, ...of.sink], [...times, ...of.sink.map(() => 1)]), detail: `hop ${hop}` };
      }
    },
  },
  {
    name: "merge-unweighted",
    says: "partial results were added or averaged without the weights of their LSE",
    *predict(of) {
      const seen = of.parts.filter(({ lse }) => lse > -Infinity);
      if (seen.length < 2) return;
      const sum = zero(of);
      for (const { o } of seen) for (let d = 0; d < sum.length; d++) sum[d] += o[d];
      yield { o: sum, detail: "their sum" };
      yield { o: sum.map((x) => x / seen.length), detail: "their mean" };
      yield { o: sum.map((x) => x / of.parts.length), detail: `their sum / ${of.parts.length}` };
      // One after the other, each with half the weight.
      for (const parts of [seen, of.parts]) {
        let running = parts[0].o.slice();
        for (const { o } of parts.slice(1)) running = running.map((x, d) => (x + o[d]) / 2);
        yield { o: running, detail: "their running mean" };
      }
      let stale = of.parts[0];
      for (const part of of.parts.slice(1)) stale = { o: merged([stale, part]).o, lse: stale.lse };
      yield* [stale, { o: stale.o }].map((made) => ({ ...made, detail: "the running LSE never updated" }));
    },
  },
  {
    name: "shard-from-neighbour",
    says: "a rank's rows, or the keys of a hop, are those of another rank",
    predict: neighbours,
  },
  {
    name: "last-chunk-lost",
    says: "the tokens beyond the last whole chunk of an uneven length are lost",
    *predict(of) {
      for (
        const of2N of of.context.setting === undefined ? [] : [2 * of.context.setting.ranks, of.context.setting.ranks]
      ) {
        const kept = of.cached + Math.floor(of.fresh / of2N) * of2N;
        if (kept === of.cached + of.fresh) continue;
        if (of.position >= kept) yield* [{ o: zero(of) }, { o: zero(of), lse: 0 }, { o: zero(of), lse: -Infinity }];
        // Their keys may be lost alone.
        if (of.keys.some((p) => p >= kept)) yield of.attend({ keys: of.keys.filter((p) => p < kept) });
      }
    },
  },
  {
    name: "padding-attended",
    says: "padding was attended to: keys of 0 count in the denominator",
    *predict(of) {
      const { o, lse } = of.right;
      if (lse === -Infinity) return;
      let extra = NaN;
      if (of.found.lse !== undefined) extra = Math.exp(of.found.lse) - Math.exp(lse);
      else if (of.found.o !== undefined) {
        let [dot, square] = [0, 0];
        for (let d = 0; d < o.length; d++) {
          dot += of.found.o[d] * o[d];
          square += o[d] * o[d];
        }
        extra = Math.exp(lse) * (square / dot - 1);
      }
      const n = Math.round(extra);
      if (!(n >= 1) || n > 1e6) return;
      const both = Math.log(Math.exp(lse) + n);
      yield { o: o.map((x) => x * Math.exp(lse - both)), lse: both, detail: `${n} keys` };
    },
  },
  {
    name: "tokens-permuted",
    says: "rows are in the order of another layout",
    predict: permuted,
  },
  {
    name: "heads-permuted",
    says: "the heads are in another order, or [heads, rows] was read as [rows, heads]",
    *predict(of) {
      const { heads, kvHeads } = of.context.rows.problem;
      const group = heads / kvHeads;
      const { piece, place, row, head } = of.at;
      const headRight = (h: number, r = row) => new Case(of.context, { piece, place, row: r, head: h }, {}).right;
      if (group > 1 && kvHeads > 1) {
        yield {
          ...headRight((head % kvHeads) * group + Math.floor(head / kvHeads)),
          detail: "grouped by place in the group",
        };
      }
      const flat = place * heads + head;
      const other = piece.rows[flat % piece.rows.length];
      if (other !== PADDING) {
        yield { ...headRight(Math.floor(flat / piece.rows.length), other), detail: "rows and heads exchanged" };
      }
    },
  },
  {
    name: "rope-local-positions",
    says: "RoPE was applied after sharding, with places in the shard for positions",
    predict: ropeLocal,
  },
  {
    name: "sequences-joined",
    says: "the batch's sequences see each other: they were attended to as one",
    *predict(of) {
      const { sequences } = of.context.rows.problem;
      if (sequences.length < 2 || !of.final) return;
      yield joinedSequences(of);
    },
  },
  {
    name: "accumulator-16-bit",
    says: "the running result was kept in 16 bits between hops",
    *predict(of) {
      const { found, right, context } = of;
      if (context.rows.problem.dtype !== "f32") return;
      yield* keptIn16(of);
      if (found.o === undefined) return;
      for (const [dtype, step] of [["bf16", 2 ** -8], ["f16", 2 ** -11]] as const) {
        const values = Float32Array.from(found.o);
        const rounded = fromBytes(toBytes(values, dtype), dtype);
        const most = right.o.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
        const near = right.o.every((x, d) =>
          Math.abs(found.o![d] - x) <= (1 + (context.setting?.ranks ?? 8)) * step * most
        );
        if (near && rounded.every((x, d) => x === values[d])) yield { o: found.o, lse: right.lse, detail: dtype };
      }
    },
  },
];

/** The merge with its running result, or the LSE of what it merges, in 16 bits. */
function* keptIn16(of: Case): Iterable<Prediction> {
  if (of.parts.length < 2) return;
  for (const detail of ["bf16", "f16"] as const) {
    const round = (x: ArrayLike<number>) => Float64Array.from(fromBytes(toBytes(Float32Array.from(x), detail), detail));
    const lse = (x: number) => x === -Infinity ? x : round([x])[0];
    const whole = (parts: readonly RowValues[]) => ({ ...merged([...parts, ...of.sink]), detail });
    for (const both of [false, true]) {
      const kept = (x: RowValues) => ({ o: round(x.o), lse: both ? lse(x.lse) : x.lse });
      yield whole([of.parts.slice(1).reduce<RowValues>((sum, part) => merged([kept(sum), part]), of.parts[0])]);
    }
    yield whole(of.parts.map((part) => ({ o: part.o, lse: lse(part.lse) })));
    yield whole(of.parts.map((part) => ({ o: round(part.o), lse: lse(part.lse) })));
  }
}

/** Fits the last W keys to what was found, by O if it is there, else by LSE. */
function* windowed(of: Case): Iterable<Prediction> {
  const { found, keys } = of;
  if (of.mask.kind !== "causal" || keys.length < 2 || (found.o === undefined && found.lse === undefined)) return;
  const { rows } = of.context;
  // A window may leave a hop none of its keys.
  if (!of.final) yield { o: zero(of), lse: -Infinity };
  let running: RowValues = { o: zero(of), lse: -Infinity };
  let best = { off: Infinity, size: 0 };
  for (let j = keys.length - 1; j >= 0; j--) {
    const one = rows.attend(of.at.row, of.at.head, { keys: [keys[j]], sink: -Infinity });
    running = merged([running, one]);
    const all = merged([running, ...of.sink]);
    const off = found.o === undefined
      ? Math.abs(found.lse! - all.lse)
      : all.o.reduce((sum, x, d) => sum + Math.abs(x - found.o![d]), 0);
    if (off < best.off) best = { off, size: of.position - keys[j] + 1 };
  }
  if (best.size === 0 || best.size > of.position) return;
  yield { ...of.seeing((p) => p <= of.position && of.position - p < best.size), detail: `W = ${best.size}` };
}

function* neighbours(of: Case): Iterable<Prediction> {
  const { setting } = of.context;
  if (setting === undefined || setting.ranks === 1 || of.context.reading === "so-far") return;
  const { piece, place } = of.at;
  for (let by = of.final ? 1 : 0; by < setting.ranks; by++) {
    const other = (piece.rank + by) % setting.ranks;
    if (of.final) {
      const row = setting.rows[other][place];
      if (row !== undefined && row !== PADDING) yield { ...of.rightOf(row), detail: `rows of rank ${other}` };
    } else {
      const keys = of.context.rows.seen(of.at.row, of.mask, setting.keys[other]);
      yield { ...of.attend({ keys }), detail: `keys of rank ${other}` };
    }
  }
}

function* permuted(of: Case): Iterable<Prediction> {
  const { setting, rows: { problem: { sequences } } } = of.context;
  if (!of.final) return;
  const names = LAYOUT_NAMES.map((name) => name.replace("INTERLEAVE", "16"));
  for (const ranks of setting === undefined ? [2, 3, 4, 8] : [setting.ranks]) {
    for (const name of names) {
      const shards = dealtBy(name, ranks, sequences.map((s) => s.new));
      if (shards === undefined) continue;
      // Rows of a whole result in the order of the ranks' shards, or a rank's own.
      const order = setting === undefined || of.context.pieces.length === 1 ? shards : [shards[of.at.piece.rank]];
      const row = rowAt(order, of.at.place);
      if (row !== undefined && row !== PADDING && row !== of.at.row) {
        yield { ...of.rightOf(row), detail: setting === undefined ? `${name}, ${ranks} ranks` : name };
      }
      const inverse = setting === undefined ? placeOf(order, of.at.row) : -1;
      if (inverse >= 0 && inverse !== of.at.row && inverse < sequences.reduce((sum, s) => sum + s.new, 0)) {
        yield { ...of.rightOf(inverse), detail: `${name}, ${ranks} ranks, undone twice` };
      }
    }
  }
}

/** The row at a place of shards one after the other. */
function rowAt(shards: readonly Int32Array[], place: number): number | undefined {
  for (const own of shards) {
    if (place < own.length) return own[place];
    place -= own.length;
  }
  return undefined;
}

/** The place of a row in shards one after the other; -1 if none has it. */
function placeOf(shards: readonly Int32Array[], row: number): number {
  let before = 0;
  for (const own of shards) {
    const place = own.indexOf(row);
    if (place >= 0) return before + place;
    before += own.length;
  }
  return -1;
}

const dealings = new Map<string, readonly Int32Array[] | undefined>();

/** A layout's shards of a batch; undefined if it can't deal it. */
function dealtBy(name: string, ranks: number, lengths: readonly number[]): readonly Int32Array[] | undefined {
  const key = `${name} ${ranks} ${lengths.join()}`;
  if (!dealings.has(key)) {
    let dealt: readonly Int32Array[] | undefined;
    try {
      dealt = layoutOf(name).dealBatch(lengths, ranks);
    } catch {
      dealt = undefined;
    }
    dealings.set(key, dealt);
  }
  return dealings.get(key);
}

/** Bases that models use, and the two ways to pair elements. */
const ROPE_BASES = [10_000, 500_000, 1_000_000];

function* ropeLocal(of: Case): Iterable<Prediction> {
  const { setting } = of.context;
  if (setting === undefined || setting.ranks === 1) return;
  const place = setting.places[of.sequence];
  for (const base of ROPE_BASES) {
    for (const halves of [true, false]) {
      const turn = (x: Float64Array, by: number) => rotate(x, by, base, halves);
      const made = of.attend({
        query: (q) => turn(q, place[of.position] - of.position),
        key: (k, p) => turn(k, place[p] - p),
      });
      yield { ...made, detail: `base ${base}, ${halves ? "halves" : "neighbours"} paired` };
    }
  }
}

/** RoPE's rotation by `by` positions. */
function rotate(x: Float64Array, by: number, base: number, halves: boolean): void {
  const half = x.length / 2;
  for (let i = 0; i < half; i++) {
    const angle = by * base ** (-i / half);
    const [a, b] = halves ? [i, i + half] : [2 * i, 2 * i + 1];
    const [c, s] = [Math.cos(angle), Math.sin(angle)];
    [x[a], x[b]] = [x[a] * c - x[b] * s, x[a] * s + x[b] * c];
  }
}

/** The row as if all sequences before its own were cached tokens of one sequence. */
function joinedSequences(of: Case): RowValues {
  const { rows } = of.context;
  const before = rows.problem.sequences.slice(0, of.sequence).map((s, sequence) => {
    const keys = Array.from({ length: s.cached + s.new }, (_, p) => p);
    return rows.attendIn(sequence, of.at.row, of.at.head, { keys, sink: -Infinity });
  });
  return merged([of.right, ...before]);
}
