/** The contract in plain TypeScript, if there is no WebGPU: f32 storage, sums in JavaScript's doubles. */
import type { Attention } from "../ring/contract.ts";
import type { Block } from "../layout/shards.ts";
import { PAGE } from "../layout/pages.ts";
import { isLocal } from "../layout/mask.ts";
import { visibility } from "../layout/visibility.ts";
import { attentionFlops, NO_KEYS, type RankChunk, rankChunk, rowBytes, type Rows, type Shape } from "../ring/chunk.ts";
import { fromBytes } from "../tensor/dtype.ts";
import type { Recorder } from "../trace/clock.ts";

/** Rows of one operand. */
export interface CpuRows {
  readonly block: Block;
  readonly owner: number;
  readonly data: Float32Array;
}

/** Keys and values; in pages if there is a table. */
export interface CpuKeys {
  readonly block: Block;
  readonly owner: number;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly pages?: Uint32Array;
}

/** O and LSE. */
export interface CpuPartial {
  readonly block: Block;
  readonly o: Float32Array;
  readonly lse: Float32Array;
}

/** Keys attended to at a time, so that one softmax maximum serves many keys. */
const TILE = 64;
/** Most milliseconds that attention holds the event loop: messages and heartbeats must get through. */
const SLICE = 20;

/** attend and merge on the CPU, in slices that leave the event loop free. */
export class CpuAttention implements Attention<RankChunk, CpuRows, CpuKeys, CpuPartial> {
  readonly #shape: Shape;
  readonly #recorder: Recorder;
  #abandoned: { readonly reason: unknown } | undefined;

  /** Names of the kernels that ran. */
  readonly used = ["plain TypeScript"];

  constructor(shape: Shape, recorder: Recorder) {
    this.#shape = shape;
    this.#recorder = recorder;
  }

