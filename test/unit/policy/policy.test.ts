/**
 * The choice of variant: equations by hand, each rule on the paper's Tables 4 and 5 (right or wrong), refits, and bad
 * input.
 */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { InputError } from "../../../engine/errors.ts";
import { TABLE_4, TABLE_5 } from "../../../engine/plan/paper/tables.ts";
import {
  choose,
  fittedRule,
  fittedThreshold,
  hiddenKv,
  hiddenQ,
  PRINTED,
  refit,
  REFITTED,
  type Rule,
  RULES,
  type Setting,
  smallerQueries,
  smallerQueriesAll2All,
} from "../../../engine/policy/index.ts";

/** One GPU of CP4+TP8, with the datasheet's rates and with the rates that Table 5 shows. */
const PEAK = { ranks: 4, heads: 16, kvHeads: 1, bytes: 2, flops: 800e12, bandwidth: 50e9 };
const MEASURED = { ...PEAK, flops: 507e12, bandwidth: 26.1e9 };

function near(found: number, expected: number, tolerance = 1e-12): void {
  assert.ok(Math.abs(found - expected) <= tolerance * Math.abs(expected), `found ${found}, expected ${expected}`);
}

test("Eq. 1, 2, 3 and 5 by hand", () => {
  near(smallerQueries(PEAK), 0.125);
  near(hiddenKv(PEAK), 4000);
  near(hiddenKv({ ...PEAK, ranks: 2 }), 2000);
  near(hiddenKv({ ...PEAK, bandwidth: 12.5e9 }), 16000);
  near(hiddenKv({ ...PEAK, flops: 540e12, bandwidth: 3e9 }), 45000);
  near(hiddenQ(PEAK), 32000);
  near(hiddenQ({ ...PEAK, bandwidth: 12.5e9 }), 128000);
  near(smallerQueriesAll2All({ ...PEAK, new: 3200 }), 0.025);
  near(hiddenKv(MEASURED), 4856.3, 1e-4);
});

test("tensor parallelism cancels: a GPU's heads and rates give the same choice as a rank's", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 200_000 }),
      fc.integer({ min: 0, max: 200_000 }),
      fc.constantFrom<Rule>("alg1", "alg5"),
      (T, P, rule) => {
        const one = choose({ ...PEAK, new: T, cached: P, rule });
        const all = choose({
          ...PEAK,
          heads: 128,
          kvHeads: 8,
          flops: 8 * PEAK.flops,
          bandwidth: 8 * PEAK.bandwidth,
          new: T,
          cached: P,
          rule,
        });
        assert.equal(one.variant, all.variant);
        near(one.terms.attend, all.terms.attend);
        near(one.terms.exposedQ, all.terms.exposedQ);
      },
    ),
  );
});

test("message sizes and exposed times match Table 5's arithmetic", () => {
  const { terms } = choose({ ...MEASURED, new: 3200, cached: 124800 });
  near(terms.kvBytes, 16_384_000);
  near(terms.qBytes, 3_276_800);
  near(terms.all2allBytes, 3 * 800 * 16 * (256 + 4));
  near(terms.attend, 413.6e-6, 1e-3);
  near(terms.sendKv, 627.7e-6, 1e-3);
  near(terms.exposedKv, 3 * (terms.sendKv - terms.attend));
  near(terms.exposedQ, terms.all2all);
});

/** The rows of Table 4, by T, that each rule really gets wrong. */
const WRONG: readonly {
  readonly name: string;
  readonly setting: typeof PEAK;
  readonly rule: Rule;
  readonly wrong: readonly number[];
}[] = [
  { name: "Algorithm 1, peak rates", setting: PEAK, rule: "alg1", wrong: [4160, 6400] },
  {
    name: "Algorithm 5, peak rates (T = 3200 is its exact tie)",
    setting: PEAK,
    rule: "alg5",
    wrong: [3200, 4160, 6400],
  },
  { name: "Algorithm 1, Table 5's rates", setting: MEASURED, rule: "alg1", wrong: [6400] },
  { name: "Algorithm 5, Table 5's rates", setting: MEASURED, rule: "alg5", wrong: [4160, 6400] },
  {
    name: "h(T, P) as printed",
    setting: PEAK,
    rule: "fitted",
    wrong: [12800, 38400, 64000, 76800, 102400, 115200, 128000],
  },
  { name: "h(T, P) refitted", setting: PEAK, rule: "refitted", wrong: [] },
];

