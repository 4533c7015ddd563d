/** How many rows a slice may have: as many as fit in the buffers, and an error where not even one does. */
import { CAUSAL } from "../../../engine/layout/mask.ts";
import assert from "node:assert/strict";
import fc from "fast-check";
import test from "node:test";
import { LimitError } from "../../../engine/errors.ts";
import { aligned } from "../../../engine/gpu/tiling.ts";
import { PIECE_KEYS } from "../../../engine/gpu/kernels.ts";
import { KEYS_STEP, requireRow, sliceRows } from "../../../engine/gpu/slice-rows.ts";
import { shard } from "../../../engine/layout/shards.ts";
import { cut, longest } from "../../../engine/layout/slices.ts";
import type { Shape } from "../../../engine/ring/chunk.ts";

const shape: Shape = {
  heads: 8,
  kvHeads: 2,
  headDim: 64,
  valueDim: 64,
  valuesInKeys: false,
  scale: 1,
  mask: CAUSAL,
  q: "f32",
  kv: "f32",
};
const MiB = 2 ** 20;
const nothing = { runs: [], rows: 0 };
const limits = (maxStorageBufferBindingSize: number, maxBufferSize = maxStorageBufferBindingSize) => ({
  maxStorageBufferBindingSize,
  maxBufferSize,
});

test("at WebGPU's default limits: 128 MiB hold 65,536 rows of O, and K and V of 131,072", () => {
  assert.deepEqual(sliceRows(shape, "pass-kv", 1, nothing, limits(128 * MiB, 256 * MiB)), {
    queries: 65536,
    singles: 65536,
    keys: 131072,
  });
  // Of four partials a quarter each.
  assert.equal(sliceRows(shape, "pass-q", 4, nothing, limits(128 * MiB, 256 * MiB)).queries, 16384);
  // O and LSE are read back in one buffer, a little under the largest.
  assert.equal(
    sliceRows(shape, "pass-kv", 1, nothing, limits(128 * MiB)).queries,
    Math.floor((128 * MiB - 256) / (8 * 65 * 4)),
  );
  // A row each of 64 sequences, with 100,000 keys each: 782 partials a row.
  const [kv] = shard(Array.from({ length: 64 }, () => ({ new: 1, cached: 99_999 })), 1).keys;
  assert.equal(
    sliceRows({ ...shape, kvHeads: 1, kv: "bf16" }, "pass-kv", 1, kv, limits(128 * MiB, 256 * MiB)).singles,
    Math.floor(65536 / (782 + 1)),
  );
});

test("whatever the shape and the limits, no buffer is larger than they say", () => {
  const shapes = fc.record({
    kvHeads: fc.integer({ min: 1, max: 4 }),
    group: fc.integer({ min: 1, max: 8 }),
    headDim: fc.integer({ min: 4, max: 64 }).map((d) => 4 * d),
    wire: fc.constantFrom("f32", "f16", "bf16"),
  });
  const batch = fc.array(
    fc.record({ new: fc.integer({ min: 0, max: 40 }), cached: fc.integer({ min: 0, max: 300 }) }),
    { minLength: 1, maxLength: 5 },
  );
  const bytes = fc.integer({ min: 2 ** 10, max: 2 ** 21 });
  fc.assert(
    fc.property(
      shapes,
      batch,
      fc.integer({ min: 1, max: 5 }),
      fc.constantFrom("pass-kv", "pass-q"),
      bytes,
      bytes,
      ({ kvHeads, group, headDim, wire }, sequences, ranks, variant, binding, buffer) => {
        const own: Shape = {
          ...shape,
          heads: kvHeads * group,
          kvHeads,
          headDim,
          valueDim: headDim,
          q: variant === "pass-q" ? wire : "f32",
          kv: variant === "pass-kv" ? wire : "f32",
        };
        const row = {
          q: own.heads * headDim * (own.q === "f32" ? 4 : 2),
          k: kvHeads * headDim * (own.kv === "f32" ? 4 : 2),
          o: own.heads * headDim * 4,
          lse: own.heads * 4,
        };
        const { queries, keys } = shard(sequences, ranks);
        const most = limits(binding, buffer);
        const largest = Math.min(binding, buffer - 1);
        try {
          requireRow(own, variant, ranks, most);
        } catch (error) {
          assert.ok(error instanceof LimitError && error.need > error.have && error.largestT === undefined);
          assert.throws(() => sliceRows(own, variant, ranks, keys[0], most), LimitError);
          return;
        }
        for (const rank of keys.keys()) {
          const rows = sliceRows(own, variant, ranks, keys[rank], most);
          assert.ok(
            rows.queries >= 1 && rows.singles >= 1 && rows.singles <= rows.queries && rows.keys >= KEYS_STEP &&
              rows.keys % KEYS_STEP === 0,
          );
          const kv = cut(keys[rank], rows.keys, { step: KEYS_STEP });
          for (const slice of kv) {
            const half = aligned(slice.block).block.rows * row.k;
            assert.ok(Math.ceil(half / 256) * 256 + half <= largest, "K and V");
          }
          for (const { block } of cut(queries[rank], rows.queries, { singles: rows.singles })) {
            assert.ok(
              block.rows * row.q <= largest && block.rows * row.o * (variant === "pass-q" ? ranks : 1) <= largest,
              "Q, and O",
            );
            assert.ok(block.rows * (row.o + row.lse) < buffer, "O with LSE");
            const tokens = new Map<number, number>();
            for (const { sequence, length } of block.runs) tokens.set(sequence, (tokens.get(sequence) ?? 0) + length);
            if (
              tokens.size === 0 || [...tokens.values()].some((count) => count > 1)
            ) continue;
            const slots = Math.max(1, ...kv.map((slice) => Math.ceil(longest(slice.block) / PIECE_KEYS)));
            const continued = kv.length > 1 || (variant === "pass-kv" && ranks > 1);
            assert.ok(
              block.rows * row.o * (slots + (continued ? 1 : 0)) <= largest,
              "partials of decode.wgsl's pieces",
            );
          }
        }
      },
    ),
  );
});

test("what just fits is not cut, and one row more is", () => {
  const [O, buffer] = [1000 * 8 * 64 * 4, 1000 * 8 * 65 * 4 + 256];
  for (const [T, slices] of [[1000, 1], [1001, 2]]) {
    const { queries: [q], keys: [kv] } = shard([{ new: T, cached: 0 }], 1);
    assert.equal(cut(q, sliceRows(shape, "pass-kv", 1, kv, limits(O, buffer)).queries).length, slices);
  }
  for (const [T, slices] of [[2048, 1], [2049, 2]]) {
    const [kv] = shard([{ new: T, cached: 0 }], 1).keys;
    assert.equal(
      cut(kv, sliceRows(shape, "pass-kv", 1, kv, limits(2 * MiB, 4 * MiB)).keys, { step: KEYS_STEP }).length,
      slices,
    );
  }
});
