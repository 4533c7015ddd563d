/** Profiler traces made by a script: every hop's hidden and exposed time is known. */
import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { trace } from "../../../engine/cli/trace.ts";
import { readHops } from "../../../engine/trace/hops.ts";
import { kindOf, readKineto } from "../../../engine/trace/kineto.ts";
import { call, inFolder } from "../cli/command.ts";

/** An event in microseconds. */
interface Made {
  readonly name: string;
  readonly at: number;
  readonly for: number;
  readonly cat?: string;
  readonly args?: object;
}

function traceOf(events: readonly Made[], rank?: number): string {
  return JSON.stringify({
    schemaVersion: 1,
    ...(rank !== undefined && { distributedInfo: { backend: "nccl", rank, world_size: 4 } }),
    traceEvents: [
      { ph: "M", name: "process_name", pid: 0, tid: 0, args: { name: "python" } },
      ...events.map(({ name, at, for: dur, cat = "kernel", args = {} }) => ({
        ph: "X",
        cat,
        name,
        pid: 0,
        tid: 7,
        ts: at,
        dur,
        args,
      })),
    ],
  });
}

const SEND = "ncclDevKernel_SendRecv(ncclDevComm*, unsigned long, ncclWork*)";
const FLASH = "void flash_fwd_kernel<Flash_fwd_kernel_traits<128, 128, 64, 4>>(Flash_fwd_params)";

/**
 * A ring of `hops` hops: attention and messages begin together; a hop lasts as long as the longer one. `messages`: K and
 * V may travel in two.
 */
function ring(
  at: number,
  attention: readonly number[],
  communication: readonly number[],
  messages = 1,
): { events: Made[]; end: number } {
  const events: Made[] = [];
  for (const [hop, compute] of attention.entries()) {
    const transfer = communication[hop];
    events.push({ name: FLASH, at, for: compute });
    for (let m = 0; transfer !== undefined && m < messages; m++) {
      events.push({
        name: SEND,
        at: at + 1 + (m * transfer) / messages,
        for: transfer / messages - (m === 0 ? 0 : 1e-3),
      });
    }
    at += Math.max(compute, transfer === undefined ? 0 : transfer + 1) + 3;
  }
  return { events, end: at };
}

test("hidden and exposed time of every hop, to one per cent, for one and two messages a hop", () => {
  for (const messages of [1, 2]) {
    const [attention, communication] = [[1000, 1000, 400, 1000], [600, 1500, 900]];
    const traces = [0, 1, 2, 3].map((rank) => {
      const one = ring(10_000, attention, communication, messages);
      const two = ring(one.end + 5000, attention, communication, messages);
      const steps: Made[] = [
        { name: "ProfilerStep#3", cat: "user_annotation", at: 9000, for: one.end + 2000 - 9000 },
        { name: "ProfilerStep#4", cat: "user_annotation", at: one.end + 2000, for: two.end - one.end },
      ];
      // Each machine has its own clock.
      const shifted = [...one.events, ...two.events, ...steps].map((e) => ({ ...e, at: e.at + 1e6 * rank }));
      return readKineto(traceOf(shifted, rank), `rank${rank}.json`);
    });
    const { hops, steps, offsets, stragglers, unknown } = readHops(traces);
    assert.equal(hops.length, 4 * 2 * 3);
    for (const { hop, hidden, exposed, communication: all } of hops) {
      const wait = [0, 501, 501][hop] / 1e6;
      assert.ok(Math.abs(exposed - wait) <= 0.01 * wait + 2e-9, `hop ${hop}: exposed ${exposed}, expected ${wait}`);
      assert.ok(Math.abs(hidden + exposed - all) < 1e-12);
      assert.ok(Math.abs(all - communication[hop] / 1e6) < 0.01 * all);
    }
    assert.deepEqual(
      steps.map(({ rank, step }) => [rank, step]),
      [0, 1, 2, 3].flatMap((rank) => [[rank, 3], [rank, 4]]),
    );
    for (const { total, ideal, exposed } of steps) {
      assert.ok(Math.abs(total - exposed - ideal) < 1e-12 && exposed > 1e-3);
    }
    offsets.forEach(({ seconds }, rank) => assert.ok(Math.abs(seconds + rank) < 1e-9));
    assert.ok(stragglers.every(({ late }) => late < 1e-9));
    assert.deepEqual(unknown, []);
  }
});