for (const { name, setting, rule, wrong } of WRONG) {
  test(`Table 4: ${name} is wrong at T = ${wrong.join(", ") || "no row"}`, () => {
    const missed = TABLE_4.filter((row) =>
      choose({ ...setting, new: row.new, cached: row.cached, rule }).variant !==
        (row.passKv < row.passQ ? "pass-kv" : "pass-q")
    );
    assert.deepEqual(missed.map((row) => row.new), wrong);
  });
}

test("Algorithm 5 misses near-ties under 1.5 % with Table 5's rates; with peak rates also its exact tie, 6 % apart", () => {
  const apart = (T: number) => {
    const row = TABLE_4.find((r) => r.new === T)!;
    return Math.max(row.passKv, row.passQ) / Math.min(row.passKv, row.passQ) - 1;
  };
  assert.ok(apart(4160) < 0.015 && apart(6400) < 0.015);
  near(apart(3200), 0.0609, 1e-2);
});

test("with peak rates, T = 3200 is an exact tie that >= gives to pass-KV, and T = 4160 is a near-tie of Eq. 2", () => {
  const tie = choose({ ...PEAK, new: 3200, cached: 124800 });
  assert.equal(tie.closeness, "tie");
  assert.equal(tie.variant, "pass-kv");
  assert.match(tie.reason, /exact tie/);
  const near4160 = choose({ ...PEAK, new: 4160, cached: 123840, rule: "alg1" });
  assert.equal(near4160.closeness, "near-tie");
  assert.equal(choose({ ...PEAK, new: 64000, cached: 64000 }).closeness, "clear");
});

test("Table 5: like the paper's test, exposed communication chooses pass-Q at a 2.5 % miss rate and pass-KV at 10 %", () => {
  for (const [miss, variant] of [["2.5", "pass-q"], ["10", "pass-kv"]] as const) {
    const [kv, q] = TABLE_5.filter((r) => r.miss === miss);
    const paper = 3 * Math.max(0, kv.sendRecv - kv.attend) < q.all2all! ? "pass-kv" : "pass-q";
    assert.equal(paper, variant);
    const { terms, variant: chosen } = choose({ ...MEASURED, new: kv.new, cached: 128000 - kv.new });
    assert.equal(chosen, variant);
    assert.equal(terms.exposedKv < terms.exposedQ ? "pass-kv" : "pass-q", variant);
  }
});

test("decode takes pass-Q, full prefill pass-KV, and one rank has no border; the reason has numbers", () => {
  assert.equal(choose({ ...PEAK, new: 1, cached: 128000 }).variant, "pass-q");
  assert.equal(choose({ ...PEAK, new: 128000, cached: 0 }).variant, "pass-kv");
  const alone = choose({ ...PEAK, ranks: 1, new: 5, cached: 5 });
  assert.equal(alone.variant, "pass-kv");
  assert.equal(alone.terms.margin, null);
  for (const rule of RULES) {
    assert.match(choose({ ...PEAK, new: 3200, cached: 124800, rule }).reason, /16\.4 MB \(KV\) against 3\.28 MB \(Q\)/);
  }
});

test("if the border is under one token, the reason says that Eq. 2 hides the ring at any T", () => {
  for (const rule of ["alg1", "alg5"] as const) {
    const { variant, why, reason } = choose({ ...PEAK, flops: 1e9, new: 1, cached: 4095, rule });
    assert.equal(variant, "pass-kv");
    assert.equal(why, "Eq. 2 hides pass-KV's ring at any T");
    assert.ok(reason.startsWith(`${why}: messages of `), reason);
  }
});

test("h as printed is -0.738 at T = 1280 and -0.342 at T = 128000, and its threshold rises with T", () => {
  near(fittedRule({ new: 1280, cached: 126720 }, PRINTED), -0.738, 2e-3);
  near(fittedRule({ new: 128000, cached: 0 }, PRINTED), -0.342, 2e-3);
  near(fittedThreshold(6400, PRINTED), 0.084, 1e-2);
  assert.ok(fittedThreshold(12800, PRINTED) > fittedThreshold(6400, PRINTED));
});

