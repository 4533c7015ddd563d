/** Verified rows: right ones pass, a planted error does not; float64 against the oracle, WGSL against TypeScript. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { reference } from "../../../engine/reference/attention.ts";
import { recompute } from "../../../engine/reference/verify/recompute.ts";
import { sampleRows } from "../../../engine/reference/verify/sample.ts";
import type { Row, SeededBatch, VerifyInput } from "../../../engine/reference/verify/types.ts";
import { verifyRows } from "../../../engine/reference/verify/verify.ts";
import { type DType, fromBytes, toBytes } from "../../../engine/tensor/dtype.ts";
import { SEEDED_IDS, seededRows, type SeededTensor } from "../../../engine/tensor/seeded.ts";
import { valueHead } from "../../../engine/tensor/heads.ts";
import { testGpu } from "../../gpu.ts";
import { testPlatform } from "../../platform.ts";

const platform = await testPlatform();

const BATCH: SeededBatch = {
  seed: 5,
  sequences: [{ new: 300, cached: 260 }, { new: 0, cached: 7 }, { new: 41, cached: 0 }],
  heads: 4,
  kvHeads: 2,
  headDim: 32,
};

/** Masks, sinks, and values of another size or in keys. */
const SPECIAL: readonly SeededBatch[] = [
  { ...BATCH, mask: { kind: "window", size: 70, sinkTokens: 5 }, sinks: Float32Array.of(-50, 0, 50, 2) },
  { ...BATCH, mask: { kind: "chunk", size: 64 }, valueDim: 16 },
  { ...BATCH, v: { prefixOfK: 20 }, sinks: Float32Array.of(0, 1, 2, 3) },
];

/** The whole of a batch by the oracle. */
function exactly(batch: SeededBatch) {
  const { seed, sequences, heads, kvHeads, headDim, valueDim = headDim } = batch;
  const T = sequences.reduce((sum, s) => sum + s.new, 0);
  const all = sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  const [q, k, v] = [
    seededRows(seed, "q", 0, T, heads * headDim),
    seededRows(seed, "k", 0, all, kvHeads * headDim),
    seededRows(seed, "v", 0, all, kvHeads * valueDim),
  ];
  return reference({ v, ...batch, q, k });
}

/** The rows of a worker that errs by its type's rounding only. */
function answer(batch: SeededBatch, rows: readonly Row[], dtype: DType = "f32"): Pick<VerifyInput, "out" | "lse"> {
  const { out, lse } = exactly(batch);
  const { heads } = batch;
  const { valueDim } = valueHead(batch);
  const places = rows.map(([token, head]) => token * heads + head);
  const picked = Float32Array.from(
    places.flatMap((place) => [...out.subarray(place * valueDim, (place + 1) * valueDim)]),
  );
  return { out: fromBytes(toBytes(picked, dtype), dtype), lse: Float32Array.from(places, (place) => lse[place]) };
}

test("float64 rows equal the oracle's, alone, together and in any order", () => {
  for (const batch of [BATCH, { ...BATCH, causal: false, scale: 0.5 }, ...SPECIAL]) {
    const rows = sampleRows(batch, 4, 40);
    const exact = exactly(batch);
    const found = new Map(
      [...recompute(batch, rows.map((row, i) => [i, row]))].flatMap((tile) => tile.rows).map((row) => [row.index, row]),
    );
    assert.equal(found.size, rows.length);
    rows.forEach(([token, head], i) => {
      const { out, lse, spread } = found.get(i)!;
      const place = token * 4 + head;
      assert.ok(Math.abs(lse - exact.lse[place]) < 1e-12 && spread > 0 && spread <= 1 + 1e-12);
      out.forEach((x, d) => assert.ok(Math.abs(x - exact.out[place * out.length + d]) < 1e-12));
      const [alone] = [...recompute(batch, [[0, rows[i]]])].flatMap((tile) => tile.rows);
      assert.deepEqual(
        [alone.out, alone.lse, alone.spread],
        [out, lse, spread],
        "a row depends on the other rows",
      );
    });
  }
});

