/**
 * Attention on devices whose buffers hold few rows: exact in slices, no buffer above the limit, and the same bits if one
 * slice is enough.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { shapeOf } from "../../../engine/cluster/shape.ts";
import { haltPorts } from "../../../engine/cluster/halts.ts";
import { attendInProcess, type FixedInput } from "../../../engine/cluster/in-process.ts";
import { keyChunk, queryChunk, scatterResult } from "../../../engine/cluster/scatter.ts";
import { meshPorts } from "../../../engine/cluster/worker-rank.ts";
import { LimitError, RankError } from "../../../engine/errors.ts";
import { GpuAttention } from "../../../engine/gpu/attention.ts";
import type { DeviceLimits } from "../../../engine/gpu/facts.ts";
import { Pool } from "../../../engine/gpu/pool.ts";
import { sliceRows } from "../../../engine/gpu/slice-rows.ts";
import { shard } from "../../../engine/layout/shards.ts";
import type { AttendJob, AttendOutcome } from "../../../engine/rank/job.ts";
import { exposedWaits } from "../../../engine/rank/run.ts";
import { RankService } from "../../../engine/rank/service.ts";
import { sliced } from "../../../engine/rank/sliced.ts";
import { check } from "../../../engine/reference/check.ts";
import type { AttendInput } from "../../../engine/cluster/types.ts";
import type { Variant } from "../../../engine/ring/contract.ts";
import { chunkBounds } from "../../../engine/ring/route.ts";
import type { Span } from "../../../engine/trace/span.ts";
import { experiment } from "../../experiment.ts";
import { runtimeGpu, testGpu } from "../../gpu.ts";
import { testPlatform } from "../../platform.ts";
import { nodeFirst } from "../../tiers.ts";

// GPUBufferUsage's value (WebGPU specification): Node has no such global.
const STORAGE = 0x80;

/** Remembers the largest buffers taken: of the bound ones, and of all. */
class Watched extends Pool {
  largest = { bound: 0, any: 0 };
  override take(...given: Parameters<Pool["take"]>): GPUBuffer {
    const buffer = super.take(...given);
    const { bound, any } = this.largest;
    this.largest = {
      bound: (buffer.usage & STORAGE) > 0 ? Math.max(bound, buffer.size) : bound,
      any: Math.max(any, buffer.size),
    };
    return buffer;
  }
}

/** Counts calls. */
class Counted extends GpuAttention {
  attends = 0;
  override attend(...given: Parameters<GpuAttention["attend"]>): ReturnType<GpuAttention["attend"]> {
    this.attends += 1;
    return super.attend(...given);
  }
}

/**
 * Limits with room for `bytes` in a binding and twice that in a buffer. If it is a power of two, the pool's rounding
 * stays under them.
 */
const room = (bytes: number): DeviceLimits => ({ maxStorageBufferBindingSize: bytes, maxBufferSize: 2 * bytes });

type Input = Omit<AttendInput, "variant"> & { readonly variant?: Variant };

async function inSlices(input: Input, ranks: number, limits: DeviceLimits) {
  const { gpu, kernels } = await testGpu();
  const pool = new Watched(gpu.device);
  const devices: Counted[] = [];
  try {
    const result = await attendInProcess(input, ranks, (shape, recorder, kv) => {
      const device = new Counted({ ...gpu, limits }, kernels, pool, shape, recorder);
      devices.push(device);
      return sliced(device, shape, sliceRows(shape, input.variant ?? "pass-kv", ranks, kv.block, limits));
    });
    return { ...result, attends: devices.map(({ attends }) => attends), largest: pool.largest };
  } finally {
    pool.destroy();
  }
}

async function whole(input: FixedInput, ranks: number) {
  const { gpu, kernels, pool } = await testGpu();
  return await attendInProcess(
    input,
    ranks,
    (shape, recorder) => new GpuAttention(gpu, kernels, pool, shape, recorder),
  );
}

const same = (a: Float32Array, b: Float32Array) =>
  assert.deepEqual(
    new Uint32Array(a.buffer, a.byteOffset, a.length),
    new Uint32Array(b.buffer, b.byteOffset, b.length),
  );