test("the refit on Table 4 gets all rows right, is marked as undetermined, and matches REFITTED", () => {
  const fit = refit(TABLE_4);
  assert.deepEqual(fit.wrong, []);
  assert.equal(fit.determined, false, "P + T is the same in every row");
  for (const name of ["alpha", "beta", "gamma"] as const) near(REFITTED[name], fit[name], 1e-4);
});

test("a refit on points of several contexts finds the rule that made them", () => {
  const truth = { alpha: 0.9, beta: 1.6, gamma: -4 };
  const points = [8000, 32000, 128000, 512000].flatMap((context) =>
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1].map((miss) => {
      const T = Math.round(context * miss);
      const h = fittedRule({ new: T, cached: context - T }, truth);
      return { new: T, cached: context - T, passKv: 1, passQ: Math.exp(h / 100) };
    })
  );
  const fit = refit(points);
  assert.equal(fit.determined, true);
  // A point counts by how much its choice matters, so the points it gets wrong matter least.
  for (const point of fit.wrong) assert.ok(Math.abs(Math.log(point.passQ / point.passKv)) < 1e-3);
  near(fit.beta / fit.alpha, truth.beta / truth.alpha, 0.2);
});

test("by Algorithm 1, more bandwidth never turns pass-KV into pass-Q, nor more compute pass-Q into pass-KV", () => {
  const step = fc.record({
    new: fc.integer({ min: 1, max: 200_000 }),
    cached: fc.integer({ min: 0, max: 500_000 }),
    ranks: fc.integer({ min: 2, max: 64 }),
  });
  fc.assert(fc.property(step, fc.double({ min: 1, max: 10, noNaN: true }), (s, more) => {
    const before = choose({ ...PEAK, ...s, rule: "alg1" }).variant;
    if (before === "pass-kv") {
      assert.equal(choose({ ...PEAK, ...s, bandwidth: PEAK.bandwidth * more, rule: "alg1" }).variant, "pass-kv");
    } else assert.equal(choose({ ...PEAK, ...s, flops: PEAK.flops * more, rule: "alg1" }).variant, "pass-q");
  }));
});

test("Algorithm 5 chooses pass-Q only if Algorithm 1 does, because the All2All only adds to its cost", () => {
  const step = fc.record({
    new: fc.integer({ min: 1, max: 200_000 }),
    cached: fc.integer({ min: 0, max: 500_000 }),
    ranks: fc.integer({ min: 2, max: 64 }),
  });
  fc.assert(fc.property(step, (s) => {
    if (choose({ ...PEAK, ...s }).variant === "pass-q") {
      assert.equal(choose({ ...PEAK, ...s, rule: "alg1" }).variant, "pass-q");
    }
  }));
});

/** DeepSeek V3's heads in the absorbed form: one KV head with K of 576, V its first 512 elements. */
const MLA = { ...PEAK, heads: 128, kvHeads: 1, headDim: 576, valueDim: 512, valuesInKeys: true };

test("MLA sends 576 elements a token where GQA of 8 heads of 128 sends 2,048; Eq. 1, 2, 3 and 5 by hand", () => {
  const step = { new: 3200, cached: 124_800 };
  const gqa = choose({ ...PEAK, heads: 128, kvHeads: 8, ...step }).terms;
  const { terms, reason } = choose({ ...MLA, ...step });
  assert.deepEqual([gqa.kvElements, terms.kvElements, terms.qElements], [2048, 576, 128 * 576]);
  assert.equal(terms.kvBytes, 32_000 * 576 * 2);
  assert.equal(terms.all2allBytes, 3 * 800 * 128 * (512 * 2 + 4));
  assert.match(reason, /576 elements a token in KV and 73,728 in Q/);
  near(terms.missEq1, 1 / 128);
  // N (T+P)/N 576 e / BW = 2 (576 + 512) H T (T+P) / (N C), solved for T.
  near(terms.newEq2, (4 * 8e14 * 576 * 2) / (2 * 1088 * 128 * 5e10));
  near(terms.contextEq3, (4 * 2 * 8e14 * 576) / (2 * 1088 * 5e10));
  near(terms.missEq5, 576 / (128 * 512) - (2 * 1088 * 3200 * 5e10) / (512 * 4 * 8e14 * 2));
  near(terms.attend, (2 * 1088 * 128 * 800 * 32_000) / 8e14);
});

