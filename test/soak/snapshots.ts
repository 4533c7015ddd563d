/** Damaged snapshots: each must be refused, or restore exactly what the snapshot took. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { Cluster } from "../../engine/cluster/cluster.ts";
import type { Platform } from "../../engine/platform.ts";
import { InputError } from "../../engine/errors.ts";
import { experiment } from "../experiment.ts";

/** The offsets of a snapshot's checksum, header length and header. */
const [SUM, LENGTH, HEADER] = [20, 52, 56];

/** The snapshot with a correct checksum, so that only its contents are wrong. */
function resealed(bytes: Uint8Array): Uint8Array {
  const out = bytes.slice();
  out.set(createHash("sha256").update(out.subarray(LENGTH)).digest(), SUM);
  return out;
}

/** The snapshot with a changed header. */
function reheaded(
  bytes: Uint8Array,
  change: (header: { ranks: { sequence: number; ranges: { start: number; end: number }[] }[][] }) => void,
): Uint8Array {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(LENGTH, true);
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(HEADER, HEADER + length)));
  change(header);
  const text = new TextEncoder().encode(JSON.stringify(header));
  const out = new Uint8Array(bytes.length - length + text.length);
  out.set(bytes.subarray(0, HEADER));
  out.set(text, HEADER);
  out.set(bytes.subarray(HEADER + length), HEADER + text.length);
  new DataView(out.buffer).setUint32(LENGTH, text.length, true);
  return resealed(out);
}

/**
 * Tries `count` damaged snapshots on one session, and counts the refused ones. Throws if the session restores one that
 * differs from the original.
 */
export async function damaged(platform: Platform, count: number): Promise<{ refused: number; exact: number }> {
  const options = { heads: 4, kvHeads: 2, headDim: 16, wireDtype: "f32" as const };
  const { q, k, v } = experiment({ ...options, sequences: [{ new: 50, cached: 0 }] });
  await using cluster = await Cluster.start(platform, { ranks: 3, backend: "cpu" });
  const session = await cluster.session(options);
  await session.prefill([{ sequence: 0, q: q.slice(0, 41 * 64), k: k.slice(0, 41 * 32), v: v.slice(0, 41 * 32) }]);
  await session.prefill([{ sequence: 3, q: q.slice(0, 9 * 64), k: k.slice(0, 9 * 32), v: v.slice(0, 9 * 32) }]);
  const whole = await session.snapshot();
  let x = 12345;
  const roll = (n: number) => (x = (Math.imul(x, 1664525) + 1013904223) >>> 0) % n;
  const random = [
    () => whole.with(roll(whole.length), roll(256)),
    () => whole.map((b, i, all) => (i === (all.length * 7 + x) % all.length ? b ^ (1 << roll(8)) : b)),
    () => whole.subarray(0, roll(whole.length)),
    () => new Uint8Array([...whole.subarray(0, roll(whole.length)), ...whole.subarray(roll(whole.length))]),
    () => whole.slice().fill(roll(256), roll(whole.length), roll(whole.length)),
  ];
  const data = whole.length - (41 + 9) * 2 * 32 * 4;
  const crafted = [
    () => reheaded(whole, ({ ranks }) => (ranks[roll(3)][roll(2)].ranges[0].start += 1 + roll(3))),
    () =>
      reheaded(
        whole,
        ({ ranks }) =>
          ranks.forEach((held) =>
            held.forEach((s) => s.ranges.forEach((r) => [r.start, r.end] = [r.start + 1, r.end + 1]))
          ),
      ),
    () => reheaded(whole, ({ ranks }) => (ranks[1][0].ranges = ranks[0][0].ranges)),
    () => reheaded(whole, ({ ranks }) => ranks[roll(3)][0].ranges.push(ranks[roll(3)][0].ranges[0])),
    () => reheaded(whole, ({ ranks }) => (ranks[0][0].sequence = 3)),
    () => reheaded(whole, ({ ranks }) => (ranks[0][0].sequence = [-1, 0.5, 7][roll(3)])),
    () => {
      const out = whole.slice();
      new DataView(out.buffer).setFloat32(
        data + 4 * roll((whole.length - data) / 4),
        [NaN, Infinity, -Infinity][roll(3)],
        true,
      );
      return resealed(out);
    },
  ];
  const result = { refused: 0, exact: 0 };
  for (let i = 0; i < count; i++) {
    const bytes = i % 4 === 3 ? crafted[roll(crafted.length)]() : random[roll(random.length)]();
    try {
      await session.restore(bytes);
      assert.deepEqual(await session.snapshot(), whole, `snapshot ${i} was restored and differs from the original`);
      result.exact++;
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      result.refused++;
    }
  }
  assert.deepEqual(await session.snapshot(), whole, "a refused snapshot changed the session");
  return result;
}