test("right rows pass in every type, on this thread and on others; the report names the nearest one", async () => {
  for (const [dtype, threads] of [["f32", 0], ["f32", 2], ["bf16", 0], ["f16", 3]] as const) {
    // Enough work to start threads.
    const batch: SeededBatch = threads === 0
      ? BATCH
      : { ...BATCH, sequences: [{ new: 700, cached: 3000 }, { new: 20, cached: 0 }], headDim: 64 };
    const rows = sampleRows(batch, 4, 64);
    const told: number[] = [];
    const ticked: number[] = [];
    const verdict = await verifyRows(platform, {
      ...batch,
      rows,
      ...answer(batch, rows, dtype),
      dtype,
      threads,
      onProgress: (done, total) => told.push(done / total),
      onRow: (row) => ticked.push(row.index),
    });
    assert.equal(verdict.passed, true, JSON.stringify(verdict.worst));
    assert.equal(verdict.rows.length, 64);
    assert.deepEqual(ticked.toSorted((a, b) => a - b), rows.map((_, i) => i));
    assert.deepEqual([told[0], told.at(-1)], [0, 1]);
    assert.ok(told.every((x, i) => i === 0 || x >= told[i - 1]));
    assert.ok(verdict.maxOut > 0 && verdict.maxOut < (dtype === "f32" ? 2e-6 : 2e-2) && verdict.worst !== undefined);
    assert.deepEqual(verdict.rows.map((r) => r.row), rows);
  }
});

// A flipped sign, a flipped bit, a neighbour's row, a lost rank, a NaN, an LSE in base 2.
test("a planted error is caught, and named", async () => {
  const batch: SeededBatch = { ...BATCH, sequences: [{ new: 512, cached: 0 }] };
  const rows = sampleRows(batch, 4, 32);
  for (const dtype of ["f32", "bf16"] as const) {
    const right = answer(batch, rows, dtype);
    const verify = (change: (out: Float32Array, lse: Float32Array) => void) => {
      const [out, lse] = [right.out.slice(), right.lse.slice()];
      change(out, lse);
      return verifyRows(platform, { ...batch, rows, out, lse, dtype });
    };
    const row = 20, at = row * 32 + 5;
    const bits = (out: Float32Array, mask: number) => {
      const words = new Uint32Array(out.buffer);
      words[at] ^= mask;
    };
    const plants: [string, (out: Float32Array, lse: Float32Array) => void][] = [
      ["a sign", (out) => bits(out, 0x80000000)],
      ["an exponent", (out) => bits(out, 0x00800000)],
      ["a neighbour's row", (out) => out.copyWithin(row * 32, (row + 1) * 32, (row + 2) * 32)],
      ["a NaN", (out) => (out[at] = NaN)],
      ["zeros", (out) => out.fill(0, row * 32, (row + 1) * 32)],
      ["base 2", (_, lse) => (lse[row] /= Math.LN2)],
      ["no keys", (_, lse) => (lse[row] = -Infinity)],
      ["a lost chunk of an eighth of the keys", (_, lse) => (lse[row] += Math.log(7 / 8))],
    ];
    assert.equal((await verify(() => {})).passed, true);
    for (const [what, plant] of plants) {
      const verdict = await verify(plant);
      assert.equal(verdict.passed, false, `${dtype}: ${what} was not noticed`);
      assert.deepEqual(verdict.rows.filter((r) => !r.passed).map((r) => r.index), [row], `${dtype}: ${what}`);
      assert.deepEqual(verdict.worst?.row, rows[row], `${dtype}: ${what}`);
    }
  }
});

