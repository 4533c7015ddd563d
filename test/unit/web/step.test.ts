// The page's Step view as arithmetic: where ranks stand, what a token's partial results merge to, and how numbers
// appear as text.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import { reference } from "../../../engine/reference/attention.ts";
import { fromBytes, toBytes } from "../../../engine/tensor/dtype.ts";
import { seededRows } from "../../../engine/tensor/seeded.ts";
import { CAUSAL, pairsOfRuns, readMask } from "../../../web/engine/run.ts";
import { exactHops } from "../../../web/lib/experiment/exact.ts";
import { type Experiment, OFF_GRID } from "../../../web/lib/experiment/experiment.ts";
import {
  haltPointsOf,
  homeOf,
  KEPT,
  keysByHop,
  mergeStory,
  partialBytes,
  sayF32,
  sayF64,
  sayRuns,
  standing,
  visible,
  waitsFor,
  type Walk,
  watchOf,
} from "../../../web/views/step/model.ts";
import { readSelection } from "../../../web/views/step/stepper.ts";
import { testPlatform } from "../../platform.ts";

const small: Experiment = {
  seed: 3,
  T: 23,
  P: 10,
  H: 4,
  Hkv: 2,
  D: 16,
  N: 3,
  variant: "pass-kv",
  wire: "bf16",
  link: null,
  mask: CAUSAL,
  dealing: "head-tail",
  backend: "cpu",
  offGrid: true,
};

function inputsOf({ seed, T, P, H, Hkv, D }: Experiment) {
  const rows = (tensor: "q" | "k" | "v", n: number, columns: number) =>
    seededRows(seed, tensor, 0, n, columns).map((x) => x * OFF_GRID);
  return {
    q: rows("q", T, H * D),
    k: rows("k", T + P, Hkv * D),
    v: rows("v", T + P, Hkv * D),
    sequences: [{ new: T, cached: P }],
    heads: H,
    kvHeads: Hkv,
    headDim: D,
  };
}

/** A stepped run to its end on real ranks, and its result; `look` sees it at every halt. */
async function walked(experiment: Experiment, look: (walk: Walk) => void = () => {}) {
  const { N, variant, wire, mask, dealing } = experiment;
  const points = haltPointsOf(experiment);
  const walk: Walk = {
    experiment,
    points,
    log: Array.from({ length: N }, () => []),
    left: new Array<number>(N).fill(0),
    watch: undefined,
  };
  const cluster = await Cluster.start(await testPlatform(), { ranks: N, backend: "cpu" });
  try {
    const result = await cluster.attend({
      ...inputsOf(experiment),
      variant,
      mask,
      dealing,
      wireDtype: wire,
      onHalt(halt) {
        const point = points.findIndex(({ next, hop }) => next === halt.next && hop === halt.hop);
        walk.log[halt.rank][point] = halt;
        look(walk);
        walk.left[halt.rank] = point + 1;
        halt.leave();
      },
    });
    return { walk, result };
  } finally {
    await cluster.dispose();
  }
}

