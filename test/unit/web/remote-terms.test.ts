// The Remote view's comparison of a measured run with the planner and the paper.
import assert from "node:assert/strict";
import { test } from "node:test";
import { findModel, plan } from "../../../engine/plan/index.ts";
import { apart, sayApart } from "../../../web/views/remote/apart.ts";
import {
  clusterOf,
  compareAttention,
  compareLayer,
  type Figure,
  measuredRing,
  modelOf,
  nearest,
  planOf,
  printedRing,
  printedTtft,
} from "../../../web/views/remote/terms.ts";
import { readLayer } from "../../../web/views/remote/layer-report.ts";
import { defaults, type RemoteExperiment } from "../../../web/views/remote/model.ts";
import { layerInput, TP } from "../../../web/views/remote/params.ts";

test("a simulated run's spans give the planner's own terms", async () => {
  for (const [T, P] of [[128_000, 0], [3200, 124_800]]) {
    for (const variant of ["pass-kv", "pass-q"] as const) {
      const experiment = { ...defaults, T, P, N: 4 };
      const { cluster } = clusterOf("h100-hbm2e", experiment);
      const { spans, layer } = await plan({
        model: findModel("llama3-405b"),
        cluster,
        cp: 4,
        tp: 8,
        new: T,
        cached: P,
        variant,
        spans: true,
      });
      const ring = spans!.filter(({ kind }) => kind !== "gemm" && kind !== "allreduce" && kind !== "launch");
      const { figures } = await compareAttention(experiment, variant, ring, "h100-hbm2e");
      const of = (id: string) => figures.find((figure) => figure.id === id)!;
      const near = (id: string, share = 1e-6) =>
        assert.ok(
          Math.abs(of(id).measured! - of(id).planned!) <= share * of(id).planned! + 1e-12,
          `${variant} T ${T} ${id}: ${of(id).measured} and ${of(id).planned}`,
        );
      near("call");
      near("transfer");
      near("attention", 0.02);
      if (variant === "pass-q") near("all2all", 0.02);
      assert.ok(
        layer.breakdown.exposed === 0 || Math.abs(apart(of("exposed").measured, layer.breakdown.exposed)!) < 0.02,
        `${variant} T ${T}`,
      );
      assert.equal(of("rate").unit, "FLOP/s");
    }
  }
  assert.deepEqual(measuredRing([], 4), {
    call: undefined,
    attention: undefined,
    transfer: undefined,
    exposed: undefined,
    all2all: undefined,
    whole: undefined,
    rate: undefined,
  });
});

test("times of a ring are those of the slowest rank, and its transfer is the median one", () => {
  const span = (
    rank: number,
    kind: "attend" | "merge" | "wait" | "send" | "all2all",
    hop: number,
    start: number,
    duration: number,
    lane: "device" | "send" = kind === "send" ? "send" : "device",
  ) => ({ rank, lane, kind, hop, start, duration, bytes: 0, flops: kind === "attend" ? 100 : 0 });
  const measured = measuredRing([
    span(0, "attend", 0, 0, 1),
    span(0, "attend", 0, 1, 1),
    span(0, "attend", 1, 2, 3),
    span(1, "attend", 0, 0, 4),
    span(1, "attend", 1, 4, 4),
    span(1, "merge", 1, 8, 1),
    span(0, "wait", 1, 5, 2),
    span(0, "send", 0, 0, 6),
    span(1, "send", 0, 0, 2),
    span(1, "send", 1, 0, 1),
    span(0, "all2all", 1, 9, 3),
    span(0, "all2all", 1, 9, 5, "send"),
  ], 2);
  assert.deepEqual(measured, { call: 2, attention: 9, transfer: 2, exposed: 2, all2all: 3, whole: 14, rate: 500 / 13 });
});

test("the paper's figures stand only beside the experiments they belong to", () => {
  const row = { ...defaults, N: 4, T: 3200, P: 124_800 };
  assert.deepEqual(
    Object.fromEntries(Object.entries(printedRing(row, "pass-q")).map(([term, { value }]) => [term, value])),
    { transfer: 166e-6, all2all: 424e-6, call: 414e-6 },
  );
  assert.deepEqual(
    Object.fromEntries(
      Object.entries(printedRing(row, "pass-kv")).map(([term, { value, table }]) => [term, [value, table]]),
    ),
    { transfer: [627e-6, "Table 5"], call: [414e-6, "Table 5"] },
  );
  for (
    const other of [{ N: 8 }, { T: 3201 }, { H: 8 }, { D: 64 }, { causal: false }, { work: "layer" }] as Partial<
      RemoteExperiment
    >[]
  ) assert.deepEqual(printedRing({ ...row, ...other }, "pass-q"), {});
  assert.equal(printedRing({ ...defaults, N: 1, T: 8000 }, "pass-kv").rate?.value, 540e12);
  const layer = { ...defaults, work: "layer", T: 128_000 } as RemoteExperiment;
  const seconds = (more: Partial<RemoteExperiment>, variant: "pass-kv" | "pass-q" = "pass-kv") =>
    printedTtft({ ...layer, ...more }, variant)?.value;
  assert.deepEqual([1, 2, 4, 8, 16].map((N) => seconds({ N })), [42.01, 21.042, 10.95, 5.85, 3.8]);
  assert.equal(seconds({ N: 16, T: 1_000_000 }), 77);
  assert.equal(seconds({ N: 4, T: 3200, P: 124_800 }, "pass-q"), 1.04643);
  assert.deepEqual([seconds({ N: 3 }), seconds({ model: "small" }), seconds({}, "pass-q")], [
    undefined,
    undefined,
    undefined,
  ]);
});