test("a signal ends it, on this thread and on others; bad input is rejected", async () => {
  const batch: SeededBatch = { ...BATCH, sequences: [{ new: 200_000, cached: 0 }], headDim: 128 };
  const rows = Array.from({ length: 64 }, (_, i): Row => [199_000 + i, i % 4]);
  const [out, lse] = [new Float32Array(64 * 128), new Float32Array(64)];
  for (const threads of [0, 2]) {
    const start = performance.now();
    await assert.rejects(
      verifyRows(platform, { ...batch, rows, out, lse, threads, signal: AbortSignal.timeout(200) }),
      {
        name: "TimeoutError",
      },
    );
    assert.ok(performance.now() - start < 5000);
  }
  const good = { ...BATCH, rows: [[0, 0]] as Row[], out: new Float32Array(32), lse: new Float32Array(1) };
  for (
    const [change, message] of [
      [{ rows: [[341, 0]] }, /found token 341, head 0, expected tokens from 0 to 340 and heads from 0 to 3/],
      [{ rows: [[0, 4]] }, /head 4/],
      [{ out: new Float32Array(31) }, /found 31 elements of O and 1 of LSE, expected 32 and 1/],
      [{ seed: 2 ** 32 }, /seed/],
      [{ heads: 3 }, /multiple of Hkv/],
      [{ with: "magic" }, /with: found "magic"/],
    ] as const
  ) {
    await assert.rejects(verifyRows(platform, { ...good, ...change } as unknown as VerifyInput), {
      name: "InputError",
      message,
    });
  }
});

test("the sample: first, last, both sides of borders, all heads, different rows, the same for the same arguments", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ new: fc.nat(200), cached: fc.nat(50) }), { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 100 }),
      fc.integer(),
      (sequences, heads, ranks, count, salt) => {
        const tokens = sequences.reduce((sum, s) => sum + s.new, 0);
        fc.pre(tokens > 0);
        const rows = sampleRows({ sequences, heads }, ranks, count, salt);
        assert.equal(rows.length, Math.min(count, tokens * heads));
        assert.equal(new Set(rows.map(String)).size, rows.length);
        assert.ok(rows.every(([t, h]) => t >= 0 && t < tokens && h >= 0 && h < heads));
        assert.deepEqual(sampleRows({ sequences, heads }, ranks, count, salt), rows);
        if (count >= 2) assert.ok(rows.some(([t]) => t === 0) && rows.some(([t]) => t === tokens - 1));
        if (rows.length >= 4 * heads) {
          assert.equal(new Set(rows.map(([, h]) => h)).size, heads);
        }
      },
    ),
  );
  const sample = sampleRows({ sequences: [{ new: 1024, cached: 0 }], heads: 16 }, 4, 64);
  const borders = [127, 128, 255, 256, 383, 384, 511, 512, 639, 640, 767, 768, 895, 896];
  assert.deepEqual(borders.filter((b) => !sample.some(([t]) => t === b)), []);
  assert.notDeepEqual(sampleRows({ sequences: [{ new: 1024, cached: 0 }], heads: 16 }, 4, 64, 2), sample);
  assert.throws(() => sampleRows(BATCH, 4, 0), { name: "InputError" });
});

// GPUBufferUsage's and GPUMapMode's values (WebGPU specification): Node has no such globals.
const MAP_READ = 0x1, COPY_SRC = 0x4, COPY_DST = 0x8, UNIFORM = 0x40, STORAGE = 0x80, READ = 0x1;

