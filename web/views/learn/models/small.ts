/** Small seeded tensors, and the engine's attention on parts of them in this thread. */
import {
  type Block,
  CAUSAL,
  CpuAttention,
  type CpuPartial,
  keyChunk,
  publicLse,
  queryChunk,
  type RankChunk,
  rankChunk,
  Recorder,
  type ReferenceInput,
  seededRows,
  type Sequence,
  type Shape,
} from "../../../engine/learn.ts";

/** Head dimension of the small tensors. */
export const D = 16;

/** Q, K and V of some sequences, with one head. */
export type Small = ReferenceInput & { readonly v: Float32Array };

/** Seeded inputs of some sequences. */
export function small(seed: number, sequences: readonly Sequence[]): Small {
  const rows = sequences.reduce((sum, s) => sum + s.new, 0);
  const keys = sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  return {
    q: seededRows(seed, "q", 0, rows, D),
    k: seededRows(seed, "k", 0, keys, D),
    v: seededRows(seed, "v", 0, keys, D),
    sequences,
    heads: 1,
    kvHeads: 1,
    headDim: D,
  };
}

/** The shape of a small experiment. */
export function shapeOf({ heads, kvHeads, headDim }: Small): Shape {
  const scale = 1 / Math.sqrt(headDim);
  return {
    heads,
    kvHeads,
    headDim,
    valueDim: headDim,
    valuesInKeys: false,
    scale,
    mask: CAUSAL,
    q: "f32",
    kv: "f32",
  };
}

/** O `[rows, H, D]` and LSE `[rows, H]`; LSE is -Infinity for a row that sees no key. */
export interface PartialResult {
  readonly o: Float32Array;
  readonly lse: Float32Array;
}

/** A copy of a device's partial result, with LSE -Infinity for rows that see no key. */
export function copyOf({ o, lse }: CpuPartial): PartialResult {
  return { o: o.slice(), lse: publicLse(lse.slice()) };
}

/** The attend and merge of plain TypeScript, over blocks of one small experiment. */
export class SmallAttention {
  readonly #input: Small;
  readonly #shape: Shape;
  readonly #device: CpuAttention;

  constructor(input: Small) {
    this.#input = input;
    this.#shape = shapeOf(input);
    this.#device = new CpuAttention(this.#shape, new Recorder(0, 0));
  }

  /** Attention of a block of queries to a block of keys. With `into`, the same kernel merges the result into it. */
  async attend(q: Block, kv: Block, into?: CpuPartial): Promise<CpuPartial> {
    const queries = this.#device.loadQueries(queryChunk(0, q, this.#input, this.#shape));
    return await this.#device.attend(
      0,
      queries,
      this.#device.loadKeys(keyChunk(0, kv, this.#input, this.#shape)),
      into,
    );
  }

  /** Merges partial results in the given order (Eq. 4). */
  async merge([own, ...rest]: readonly CpuPartial[]): Promise<CpuPartial> {
    return await this.#device.merge(
      { ...own, o: own.o.slice(), lse: own.lse.slice() },
      rest.map((part, i) => parcel(i + 1, part)),
    );
  }
}

function parcel(owner: number, { block, o, lse }: CpuPartial): RankChunk {
  const data = new Float32Array(o.length + lse.length);
  data.set(o);
  data.set(lse, o.length);
  return rankChunk(owner, block, data.buffer);
}