for (const variant of ["pass-kv", "pass-q"] as const) {
  for (
    const [N, said, dealing] of [
      [1, "causal", "head-tail"],
      [3, "causal", "head-tail"],
      [4, "full", "head-tail"],
      [4, "window:5", "head-tail"],
      [4, "window:5", "contiguous"],
      [3, "window:1", "contiguous"],
      [4, "chunk:7+2", "head-tail"],
    ] as const
  ) {
    test(`${variant} on ${N} ranks, ${said}, ${dealing}: a token's story ends at its result, its errors are float64's`, async () => {
      const mask = readMask(said)!;
      const experiment: Experiment = { ...small, variant, N, mask, dealing };
      const { walk, result } = await walked(experiment);
      const input = { ...inputsOf(experiment), mask };
      const { T, P, H, D, wire } = experiment;
      for (const row of [0, 1, 11, T - 1]) {
        const keys = keysByHop(walk, homeOf(walk, row)!)!;
        assert.equal(
          keys.reduce((sum, { runs }) => sum + visible(experiment, row, runs), 0),
          pairsOfRuns({ start: P + row, length: 1 }, { start: 0, length: P + T }, mask),
        );
        const exact = exactHops({ ...input, variant, wire }, row, keys.map(({ runs }) => runs), {
          reference,
          toBytes,
          fromBytes,
        });
        const whole = reference(input, [row]);
        for (const head of [0, H - 1]) {
          const story = mergeStory(walk, row, head, exact)!;
          assert.equal(story.hops.length, N);
          assert.deepEqual(
            Array.from(story.final!.out),
            Array.from(result.out.subarray((row * H + head) * D, (row * H + head + 1) * D)),
          );
          assert.equal(story.final!.lse, result.lse[row * H + head]);
          assert.ok(Math.abs(story.exact!.lse - whole.lse[head]) < 1e-12);
          const weights = story.hops.map(({ weight }) => weight!);
          const last = story.hops[N - 1];
          // The sum of the weights is exp(LSE - float64's LSE): 1, apart from the errors of wire and f32 in LSE.
          assert.ok(
            Math.abs(weights.reduce((sum, w) => sum + w, 0) - Math.exp(last.soFar!.lse - story.exact!.lse)) < 1e-6,
          );
          assert.ok(weights.every((w) => w > -1e-6 && w < 1.05), String(weights));
          for (const { hop, error, partial, away, soFar } of story.hops) {
            assert.ok(partial !== undefined && error !== undefined && away !== undefined);
            if (partial.lse === -Infinity) assert.deepEqual(error.all, { out: 0, lse: 0 });
            else assert.ok(error.rest.out < 4e-6 && error.rest.lse < 4e-6, `hop ${hop}: ${JSON.stringify(error)}`);
            assert.ok(error.all.out <= error.wire.out + error.rest.out + 1e-12);
            if (hop === N - 1) assert.ok(away < 0.1 && soFar!.out.length === D);
          }
          // A token that sees itself alone has V's row, whatever the wire makes of Q.
          if (!(said === "window:1" && variant === "pass-q")) {
            assert.ok(story.hops.some(({ error }) => error!.wire.out > 1e-5), "bf16 rounded nothing");
          }
        }
      }
    });
  }
}

test("ranks of a stepped run: halted until they may go on, or waiting for the rank before", async () => {
  const seen = new Set<string>();
  await walked({ ...small, N: 4, variant: "pass-q" }, (walk) =>
    walk.log.forEach((own, rank) => {
      const how = standing(walk, rank);
      seen.add(how);
      const wait = waitsFor(walk, rank);
      if (how !== "going") assert.equal(wait, undefined);
      else if (wait !== undefined && own.length <= 4) {
        assert.equal(wait, (rank + 3) % 4);
        assert.ok(walk.log[wait].length < own.length, "it waits for one that is behind");
      }
    }));
  assert.ok(seen.has("halted") && seen.has("unheard") && seen.has("going"));
});

test("a large run follows one token, and the bound is the bytes of all partials", () => {
  assert.equal(partialBytes({ ...small, variant: "pass-q" }), 23 * 4 * 4 * 17 * 4);
  assert.equal(partialBytes({ ...small, N: 1, variant: "pass-q" }), 23 * 4 * 17 * 4);
  assert.equal(watchOf(small, 5), undefined);
  const large = { ...small, T: Math.ceil(KEPT / partialBytes(small, 1)) + 1 };
  assert.deepEqual(watchOf(large, 5), [5]);
  assert.deepEqual(watchOf(large, 1e9), [large.T - 1]);
});

test("an f32 is written with the digits that tell it from its neighbours", () => {
  fc.assert(fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (x) => {
    assert.equal(Math.fround(Number(sayF32(x).replace("−", "-"))), x === 0 ? 0 : x);
  }));
  assert.equal(sayF32(-Infinity), "−∞");
  assert.equal(sayF32(0.5), "0.5");
  assert.equal(sayF64(-1 / 3), "−0.3333333333");
});

test("positions and addresses in words", () => {
  const run = (start: number, length: number) => ({ sequence: 0, start, length });
  assert.equal(sayRuns([run(0, 4), run(4, 2), run(9, 1)]), "0–5 and 9");
  assert.equal(sayRuns([run(0, 2), run(5, 2), run(9, 2)]), "0–1, 5–6 and 9–10");
  assert.equal(sayRuns([]), "none");
  assert.deepEqual(readSelection("?rank=2&hop=merge&token=7&head=-1&dim=x"), {
    rank: 2,
    hop: "merge",
    token: 7,
    head: 0,
    dim: 0,
  });
});