test("clocks are aligned by the same steps, also if a rank lacks the first", () => {
  const traces = [0, 1].map((rank) => {
    const steps = [2, 3, 4].map((number) => {
      const at = 1e5 * number;
      const { events, end } = ring(at, [1000, 1000], [1500]);
      return [{ name: `ProfilerStep#${number}`, cat: "user_annotation", at, for: end - at }, ...events];
    });
    const shifted = steps.slice(rank).flat().map((e) => ({ ...e, at: e.at + 1e6 * rank }));
    return readKineto(traceOf(shifted, rank), `rank${rank}.json`);
  });
  const { offsets } = readHops(traces);
  offsets.forEach(({ seconds }, rank) => assert.ok(Math.abs(seconds + rank) < 1e-9, `rank ${rank}: ${seconds}`));
});

test("a trace may have more kernels than a call takes arguments", () => {
  const kernels = Array.from({ length: 200_000 }, (_, at): Made => ({ name: "gemm", at, for: 1 }));
  const { steps } = readHops([readKineto(traceOf(kernels), "many.json")]);
  assert.equal(steps.length, 1);
  assert.ok(Math.abs(steps[0].total - 0.2) < 1e-9);
});

test("messages before their attention: nothing hides them", () => {
  const events: Made[] = [];
  for (let hop = 0; hop < 3; hop++) {
    events.push({ name: SEND, at: 1000 * hop, for: 400 }, { name: FLASH, at: 1000 * hop + 400, for: 600 });
  }
  const { hops, steps } = readHops([readKineto(traceOf(events), "a.json")]);
  assert.deepEqual(hops.map(({ exposed }) => Math.round(exposed * 1e6)), [400, 400, 400]);
  assert.deepEqual(hops.map(({ attention }) => Math.round(attention * 1e6)), [600, 600, 600]);
  assert.equal(steps[0].step, undefined);
});

test("a kernel belongs to the step that launched it, and a name that no table knows is listed", () => {
  const events: Made[] = [
    { name: "ProfilerStep#1", cat: "user_annotation", at: 0, for: 100 },
    { name: "ProfilerStep#2", cat: "user_annotation", at: 100, for: 100 },
    { name: "cudaLaunchKernel", cat: "cuda_runtime", at: 90, for: 1, args: { correlation: 5 } },
    { name: FLASH, at: 150, for: 10, args: { correlation: 5 } },
    { name: "frobnicate", at: 170, for: 20 },
  ];
  const { steps, unknown } = readHops([readKineto(traceOf(events, 2), "x.json")]);
  assert.deepEqual(steps.map(({ step, attention }) => [step, Math.round(attention * 1e6)]), [[1, 10], [2, 0]]);
  assert.deepEqual(unknown.map(({ name, count }) => [name, count]), [["frobnicate", 1]]);
});

test("a trace without a rank has that of its file's name, or else its place", () => {
  const text = traceOf([{ name: FLASH, at: 0, for: 1 }]);
  const ranks = ["rank3.json", "runs/rank8/rank_2.json", "/home/frank7/trace.json", "a.json"].map((file, place) =>
    readKineto(text, file, place).rank
  );
  assert.deepEqual(ranks, [3, 2, 2, 3]);
  assert.equal(readKineto(traceOf([{ name: FLASH, at: 0, for: 1 }], 5), "rank3.json").rank, 5);
});