test("seeded.wgsl makes the bits of seededRows", async () => {
  const { gpu: { device, wait }, kernels } = await testGpu();
  const pipeline = await kernels.seeded();
  const cases: [number, SeededTensor, number, number, number][] = [
    [0, "q", 0, 5, 128],
    [42, "k", 7, 64, 96],
    [2 ** 32 - 1, "v", 1_048_570, 17, 1024],
    [7, "k", 2 ** 32 - 3, 3, 8],
    [3, "q", 0, 4097, 80],
  ];
  for (const [seed, tensor, first, rows, columns] of cases) {
    const bytes = rows * columns * 4;
    const params = device.createBuffer({ size: 32, usage: UNIFORM | COPY_DST });
    const values = device.createBuffer({ size: bytes, usage: STORAGE | COPY_SRC });
    const read = device.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST });
    device.queue.writeBuffer(params, 0, Uint32Array.of(seed, SEEDED_IDS[tensor], first, rows, columns));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [{ binding: 0, resource: { buffer: params } }, { binding: 1, resource: { buffer: values } }],
      }),
    );
    pass.dispatchWorkgroups(13); // fewer than there is work: the stride is tested too
    pass.end();
    encoder.copyBufferToBuffer(values, 0, read, 0, bytes);
    device.queue.submit([encoder.finish()]);
    await wait(read.mapAsync(READ));
    assert.deepEqual(
      new Uint32Array(read.getMappedRange().slice(0)),
      new Uint32Array(seededRows(seed, tensor, first, rows, columns).buffer),
      `seed ${seed}, ${tensor}, row ${first}`,
    );
    for (const buffer of [params, values, read]) buffer.destroy();
  }
});

test("verification under a local mask, with sinks, and with values of another size, here and on the GPU", async () => {
  for (const batch of SPECIAL.map((one) => ({ ...one, sequences: [{ new: 70, cached: 61 }], headDim: 32 }))) {
    const rows = sampleRows(batch, 4, 12);
    const right = answer(batch, rows);
    for (const ways of [{ threads: 0 }, { threads: 2 }, { with: "webgpu" }] as const) {
      const verdict = await verifyRows(platform, { ...batch, rows, ...right, ...ways });
      assert.equal(verdict.passed, true, JSON.stringify([ways, verdict.worst]));
      const { sinks, ...without } = batch;
      if (sinks === undefined) continue;
      const wrong = await verifyRows(platform, { ...without, rows, ...right, ...ways });
      assert.equal(wrong.passed, false, "a missing sink was not noticed");
    }
  }
  for (const sinks of [new Float32Array(3), Float32Array.of(0, NaN, 0, 0)]) {
    await assert.rejects(
      verifyRows(platform, { ...BATCH, sinks, rows: [], out: new Float32Array(), lse: new Float32Array() }),
      /sinks: found .*expected a Float32Array of 4 finite logits/,
    );
  }
});

test("verification on the GPU: right rows pass, a planted error does not, and both ways agree", async () => {
  const batch: SeededBatch = { ...BATCH, sequences: [{ new: 70, cached: 61 }, { new: 33, cached: 0 }], headDim: 16 };
  const rows = sampleRows(batch, 4, 24);
  for (const dtype of ["f32", "bf16"] as const) {
    const right = answer(batch, rows, dtype);
    const ticked: number[] = [];
    const onGpu = await verifyRows(platform, {
      ...batch,
      rows,
      ...right,
      dtype,
      with: "webgpu",
      onRow: (row) => ticked.push(row.index),
    });
    const inFloat64 = await verifyRows(platform, { ...batch, rows, ...right, dtype });
    assert.equal(onGpu.passed, true, JSON.stringify(onGpu.worst));
    assert.equal(onGpu.with, "webgpu");
    assert.equal(ticked.length, rows.length);
    onGpu.rows.forEach((row, i) => {
      const other = inFloat64.rows[i];
      assert.ok(Math.abs(row.lse.expected - other.lse.expected) < 1e-5);
      assert.ok(
        Math.abs(row.out.allowed - other.out.allowed) < 1e-4 + 2e-5,
        `${row.out.allowed}, ${other.out.allowed}`,
      );
      assert.equal(row.keys, other.keys);
    });
    const wrong = right.out.slice();
    wrong[9 * 16] *= -1;
    const caught = await verifyRows(platform, { ...batch, rows, out: wrong, lse: right.lse, dtype, with: "webgpu" });
    assert.deepEqual([caught.passed, caught.worst?.index], [false, 9]);
  }
  await assert.rejects(
    verifyRows(platform, {
      ...batch,
      rows,
      ...answer(batch, rows),
      with: "webgpu",
      signal: AbortSignal.abort(new DOMException("enough", "AbortError")),
    }),
    { name: "AbortError" },
  );
});
