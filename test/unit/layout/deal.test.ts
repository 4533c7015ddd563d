/** The deal of tokens to ranks: the paper's if all is even, and balanced whatever the steps were. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { dealDecode, dealPrefill } from "../../../engine/layout/deal.ts";
import { count } from "../../../engine/layout/shards.ts";

test("an even cache is dealt as in the paper: rank i takes chunks C_i and C_2N-1-i (vLLM's 8 tokens, then 8 more)", () => {
  assert.deepEqual(dealPrefill(8, 8, [4, 4]), [[{ start: 8, end: 10 }, { start: 14, end: 16 }], [{
    start: 10,
    end: 14,
  }]]);
});

test("decode of an even cache is the round-robin deal, shifted by one each step", () => {
  const held = Array.from({ length: 4 }, () => [0, 0, 0, 0]);
  for (let step = 0; step < 8; step++) {
    const owners = dealDecode(held, step);
    assert.deepEqual(owners, [0, 1, 2, 3].map((b) => (b + step) % 4));
    owners.forEach((owner, b) => held[b][owner]++);
  }
});

test("every sequence decoding every step: each rank gets ceil(B / N) queries at most", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 12 }), fc.integer({ min: 1, max: 8 }), (B, N) => {
    const held = Array.from({ length: B }, () => new Array<number>(N).fill(0));
    for (let step = 0; step < 3 * N; step++) {
      const owners = dealDecode(held, step);
      for (let rank = 0; rank < N; rank++) assert.ok(owners.filter((o) => o === rank).length <= Math.ceil(B / N));
      owners.forEach((owner, b) => held[b][owner]++);
    }
  }));
});

test("after any steps the ranks' tokens of a sequence differ by at most 1", () => {
  const step = fc.record({ prefill: fc.boolean(), rows: fc.array(fc.nat(40), { minLength: 1, maxLength: 6 }) });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step, { maxLength: 60 }), (N, steps) => {
      const held = Array.from({ length: 6 }, () => new Array<number>(N).fill(0));
      steps.forEach(({ prefill, rows }, number) => {
        const taking = rows.map((n, b) => ({ n, b })).filter(({ n }) => n > 0);
        if (taking.length === 0) return;
        if (prefill) {
          for (const { n, b } of taking) {
            dealPrefill(n, held[b].reduce((sum, x) => sum + x, 0), held[b]).forEach((
              ranges,
              rank,
            ) => (held[b][rank] += count(ranges)));
          }
        } else {
          dealDecode(taking.map(({ b }) => held[b]), number).forEach((owner, i) => held[taking[i].b][owner]++);
        }
        for (const counts of held) assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `${counts}`);
      });
    }),
    { numRuns: 300 },
  );
});