  loadQueries(chunk: RankChunk): CpuRows {
    return { block: chunk.block, owner: chunk.owner, data: fromBytes(chunk.data, this.#shape.q) };
  }

  /** K rows, then V rows unless they are part of K's. */
  loadKeys(chunk: RankChunk): CpuKeys {
    const { kvHeads, headDim, valuesInKeys } = this.#shape;
    const both = fromBytes(chunk.data, this.#shape.kv);
    const k = both.subarray(0, chunk.block.rows * kvHeads * headDim);
    return { block: chunk.block, owner: chunk.owner, k, v: valuesInKeys ? k : both.subarray(k.length) };
  }

  async attend(hop: number, q: CpuRows, kv: CpuKeys, into?: CpuPartial): Promise<CpuPartial> {
    this.#requireWanted();
    const { heads, kvHeads, headDim: D, valueDim: Dv, valuesInKeys, mask, scale } = this.#shape;
    const all = q.block.rows * heads;
    const partial = into ?? { block: q.block, o: new Float32Array(all * Dv), lse: new Float32Array(all).fill(NO_KEYS) };
    const seen = visibility(q.block, kv.block, mask);
    if (seen.pairs === 0 && isLocal(mask)) return partial;
    const start = this.#recorder.begin("attend", hop);
    const valueRow = valuesInKeys ? D : Dv;
    const scores = new Float64Array(TILE);
    const rows = new Float64Array(TILE);
    const acc = new Float64Array(Dv);
    let sliceEnd = performance.now() + SLICE;
    for (const view of seen.views) {
      for (let row = view.row; row < view.row + view.rows; row++) {
        for (let h = 0; h < heads; h++) {
          if (performance.now() > sliceEnd) {
            await breathe();
            this.#requireWanted();
            sliceEnd = performance.now() + SLICE;
          }
          const kvHead = Math.floor(h / (heads / kvHeads));
          const qAt = (row * heads + h) * D;
          let max = -Infinity;
          let sum = 0;
          acc.fill(0);
          for (const band of seen.bands) {
            for (let base = band[2 * row]; base < band[2 * row + 1]; base += TILE) {
              const keys = Math.min(TILE, band[2 * row + 1] - base);
              let higher = max;
              for (let j = 0; j < keys; j++) {
                rows[j] = rowIn(base + j, kv.pages) * kvHeads + kvHead;
                const kAt = rows[j] * D;
                let dot = 0;
                for (let d = 0; d < D; d++) dot += q.data[qAt + d] * kv.k[kAt + d];
                scores[j] = dot * scale;
                if (scores[j] > higher) higher = scores[j];
              }
              const alpha = Math.exp(max - higher);
              max = higher;
              sum *= alpha;
              for (let d = 0; d < Dv; d++) acc[d] *= alpha;
              for (let j = 0; j < keys; j++) {
                const weight = Math.exp(scores[j] - max);
                const vAt = rows[j] * valueRow;
                sum += weight;
                for (let d = 0; d < Dv; d++) acc[d] += weight * kv.v[vAt + d];
              }
            }
          }
          if (sum > 0) mergeRow(partial, row * heads + h, Dv, max + Math.log(sum), (d) => acc[d] / sum);
        }
      }
    }
    this.#recorder.add("device", "attend", hop, start, {
      flops: attentionFlops(this.#shape, seen.pairs),
      peer: q.owner === this.#recorder.rank ? kv.owner : q.owner,
    });
    return partial;
  }

  unload(_hop: number, partial: CpuPartial, owner: number): Promise<RankChunk> {
    return Promise.resolve(rankChunk(owner, partial.block, concatenated(partial)));
  }

  merge(own: CpuPartial, arrived: readonly RankChunk[]): Promise<CpuPartial> {
    const start = this.#recorder.begin("merge", 0);
    const D = this.#shape.valueDim;
    const rows = own.block.rows * this.#shape.heads;
    for (const chunk of arrived) {
      const o = new Float32Array(chunk.data, 0, rows * D);
      const lse = new Float32Array(chunk.data, rows * D * 4, rows);
      for (let r = 0; r < rows; r++) if (lse[r] > 0.5 * NO_KEYS) mergeRow(own, r, D, lse[r], (d) => o[r * D + d]);
    }
    if (arrived.length > 0) {
      this.#recorder.add("device", "merge", 0, start, { bytes: (arrived.length + 1) * rows * (D + 1) * 4 });
    }
    return Promise.resolve(own);
  }

  copy(_hop: number, { o, lse }: CpuPartial, rows: readonly Rows[]): Promise<ArrayBuffer> {
    const [oWidth, lseWidth] = rowBytes(this.#shape).partial.map((bytes) => bytes / 4);
    const some = (from: Float32Array, width: number) =>
      rows.flatMap(({ row, length }) => [from.subarray(row * width, (row + length) * width)]);
    const parts = [...some(o, oWidth), ...some(lse, lseWidth)];
    const data = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => (data.set(part, at), at + part.length), 0);
    return Promise.resolve(data.buffer);
  }

  result(partial: CpuPartial): Promise<ArrayBuffer> {
    return Promise.resolve(concatenated(partial));
  }

  prepare(): Promise<void> {
    return Promise.resolve();
  }

  abandon(reason: unknown): void {
    this.#abandoned ??= { reason };
  }

  dispose(): void {}

  #requireWanted(): void {
    if (this.#abandoned !== undefined) throw this.#abandoned.reason;
  }
}

function rowIn(row: number, pages: Uint32Array | undefined): number {
  return pages === undefined ? row : pages[Math.floor(row / PAGE)] * PAGE + (row % PAGE);
}

/**
 * Merges one row with a visible key into a running (O, LSE): Eq. 4 for two, with weights relative to the larger LSE.
 */
function mergeRow(into: CpuPartial, r: number, D: number, lse: number, o: (d: number) => number): void {
  const held = into.lse[r];
  const top = Math.max(held, lse);
  const before = held > 0.5 * NO_KEYS ? Math.exp(held - top) : 0;
  const now = Math.exp(lse - top);
  const both = before + now;
  for (let d = 0; d < D; d++) into.o[r * D + d] = (before * into.o[r * D + d] + now * o(d)) / both;
  into.lse[r] = top + Math.log(both);
}

function concatenated(partial: CpuPartial): ArrayBuffer {
  const data = new Float32Array(partial.o.length + partial.lse.length);
  data.set(partial.o);
  data.set(partial.lse, partial.o.length);
  return data.buffer;
}

/** Lets messages and timers through. Waits for a message, since timers take at least 4 ms in a page. */
function breathe(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}