test("a layer's terms stand beside the planner's, and its TTFT beside the paper's", async () => {
  const experiment = { ...defaults, work: "layer", N: 16, T: 1_000_000, link: null } as RemoteExperiment;
  const term = (name: string, seconds: number, how = "measured") => ({ term: name, seconds, how, flops: 0 });
  const value = {
    terms: [
      term("norm 1", 0.001),
      term("qkv product", 0.02),
      term("attention", 0.25),
      term("exposed communication", 0.003, "modelled"),
      term("up product", 0.03),
      term("TP all-reduce", 0.01, "modelled"),
      term("of a newer worker", 1),
    ],
    layerSeconds: 0.634,
    ttft: 80,
    notes: ["a note", 7],
  };
  const report = readLayer(value);
  assert.deepEqual([...report.terms].map(([id, { seconds, how }]) => [id, seconds, how]), [
    ["pointwise", 0.001, "measured"],
    ["gemm", 0.05, "measured"],
    ["attention", 0.25, "measured"],
    ["exposed", 0.003, "modelled"],
    ["allreduce", 0.01, "modelled"],
  ]);
  assert.deepEqual([report.notes, readLayer({}).ttft, readLayer({ terms: "none", ttft: "soon" }).terms.size], [
    ["a note"],
    undefined,
    0,
  ]);
  const { figures, on } = await compareLayer(experiment, "pass-kv", report, "h100-hbm2e");
  const { plan: planned } = await planOf(experiment, "pass-kv", "h100-hbm2e");
  const of = (id: string): Figure => figures.find((figure) => figure.id === id)!;
  assert.deepEqual([of("attention").measured, of("attention").planned], [0.25, planned!.layer.breakdown.attention]);
  assert.deepEqual([of("layer").measured, of("layer").planned], [0.634, planned!.layer.seconds]);
  assert.deepEqual([of("allreduce").origin, of("gemm").origin], ["modelled", undefined]);
  assert.deepEqual([of("ttft").measured, of("ttft").planned, of("ttft").paper?.value], [80, planned!.seconds, 77]);
  assert.match(of("ttft").label, /126 layers/);
  assert.match(on, /^h100-hbm2e over Grand Teton/);
  const { model, tp } = layerInput({ ...experiment, model: "small" }, "pass-q");
  const mine = modelOf({ ...experiment, model: "small" });
  assert.deepEqual(model, {
    dModel: mine.width,
    heads: mine.heads,
    kvHeads: mine.kvHeads,
    headDim: mine.headDim,
    ffn: mine.ffn,
    layers: mine.layers,
  });
  assert.equal(tp, TP);
});

test("the planner's row is the one of the device's GPU; a full mask and a CPU have none", async () => {
  const gpu = (name: string, memoryBytes = 80e9) => nearest({ name, kind: "cuda", memoryBytes });
  assert.deepEqual([
    gpu("NVIDIA H100 80GB HBM3"),
    gpu("NVIDIA H100", 96e9),
    gpu("NVIDIA H200"),
    gpu("AMD Instinct MI300X"),
    gpu("NVIDIA B200"),
    gpu("NVIDIA GB2000"),
    gpu("Tesla T4"),
  ], ["h100", "h100-hbm2e", "h200", "mi300x", "b200", undefined, undefined]);
  assert.deepEqual(
    [nearest(undefined), nearest({ name: "a CPU with H100 in its name", kind: "cpu", memoryBytes: 1 })],
    [undefined, undefined],
  );
  const full = await planOf({ ...defaults, causal: false }, "pass-kv", "h200");
  assert.deepEqual([full.plan, full.notes], [undefined, ["the planner plans only causal attention"]]);
  const { cluster, say } = clusterOf("h200", defaults);
  assert.deepEqual([cluster.accelerator.name, cluster.fabric.achieved, say], [
    "h200",
    defaults.link!.bandwidth,
    "h200 over the experiment’s link",
  ]);
});

test("differences have a sign, and are factors where percentages would be thousands", () => {
  assert.deepEqual(
    [
      apart(1.1, 1),
      apart(0.96, 1),
      apart(1, 1),
      apart(2000, 1),
      apart(1, 40),
      apart(0, 1),
      apart(undefined, 1),
      apart(1, 0),
    ].map(sayApart),
    ["+10.0 %", "−4.0 %", "±0.0 %", "× 2,000", "÷ 40", "÷ ∞", "–", "–"],
  );
});
