/** Layouts of other frameworks against vectors of their own tests, and what moves between two of them. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { LAYOUT_NAMES, layoutOf, PADDING } from "../../../engine/layout/catalog.ts";
import { transfersBetween } from "../../../engine/layout/transfers.ts";

const names = LAYOUT_NAMES.map((name) => name.replace("INTERLEAVE", "3"));
const shards = (name: string, length: number, ranks: number) =>
  layoutOf(name).deal(length, ranks).map((own) => [...own]);

test("Transformer Engine: 8 tokens on 2 ranks, and 6 tokens padded to 8", () => {
  assert.deepEqual(shards("te", 8, 2), [[0, 1, 6, 7], [2, 3, 4, 5]]);
  assert.deepEqual(shards("te", 6, 2), [[0, 1, PADDING, PADDING], [2, 3, 4, 5]]);
});

test("the others: what each does with 8 and with 10 tokens", () => {
  for (const name of ["megatron", "zigzag", "torch-headtail", "vllm-pcp", "sglang-zigzag", "ringside"]) {
    assert.deepEqual(shards(name, 8, 2), [[0, 1, 6, 7], [2, 3, 4, 5]], name);
  }
  assert.deepEqual(shards("sglang-zigzag", 10, 2), [[0, 1, 2, 8, 9], [3, 4, 5, 6, 7]]);
  assert.deepEqual(shards("striped", 7, 3), [[0, 3, 6], [1, 4, PADDING], [2, 5, PADDING]]);
  assert.deepEqual(shards("contiguous", 7, 3), [[0, 1, 2], [3, 4], [5, 6]]);
  assert.deepEqual(shards("vllm-dcp:2", 9, 2), [[0, 1, 4, 5, 8], [2, 3, 6, 7]]);
  for (const name of ["megatron", "zigzag", "torch-headtail"]) {
    assert.throws(
      () => shards(name, 10, 2),
      new RegExp(`^InputError: layout ${name}: found a sequence of 10 tokens, expected a multiple of 4`),
    );
  }
});

test("every token is on one rank, once, whatever the length", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.integer({ min: 0, max: 70 }),
      fc.integer({ min: 1, max: 6 }),
      (name, blocks, ranks) => {
        const length = ["megatron", "zigzag", "torch-headtail"].includes(name) ? 2 * ranks * blocks : blocks;
        const all = shards(name, length, ranks).flat().filter((token) => token !== PADDING);
        assert.deepEqual(all.sort((a, b) => a - b), Array.from({ length }, (_, t) => t));
      },
    ),
  );
});

test("names: what is wrong with one, and which was meant", () => {
  const refuses = (name: string, says: RegExp) =>
    assert.throws(() => layoutOf(name, "--layout"), { name: "InputError", message: says });
  refuses("tee", /^--layout: found "tee", expected ringside, te, .*; did you mean "te"\?$/);
  refuses("vllm-dcp", /expected vllm-dcp:INTERLEAVE, such as vllm-dcp:16$/);
  refuses("vllm-dcp:0", /expected vllm-dcp:INTERLEAVE/);
  refuses("te:4", /^--layout: found "te:4", expected te$/);
});

test("transfers: every token goes once from where it is to where it is wanted, in as few runs as lie together", () => {
  const dealt = (name: string, length: number, ranks: number) => layoutOf(name).deal(length, ranks);
  assert.deepEqual(transfersBetween(dealt("te", 8, 2), dealt("contiguous", 8, 2)), [
    { from: 0, to: 0, tokens: 2, runs: [{ start: 0, length: 2 }] },
    { from: 0, to: 1, tokens: 2, runs: [{ start: 6, length: 2 }] },
    { from: 1, to: 0, tokens: 2, runs: [{ start: 2, length: 2 }] },
    { from: 1, to: 1, tokens: 2, runs: [{ start: 4, length: 2 }] },
  ]);
  fc.assert(
    fc.property(
      fc.constantFrom("te", "striped", "contiguous", "vllm-dcp:3", "ringside"),
      fc.constantFrom("te", "striped", "contiguous", "vllm-dcp:5"),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 4 }),
      (a, b, length, from, to) => {
        const [one, two] = [dealt(a, length, from), dealt(b, length, to)];
        const moved: number[] = [];
        for (const transfer of transfersBetween(one, two)) {
          const tokens = transfer.runs.flatMap((run) => Array.from({ length: run.length }, (_, i) => run.start + i));
          assert.equal(tokens.length, transfer.tokens);
          for (const token of tokens) {
            assert.ok(one[transfer.from].includes(token) && two[transfer.to].includes(token));
          }
          moved.push(...tokens);
        }
        assert.deepEqual(moved.sort((x, y) => x - y), Array.from({ length }, (_, t) => t));
      },
    ),
  );
});
