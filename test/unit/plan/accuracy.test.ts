/** The accuracy bars against the paper's printed cells, and the calibration of the parameters. */
import assert from "node:assert/strict";
import test from "node:test";
import {
  calibrate,
  CELLS,
  CONTRADICTIONS,
  paperReport,
  PARAMETERS,
  type PlanParameters,
  PROVENANCE,
} from "../../../engine/plan/index.ts";

const report = await paperReport();
const cell = (id: string) => report.rows.find((r) => r.id === id)!;

test("TTFT: median error at most 3 %, worst at most 10 %, also over the predicted cells only", () => {
  const { ttft } = report.errors;
  assert.ok(ttft.cells >= 34);
  assert.ok(ttft.median <= 0.03, `median ${ttft.median}`);
  assert.ok(ttft.worst <= 0.1, `worst ${ttft.worst} at ${ttft.worstCell}`);
  assert.ok(ttft.predicted.cells >= 28 && ttft.predicted.median <= 0.03 && ttft.predicted.worst <= 0.1);
});

test("the only TTFT outside the bars is the introduction's 60 s, which Tables 6 and 7 contradict", () => {
  const out = report.rows.filter((r) => r.group === "ttft" && r.excluded !== undefined);
  assert.deepEqual(out.map((r) => r.id), ["headline.128k.cp1"]);
});

test("Table 4's winner is right, except for near-ties under 1.5 %", () => {
  const wrong = report.winners.filter((w) => !w.agrees);
  assert.deepEqual(wrong.map((w) => w.new), [4160, 6400]);
  assert.ok(wrong.every((w) => w.nearTie && w.apart < 0.015));
});

test("Table 5's parts are within 10 %, 1M on CP16 within 5 %", () => {
  assert.ok(report.errors.part.worst <= 0.1);
  assert.ok(Math.abs(cell("headline.1m.cp16").error!) <= 0.05);
});

test("TTIT and Table 8 are within 20 %, except TP8's attention of four sequences, which the paper contradicts", () => {
  assert.ok(report.errors.ttit.worst <= 0.2);
  const worse = report.rows.filter((r) => r.group === "decode" && r.error !== null && Math.abs(r.error) > 0.2);
  assert.deepEqual(worse.map((r) => r.id), ["t8.32.cp1.op", "t8.32.cp1.ring", "t8.32.cp1.whole"]);
  assert.ok(worse[0].contradicts.length > 0);
});

test("the parameters match a fresh calibration to three digits", async () => {
  const fresh = await calibrate();
  for (const name of Object.keys(PARAMETERS) as (keyof PlanParameters)[]) {
    const off = Math.abs(PARAMETERS[name] / fresh[name] - 1);
    assert.ok(off < 1e-3, `${name}: ${PARAMETERS[name]}, calibrated ${fresh[name]}`);
  }
});

test("calibration cells exist and are marked, and at most four are end to end", () => {
  const ids = new Set(CELLS.map((c) => c.id));
  assert.equal(ids.size, CELLS.length);
  for (const p of PROVENANCE) {
    for (const id of p.cells) {
      assert.ok(ids.has(id), id);
      assert.equal(cell(id).origin, "calibrated");
    }
  }
  assert.ok(PROVENANCE.filter((p) => p.kind === "end-to-end").flatMap((p) => p.cells).length <= 4);
  assert.equal(cell("t6.128.cp1.ttft").origin, "calibrated", "the same figure as Table 7's");
});

test("contradictions name cells that exist", () => {
  const ids = new Set(CELLS.map((c) => c.id));
  for (const c of CONTRADICTIONS) for (const id of c.cells) assert.ok(ids.has(id), id);
});

test("GTI's 3 GB/s still hides pass-KV's transfers of a full prefill of 128K on CP4, as the paper says", async () => {
  const { plan, findModel, findCluster } = await import("../../../engine/plan/index.ts");
  const gti = await plan({
    model: findModel("llama3-405b"),
    cluster: findCluster("gti"),
    cp: 4,
    tp: 8,
    new: 128000,
    variant: "pass-kv",
  });
  assert.equal(gti.breakdown.exposed, 0);
});