const KiB = 1024;
const RAGGED = [{ new: 1, cached: 0 }, { new: 29, cached: 3 }, { new: 0, cached: 9 }, { new: 2, cached: 70 }, {
  new: 1,
  cached: 45,
}, { new: 17, cached: 0 }];
const BATCHES: Readonly<Record<string, Parameters<typeof experiment>[0]>> = {
  "one sequence": { sequences: [{ new: 61, cached: 0 }] },
  "GQA, partial prefill": { sequences: [{ new: 37, cached: 90 }], heads: 8, kvHeads: 2 },
  "MQA, full mask": { sequences: [{ new: 80, cached: 53 }], heads: 4, kvHeads: 1, causal: false },
  "ragged and empty sequences": { sequences: RAGGED, heads: 4, kvHeads: 2 },
  "ragged and empty sequences, full mask": { sequences: RAGGED, heads: 4, kvHeads: 2, causal: false },
  "one row each, as in decode": {
    sequences: [300, 7, 0, 128, 61, 400, 33, 90, 1, 15].map((cached) => ({ new: 1, cached })),
    heads: 8,
    kvHeads: 2,
  },
};

for (const [name, batch] of Object.entries(BATCHES)) {
  test(`${name}: exact in slices, with no buffer above the limit`, /^GQA/.test(name) ? {} : nodeFirst, async () => {
    for (const [v, variant] of (["pass-kv", "pass-q"] as const).entries()) {
      for (const ranks of [1, 2, 3]) {
        for (const limit of [4 * KiB, 16 * KiB]) {
          const input = {
            ...experiment(batch),
            variant,
            wireDtype: (["f32", "bf16", "f16"] as const)[(ranks + v) % 3],
          };
          const what = `${variant}, ${ranks} ranks, ${limit} bytes, wire ${input.wireDtype}`;
          const { attends, largest, spans, ...found } = await inSlices(input, ranks, room(limit));
          const { out, lse, passed } = check(input, found);
          assert.ok(passed, `${what}: out off by ${out.max}, lse by ${lse.max}`);
          assert.ok(
            largest.bound <= limit && largest.any <= 2 * limit,
            `${what}: a buffer of ${largest.bound} or ${largest.any} bytes`,
          );
          if (limit === 4 * KiB) {
            assert.ok(attends.every((count) => count > ranks), `${what}: attended ${attends} times`);
          }
          // Every hop has attention, and its FLOPs count each visible pair once.
          const attended = spans.filter(({ kind }) => kind === "attend");
          assert.equal(new Set(attended.map(({ rank, hop }) => `${rank} ${hop}`)).size, ranks * ranks);
          const flops = (of: readonly Span[]) =>
            of.reduce((sum, span) => sum + (span.kind === "attend" ? span.flops : 0), 0);
          assert.equal(flops(attended), flops((await whole(input, ranks)).spans), what);
        }
      }
    }
  });
}

const LOCAL: Readonly<Record<string, Parameters<typeof experiment>[0] & { readonly prefix?: number }>> = {
  "a window": { ...BATCHES["GQA, partial prefill"], mask: { kind: "window", size: 21 } },
  "chunks, and V in K": { sequences: RAGGED, kvHeads: 2, headDim: 20, prefix: 16, mask: { kind: "chunk", size: 16 } },
  // Both bands of a row in one slice of keys.
  "sink tokens, one row each": {
    sequences: [300, 7, 140, 141, 139, 142, 33, 90].map((cached) => ({ new: 1, cached })),
    heads: 8,
    kvHeads: 2,
    mask: { kind: "window", size: 130, sinkTokens: 7 },
  },
};

for (const [name, { prefix, ...batch }] of Object.entries(LOCAL)) {
  test(
    `${name}: exact in slices, with no buffer above the limit`,
    /^a window/.test(name) ? {} : nodeFirst,
    async () => {
      for (const variant of ["pass-kv", "pass-q"] as const) {
        for (const ranks of [1, 3]) {
          for (const limit of [4 * KiB, 16 * KiB]) {
            const values = prefix === undefined ? {} : { v: { prefixOfK: prefix } };
            const input = { ...experiment(batch), ...values, variant };
            const { largest, ...found } = await inSlices(input, ranks, room(limit));
            const what = `${variant}, ${ranks} ranks, ${limit} bytes`;
            const { out, lse, passed } = check(input, found);
            assert.ok(passed, `${what}: out off by ${out.max}, lse by ${lse.max}`);
            assert.ok(
              largest.bound <= limit && largest.any <= 2 * limit,
              `${what}: a buffer of ${largest.bound} or ${largest.any} bytes`,
            );
          }
        }
      }
    },
  );
}

test("if one slice is enough, every call and every bit is as without slices", async () => {
  for (const batch of Object.values(BATCHES)) {
    for (const variant of ["pass-kv", "pass-q"] as const) {
      const input = { ...experiment(batch), variant };
      const found = await inSlices(input, 2, room(2 ** 27));
      const expected = await whole(input, 2);
      same(found.out, expected.out);
      same(found.lse, expected.lse);
      assert.deepEqual(found.attends, [2, 2]);
      const places = (spans: readonly Span[]) =>
        spans.filter(({ kind }) => kind !== "compile").map(({ rank, kind, hop, bytes, flops }) =>
          `${rank} ${kind} ${hop} ${bytes} ${flops}`
        ).sort();
      assert.deepEqual(places(found.spans), places(expected.spans));
    }
  }
});

