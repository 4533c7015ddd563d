/**
 * A back-end that cuts its operands into slices that the device's buffers can hold. It attends each slice of the queries
 * over the slices of the keys, merged in the kernel (Eq. 4). The ring programs know nothing of it. If one slice is
 * enough, every call passes through unchanged.
 */
import { KEYS_STEP, type SliceRows } from "../gpu/slice-rows.ts";
import { pairsBetween } from "../layout/pairs.ts";
import type { Block } from "../layout/shards.ts";
import { cut, type Slice } from "../layout/slices.ts";
import { type RankChunk, rankChunk, rowBytes, type Rows, type Shape } from "../ring/chunk.ts";
import type { Device } from "./run.ts";

/** A chunk on the device, or a partial, in slices. */
export interface Sliced<X> {
  readonly owner: number;
  readonly block: Block;
  readonly slices: readonly HeldSlice<X>[];
}

/** A slice, and the device's handle of it. */
interface HeldSlice<X> extends Slice {
  readonly held: X;
}

/** Wraps `device` for chunks larger than its buffers: no slice has more rows than `most` allows. */
export function sliced<Q, KV, P>(
  device: Device<Q, KV, P>,
  shape: Shape,
  most: SliceRows,
): Device<Sliced<Q>, Sliced<KV>, Sliced<P>> {
  const widths = rowBytes(shape);
  const load = <X>({ owner, block }: RankChunk, slices: readonly Slice[], each: (slice: Slice) => X): Sliced<X> => ({
    owner,
    block,
    slices: slices.map((slice) => ({ ...slice, held: each(slice) })),
  });

  /** O and LSE of all slices' rows, one slice read after the other. */
  const together = async ({ slices }: Sliced<P>, take: (partial: P) => Promise<ArrayBuffer>): Promise<ArrayBuffer> => {
    const parts: Part[] = [];
    for (const { from, to, held } of slices) parts.push({ rows: to - from, data: await take(held) });
    return joined(parts, widths.partial);
  };

  return {
    get used() {
      return device.used;
    },
    loadQueries: (chunk, hop) =>
      load(
        chunk,
        cut(chunk.block, most.queries, { singles: most.singles }),
        (slice) => device.loadQueries(sliceOf(chunk, slice, widths.queries), hop),
      ),
    loadKeys: (chunk, hop) =>
      load(
        chunk,
        cut(chunk.block, most.keys, { step: KEYS_STEP }),
        (slice) => device.loadKeys(sliceOf(chunk, slice, widths.keys), hop),
      ),
    async attend(hop, q, kv, into) {
      const slices: HeldSlice<P>[] = [];
      for (const [i, queries] of q.slices.entries()) {
        const seen = kv.slices.filter((keys) => pairsBetween(queries.block, keys.block, shape.mask) > 0);
        let partial = into?.slices[i].held;
        // If no row sees any slice, attend to one all the same: the hop needs a partial and a span.
        for (const keys of seen.length > 0 ? seen : kv.slices.slice(0, 1)) {
          partial = await device.attend(hop, queries.held, keys.held, partial);
        }
        slices.push({ ...queries, held: partial! });
      }
      return { owner: q.owner, block: q.block, slices };
    },
    unload: async (hop, partial, owner) =>
      rankChunk(
        owner,
        partial.block,
        await together(partial, async (own) => (await device.unload(hop, own, owner)).data),
      ),
    async merge(own, arrived) {
      const slices: HeldSlice<P>[] = [];
      for (const slice of own.slices) {
        slices.push({
          ...slice,
          held: await device.merge(slice.held, arrived.map((chunk) => sliceOf(chunk, slice, widths.partial))),
        });
      }
      return { ...own, slices };
    },
    async copy(hop, { slices }, rows) {
      const parts: Part[] = [];
      for (const { held, own } of bySlice(slices, rows)) {
        parts.push({ rows: own.reduce((sum, { length }) => sum + length, 0), data: await device.copy(hop, held, own) });
      }
      return joined(parts, widths.partial);
    },
    result: (partial) => together(partial, (own) => device.result(own)),
    prepare: ({ queries, keys, ...plan }) => {
      const q = cut(queries, most.queries, { singles: most.singles });
      const kv = cut(keys, most.keys, { step: KEYS_STEP });
      return device.prepare({
        ...plan,
        hops: plan.hops * q.length * kv.length,
        queries: q[0].block,
        keys: kv[0].block,
      });
    },
    abandon: (reason) => device.abandon(reason),
    dispose: (failed) => device.dispose(failed),
  };
}

/** O and LSE of some rows as one buffer. */
interface Part {
  readonly rows: number;
  readonly data: ArrayBuffer;
}

/** Rows of a chunk, as one of the slice's block. `widths`: bytes of a row of each of its tensors. */
function sliceOf(chunk: RankChunk, { from, to, block }: Slice, widths: readonly number[]): RankChunk {
  if (to - from === chunk.block.rows) return chunk;
  let begin = 0;
  const parts = widths.map((width) => {
    const part = new Uint8Array(chunk.data, begin + from * width, (to - from) * width);
    begin += chunk.block.rows * width;
    return part;
  });
  return rankChunk(chunk.owner, block, concatenated(parts));
}

/** O of all parts, then LSE of all parts. */
function joined(parts: readonly Part[], [o, lse]: readonly number[]): ArrayBuffer {
  if (parts.length === 1) return parts[0].data;
  return concatenated([
    ...parts.map(({ rows, data }) => new Uint8Array(data, 0, rows * o)),
    ...parts.map(({ rows, data }) => new Uint8Array(data, rows * o, rows * lse)),
  ]);
}

function concatenated(parts: readonly Uint8Array[]): ArrayBuffer {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all.buffer;
}

/** Rows of the whole as rows of the slices, in their order. */
function bySlice<X>(slices: Sliced<X>["slices"], rows: readonly Rows[]): { held: X; own: Rows[] }[] {
  const out: { held: X; own: Rows[] }[] = [];
  for (const { row, length } of rows) {
    for (const { from, to, held } of slices) {
      const first = Math.max(row, from);
      const end = Math.min(row + length, to);
      if (end <= first) continue;
      const place = { row: first - from, length: end - first };
      if (out.at(-1)?.held === held) out.at(-1)!.own.push(place);
      else out.push({ held, own: [place] });
    }
  }
  return out;
}