test("names of kernels as frameworks have them", () => {
  const kinds: readonly (readonly [string, string])[] = [
    [FLASH, "attention"],
    ["fmha_cutlassF_bf16_aligned_64x128_rf_sm80(PyTorchMemEffAttention::AttentionKernel)", "attention"],
    ["cudnn_generated_fort_native_sdpa_sm90_flash_fprop_wgmma_f16_knob_7_64x128", "attention"],
    ["kernel_unified_attention_2d", "attention"],
    ["void flashinfer::BatchPrefillWithPagedKVCacheKernel<...>", "attention"],
    [SEND, "communication"],
    ["ncclKernel_AllGather_RING_LL_Sum_int8_t(ncclDevComm*)", "communication"],
    ["void vllm::cross_device_reduce_2stage<__nv_bfloat16, 8>", "communication"],
    ["Memcpy DtoD (Device -> Device)", "copy"],
    ["nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_TNT", "other"],
    ["sm90_xmma_gemm_bf16bf16_bf16f32", "other"],
    ["Cijk_Alik_Bljk_BBS_BH_MT128x128x32", "other"],
    ["frobnicate", "unknown"],
  ];
  for (const [name, kind] of kinds) assert.equal(kindOf(name), kind, name);
});

test("the command: tables, JSON, packed files, and files that are none", async () => {
  await inFolder(async (folder) => {
    const { events } = ring(0, [1000, 1000], [1200]);
    const [a, b] = [path.join(folder, "rank0.json"), path.join(folder, "rank1.json.gz")];
    await writeFile(a, traceOf(events));
    const packed = new Blob([traceOf(events)]).stream().pipeThrough(new CompressionStream("gzip"));
    await writeFile(b, new Uint8Array(await new Response(packed).arrayBuffer()));
    const { stdout } = await call(trace, [a, b]);
    assert.match(stdout, /^ranks {5}0, 1\n/);
    assert.match(stdout, /ncclDevKernel_SendRecv/);
    const facts = JSON.parse((await call(trace, ["--json", b, a])).stdout);
    assert.deepEqual(
      facts.hops.map((
        { rank, hop, exposed }: { rank: number; hop: number; exposed: number },
      ) => [rank, hop, Math.round(exposed * 1e6)]),
      [[0, 0, 201], [1, 0, 201]],
    );
    const beside = ["--model", "llama3-8b", "--cluster", "gtt", "--new", "8192", "--tp", "1"];
    const planned = await call(trace, [a, b, ...beside]);
    assert.match(planned.stdout, /predicted: a layer of .*\n.*hop .*predicted.*\n/);
    const { predicted } = JSON.parse((await call(trace, [a, b, "--json", ...beside])).stdout);
    assert.deepEqual(predicted.hops.map(({ hop }: { hop: number }) => hop), [0, 1]);
    assert.ok(predicted.hops.every(({ attention }: { attention: number }) => attention > 0));
    await assert.rejects(call(trace, [a, "--model", "llama3-8b"]), /^InputError: --cluster: not given beside --model/);
    const refuses = async (text: string | Uint8Array, says: RegExp) => {
      const file = path.join(folder, "bad.json");
      await writeFile(file, text);
      await assert.rejects(call(trace, [file]), { name: "InputError", message: says });
    };
    await refuses("no json", /bad\.json: found no JSON .*expected a profiler trace$/);
    await refuses("{}", /found no traceEvents/);
    await refuses(
      traceOf([{ name: "aten::add", cat: "cpu_op", at: 0, for: 1 }]),
      /no kernel, attention operator or message/,
    );
    await refuses(Uint8Array.of(0x1f, 0x8b, 1, 2, 3), /cannot be unpacked/);
    await assert.rejects(call(trace, []), /^InputError: trace: found no file/);
    await assert.rejects(call(trace, [a, a]), /rank 0.*expected one file a rank$/);
    await assert.rejects(call(trace, [path.join(folder, "none.json")]), /cannot be read \(ENOENT\)/);
  });
});