test("a slice of queries skips the keys that none of its queries sees", async () => {
  // 64 rows in 4 slices of queries and 8 of keys: the slices of queries see 2, 4, 6 and 8 of them.
  const input = experiment({ sequences: [{ new: 64, cached: 0 }] });
  assert.deepEqual((await inSlices(input, 1, room(4 * KiB))).attends, [20]);
  assert.deepEqual((await inSlices({ ...input, causal: false }, 1, room(4 * KiB))).attends, [32]);
});

test("a wait begins when the last slice of a hop is done", () => {
  const span = (kind: Span["kind"], hop: number, start: number, duration: number): Span => ({
    rank: 0,
    lane: kind === "receive" ? "receive" : "device",
    kind,
    hop,
    start,
    duration,
    bytes: 0,
    flops: 0,
  });
  const spans = [
    span("attend", 0, 0, 2),
    span("attend", 0, 2, 3),
    span("receive", 0, 1, 8),
    span("attend", 1, 9, 1),
    span("attend", 1, 10, 4),
    span("receive", 1, 9, 4),
  ];
  assert.deepEqual(exposedWaits(spans).map(({ kind, hop, start, duration }) => [kind, hop, start, duration]), [[
    "wait",
    0,
    5,
    4,
  ]]);
});

const { shaders } = await testPlatform();

/**
 * The runtime's GPU, as if its adapter offered no more than `limits`: no device can be opened with less than WebGPU's
 * defaults.
 */
async function smallGpu(limits: DeviceLimits, opened: GPUDevice[]): Promise<GPU> {
  const adapter = (await (await runtimeGpu()).requestAdapter())!;
  const offered = {
    features: adapter.features,
    info: adapter.info,
    limits: { ...limits, maxComputeWorkgroupStorageSize: adapter.limits.maxComputeWorkgroupStorageSize },
    async requestDevice({ requiredFeatures }: GPUDeviceDescriptor) {
      const device = await adapter.requestDevice({ requiredFeatures });
      opened.push(device);
      return device;
    },
  };
  return { requestAdapter: () => Promise.resolve(offered) } as unknown as GPU;
}

/** Runs `use` on ranks in this thread, each with its own device. */
async function withRanks<T>(
  size: number,
  limits: DeviceLimits,
  use: (
    run: (input: FixedInput, more?: (rank: number) => Partial<AttendJob>) => Promise<AttendOutcome[]>,
    opened: readonly GPUDevice[],
  ) => Promise<T>,
): Promise<T> {
  const texts = await shaders();
  const opened: GPUDevice[] = [];
  const services: RankService[] = [];
  const pulses: MessagePort[] = [];
  let id = 0;
  try {
    for (const [rank, ports] of meshPorts(size).entries()) {
      const { port1, port2 } = new MessageChannel();
      pulses.push(port1);
      const gpu = await smallGpu(limits, opened);
      services.push(
        new RankService({ gpu: () => gpu, blockingCompile: false, exit: () => assert.fail("nobody ends this thread") }),
      );
      const { limits: told } = await services[rank].open({
        rank,
        size,
        backend: "webgpu",
        shaders: texts,
        link: undefined,
        ports,
        pulse: port2,
      });
      assert.deepEqual(told, limits);
    }
    return await use(async (input, more = () => ({})) => {
      const { variant = "pass-kv", wireDtype = "f32" } = input;
      const shape = shapeOf(input, variant, wireDtype);
      const { queries, keys } = shard(input.sequences, size);
      const job = id++;
      const outcomes = services.map((service, rank) =>
        service.attend({
          id: job,
          origin: 0,
          variant,
          shape,
          q: queryChunk(rank, queries[rank], input, shape),
          kv: keyChunk(rank, keys[rank], input, shape),
          ...more(rank),
        })
      );
      for (const service of services) service.go(job);
      return await Promise.all(outcomes);
    }, opened);
  } finally {
    for (const service of services) await service.close();
    for (const port of pulses) port.close();
  }
}

function resultOf(input: FixedInput, variant: Variant, outcomes: readonly AttendOutcome[]) {
  const shape = shapeOf(input, variant, "f32");
  const rows = input.sequences.reduce((sum, s) => sum + s.new, 0);
  const [out, lse] = [new Float32Array(rows * shape.heads * shape.headDim), new Float32Array(rows * shape.heads)];
  const { queries } = shard(input.sequences, outcomes.length);
  outcomes.forEach(({ data }, rank) => scatterResult(data, queries[rank], input.sequences, shape, out, lse));
  return { out, lse };
}

