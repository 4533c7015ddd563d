/** Merging against float64, with empty rows on either side, on both, and on all; and the text of the kernels. */
import { CAUSAL } from "../../../engine/layout/mask.ts";
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import { CpuAttention } from "../../../engine/cpu/attention.ts";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import { specialise } from "../../../engine/gpu/specialise.ts";
import { readShaders } from "../../../engine/gpu/shaders.ts";
import { block } from "../../../engine/layout/shards.ts";
import { NO_KEYS, type RankChunk, rankChunk, type Shape } from "../../../engine/ring/chunk.ts";
import type { Device } from "../../../engine/rank/run.ts";
import { Recorder } from "../../../engine/trace/clock.ts";
import { seededRows } from "../../../engine/tensor/seeded.ts";
import { testGpu } from "../../gpu.ts";

const rows = 37, heads = 3, D = 20;
const shape: Shape = {
  heads,
  kvHeads: 1,
  headDim: D,
  valueDim: D,
  valuesInKeys: false,
  scale: 1,
  mask: CAUSAL,
  q: "f32",
  kv: "f32",
};
const here = block([[{ start: 0, end: rows }]]);

/** A partial whose rows are empty where `empty` says so; LSE spread over +-200, where a careless merge overflows. */
function partial(seed: number, empty: (row: number) => boolean): { o: Float32Array; lse: Float32Array } {
  const o = seededRows(seed, "v", 0, rows * heads, D);
  const lse = seededRows(seed, "q", 0, rows * heads, 1).map((x) => x * 50);
  for (let r = 0; r < rows * heads; r++) {
    if (!empty(r)) continue;
    lse[r] = NO_KEYS;
    o.fill(0, r * D, (r + 1) * D);
  }
  return { o, lse };
}

/** Rows 0 and 30 are empty in every part. */
const PARTIALS = [3, 5, 2, 30, 6].map((n, i) => partial(i + 1, (r) => r % n === 0));

const isEmpty = (lse: number) => lse < 0.5 * NO_KEYS;

function chunkOf({ o, lse }: { o: Float32Array; lse: Float32Array }): RankChunk {
  const data = new Float32Array(o.length + lse.length);
  data.set(o);
  data.set(lse, o.length);
  return rankChunk(0, here, data.buffer);
}

/** Eq. 4 in float64. */
function expected(r: number, of: typeof PARTIALS): { o: number[]; lse: number } {
  const seen = of.filter((p) => !isEmpty(p.lse[r]));
  if (seen.length === 0) return { o: new Array<number>(D).fill(0), lse: NO_KEYS };
  const top = Math.max(...seen.map((p) => p.lse[r]));
  const total = seen.reduce((sum, p) => sum + Math.exp(p.lse[r] - top), 0);
  const o = Array.from(
    { length: D },
    (_, d) => seen.reduce((sum, p) => sum + Math.exp(p.lse[r] - top) * p.o[r * D + d], 0) / total,
  );
  return { o, lse: top + Math.log(total) };
}

/**
 * A partial on a device, made by attending to keys whose only effect is this: the device's merge is fed through its own
 * door.
 */
// deno-lint-ignore no-explicit-any -- a device's own handles do not matter here
async function merged(device: Device<any, any, any>): Promise<Float32Array> {
  // An own partial that saw nothing: attention to a block without keys.
  const q = device.loadQueries(rankChunk(0, here, new Float32Array(rows * heads * D).buffer), 0);
  const none = device.loadKeys(rankChunk(0, block([[]]), new ArrayBuffer(0)), 0);
  const own = await device.attend(0, q, none);
  const result = new Float32Array(await device.result(await device.merge(own, PARTIALS.map(chunkOf))));
  device.dispose(false);
  return result;
}

test("merge equals Eq. 4 in float64, empty rows on any side", async () => {
  assert.ok(
    Array.from({ length: rows * heads }, (_, r) => r).some((r) => PARTIALS.every((p) => isEmpty(p.lse[r]))),
    "no row is empty everywhere: the case is not covered",
  );
  const { gpu, kernels, pool } = await testGpu();
  for (
    const device of [
      new GpuAttention(gpu, kernels, pool, shape, new Recorder(0, 0)),
      new CpuAttention(shape, new Recorder(0, 0)),
    ]
  ) {
    const found = await merged(device);
    for (let r = 0; r < rows * heads; r++) {
      const { o, lse } = expected(r, PARTIALS);
      const foundLse = found[rows * heads * D + r];
      assert.ok(
        Math.abs(foundLse - lse) <= Math.max(2e-6, 1e-5 * Math.abs(lse)),
        `row ${r}: lse ${foundLse}, expected ${lse}`,
      );
      o.forEach((x, d) =>
        assert.ok(
          Math.abs(found[r * D + d] - x) <= Math.max(2e-6, 1e-5 * Math.abs(x)),
          `row ${r}, column ${d}: ${found[r * D + d]}, expected ${x}`,
        )
      );
    }
  }
});

test("a shader without a line that the host replaces is refused", async () => {
  const { attend } = await readShaders((url) => readFile(url, "utf8"));
  const wanted = { headDim: 80, q: "bf16", kv: "f16" } as const;
  assert.match(specialise(attend, wanted), /const D: u32 = 80u;/);
  assert.throws(() => specialise(attend.replace("alias Q4", "alias Q5"), wanted), /attention kernel: no line matches/);
});