test("with V of K's head size nothing changes; with a shorter V, less travels", () => {
  const step = { ...PEAK, new: 3200, cached: 124_800 };
  assert.deepEqual(choose({ ...step, valueDim: 128, mask: { kind: "causal" } }), choose(step));
  assert.equal(choose({ ...step, headDim: 192, valueDim: 128 }).terms.kvElements, 320);
});

test("under a window the fewer bytes decide, and the reason says what the rule assumes", () => {
  const step = { ...PEAK, ranks: 8, heads: 32, kvHeads: 8, new: 131_072, cached: 0 };
  const mask = { kind: "window", size: 4096 } as const;
  const choice = choose({ ...step, mask, dealing: "contiguous" });
  const sent = choice.terms.sent!;
  // The second half of each rank's keys goes to the next rank.
  assert.equal(sent["pass-kv"].bytes, 7 * 8192 * 2048 * 2);
  assert.equal(sent["pass-kv"].bytes + sent["pass-kv"].skippedBytes, 56 * 16_384 * 2048 * 2);
  assert.equal(sent["pass-q"].bytes, 49 * 8192 * 4096 * 2 + 7 * 8192 * 32 * 260);
  assert.deepEqual([choice.variant, sent["pass-kv"].skippedHops], ["pass-kv", 49]);
  assert.match(
    choice.reason,
    /^under window:4096, dealt contiguous, all ranks send 235 MB .* in pass-KV and 3\.77 GB in pass-Q, and the fewer bytes/,
  );
  assert.match(choice.reason, /49 and 49 of 64 hops have no attention; Algorithm 5, which assumes a causal mask, says/);
  // Few queries at the end of a long cache: they are cheaper to send than the window.
  assert.equal(choose({ ...step, new: 8, cached: 131_072, mask }).variant, "pass-q");
  // Sequences of a batch see their own windows.
  const batch = [{ new: 65_536, cached: 0 }, { new: 65_536, cached: 0 }];
  assert.equal(
    choose({ ...step, mask, dealing: "contiguous", sequences: batch }).terms.sent!["pass-kv"].bytes,
    2 * 7 * 4096 * 4096,
  );
  // Chunks that no rank shares send nothing.
  const chunk = choose({ ...step, mask: { kind: "chunk", size: 16_384 }, dealing: "contiguous" });
  assert.deepEqual([chunk.closeness, chunk.terms.sent!["pass-q"].bytes], ["tie", 0]);
  assert.equal(choose({ ...step, ranks: 1, mask }).reason, "one rank: nothing travels");
});

test("errors say what was found and what was expected", () => {
  const good = { ...PEAK, new: 10, cached: 0 };
  const bad: readonly [Partial<Setting> & { rule?: Rule }, RegExp][] = [
    [{ new: 0 }, /new: found 0, expected a whole number of at least 1/],
    [{ cached: -1 }, /cached: found -1/],
    [{ kvHeads: 3 }, /kvHeads: found 3, expected a divisor of the 16/],
    [{ flops: 0 }, /flops: found 0, expected a positive number/],
    [{ headDim: 64, valueDim: 65, valuesInKeys: true }, /valueDim: found 65, expected at most the 64 elements of K/],
    [{ mask: { kind: "window", size: 0 } }, /mask: found size 0/],
    [{ mask: { kind: "window", size: 4 }, ranks: 2000 }, /ranks: found 2000, expected at most 1024 under a window/],
    [{ dealing: "striped" as "contiguous" }, /dealing: found "striped", expected head-tail or contiguous/],
    [{ rule: "alg9" as Rule }, /rule: found "alg9", expected alg1 or alg5 or fitted or refitted/],
  ];
  for (const [change, message] of bad) {
    assert.throws(() => choose({ ...good, ...change }), (e) => e instanceof InputError && message.test(e.message));
  }
  assert.throws(() => refit(TABLE_4.filter((row) => row.passKv < row.passQ)), InputError);
});