test(
  "ranks whose adapter refuses large buffers attend in slices, halted or not, to the same bits",
  nodeFirst,
  async () => {
    await withRanks(2, { maxStorageBufferBindingSize: 4 * KiB, maxBufferSize: 8 * KiB }, async (run) => {
      for (const variant of ["pass-kv", "pass-q"] as const) {
        const input = { ...experiment(BATCHES["ragged and empty sequences"]), variant };
        const plain = await run(input);
        const found = resultOf(input, variant, plain);
        assert.ok(check(input, found).passed);
        for (const { spans } of plain) assert.ok(spans.filter(({ kind }) => kind === "attend").length > 4);
        const made: { out: Float32Array; lse: Float32Array; rows: readonly number[] }[] = [];
        const halts = haltPorts(2, input, (halt) => {
          if (halt.next === "end") made.push(halt.made!);
          halt.leave();
        }, (reason) => assert.fail(String(reason)));
        const halted = resultOf(
          input,
          variant,
          await run(input, (rank) => ({ halt: { port: halts.ports[rank], watch: halts.watch } })),
        );
        halts.close();
        same(halted.out, found.out);
        same(halted.lse, found.lse);
        // The last halt hands out the result, put together from slices in the same way.
        const width = 4 * 16;
        for (const { rows, out, lse } of made) {
          rows.forEach((row, i) => {
            same(out.slice(i * width, (i + 1) * width), found.out.slice(row * width, (row + 1) * width));
            same(lse.slice(i * 4, (i + 1) * 4), found.lse.slice(row * 4, (row + 1) * 4));
          });
        }
        assert.equal(made.reduce((sum, { rows }) => sum + rows.length, 0), 50);
      }
    });
  },
);

test(
  "ranks in slices send what a window needs of their chunks, and halts hand out what they made",
  nodeFirst,
  async () => {
    await withRanks(2, { maxStorageBufferBindingSize: 4 * KiB, maxBufferSize: 8 * KiB }, async (run) => {
      const sequences = [{ new: 90, cached: 40 }];
      for (const variant of ["pass-kv", "pass-q"] as const) {
        const input = { ...experiment({ sequences, mask: { kind: "window", size: 9, sinkTokens: 2 } }), variant };
        const shards = { ...shard(sequences, 2), bounds: new Map([[0, chunkBounds(sequences[0], 2, "head-tail")]]) };
        const plain = await run(input, () => ({ shards }));
        assert.ok(plain.some(({ traffic }) => traffic.skipped.bytes > 0));
        const found = resultOf(input, variant, plain);
        assert.ok(check(input, found).passed);
        const rows: number[] = [];
        const halts = haltPorts(2, input, (halt) => {
          if (halt.next === "end") rows.push(...halt.made!.rows);
          halt.leave();
        }, (reason) => assert.fail(String(reason)));
        const halted = await run(input, (rank) => ({ shards, halt: { port: halts.ports[rank], watch: halts.watch } }));
        halts.close();
        same(resultOf(input, variant, halted).out, found.out);
        assert.equal(new Set(rows).size, 90);
      }
    });
  },
);

test("a row that no slice can hold is rejected, and a GPU without memory is named", async () => {
  await withRanks(2, { maxStorageBufferBindingSize: 512, maxBufferSize: 1024 }, async (run) => {
    const needs = /maxStorageBufferBindingSize .*single row on 2 ranks.* has 512, this experiment needs 2048$/;
    await assert.rejects(
      run({ ...experiment({ sequences: [{ new: 9, cached: 0 }], heads: 8 }), variant: "pass-q" }),
      (error) => error instanceof LimitError && needs.test(error.message),
    );
  });
  await withRanks(1, room(4 * KiB), async (run, [device]) => {
    const input = experiment({ sequences: [{ new: 9, cached: 0 }] });
    class GPUOutOfMemoryError extends Error {}
    const refuse = () =>
      device.onuncapturederror!(
        { error: new GPUOutOfMemoryError("vkAllocateMemory failed") } as unknown as GPUUncapturedErrorEvent,
      );
    const halts = haltPorts(1, input, refuse, (reason) => assert.fail(String(reason)));
    const says = /rank 0, hop 0: the GPU has too little memory left .*fewer tokens.*vkAllocateMemory failed/;
    await assert.rejects(
      run(input, (rank) => ({ halt: { port: halts.ports[rank], watch: [] } })),
      (error) => error instanceof RankError && says.test(error.message),
    );
    halts.close();
  });
});
