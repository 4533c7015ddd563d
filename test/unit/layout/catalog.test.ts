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

test("vectors of the frameworks' own tests and comments", () => {
  const batch = (name: string, lengths: number[], ranks: number) =>
    layoutOf(name).dealBatch(lengths, ranks).map((own) => [...own]);
  // Transformer Engine, tests/pytorch/attention/test_cp_utils.py: two sequences of 8 tokens.
  const te = [[0, 1, 6, 7, 8, 9, 14, 15], [2, 3, 4, 5, 10, 11, 12, 13]];
  assert.deepEqual(batch("te", [8, 8], 2), te);
  // vllm-ascend's oracle of DualChunkSwap has the same rows, and these on 4 ranks.
  assert.deepEqual(batch("vllm-pcp", [8, 8], 2), te);
  assert.deepEqual(batch("vllm-pcp", [8, 8], 4), [[0, 7, 8, 15], [1, 6, 9, 14], [2, 5, 10, 13], [3, 4, 11, 12]]);
  // vLLM, pcp_manager.py: 7 tokens on 2 ranks; test_gpu_pcp_manager.py: the longest of 4 ranks has 3 of 9 tokens.
  assert.deepEqual(shards("vllm-pcp", 7, 2), [[0, 1, 6], [2, 3, 4, 5]]);
  assert.deepEqual(shards("vllm-pcp", 9, 4), [[0, 1], [2, 3], [4, 5], [6, 7, 8]]);
  // SGLang, test_cp_strategy_unit.py: 9 and 10 tokens on 4 ranks; every first chunk before the second ones.
  const sglang = batch("sglang-zigzag", [9, 10], 4);
  assert.deepEqual(sglang.map(({ length }) => length), [6, 5, 4, 4]);
  assert.deepEqual([sglang[0], sglang[2]], [[0, 1, 9, 10, 8, 18], [3, 13, 6, 16]]);
  // PyTorch, _load_balancer.py: the order of 8 tokens in its example.
  assert.deepEqual(shards("torch-headtail", 8, 4).flat(), [0, 7, 1, 6, 2, 5, 3, 4]);
  // vLLM, config/parallel.py: interleaving by 1 puts token t on rank t mod N.
  assert.deepEqual(shards("vllm-dcp:1", 7, 2), [[0, 2, 4, 6], [1, 3, 5]]);
  // By the count of vllm/v1/worker/gpu/cp_utils.py: what the last of 4 ranks holds of 10, 15, 20 and 25 tokens.
  assert.deepEqual([10, 15, 20, 25].map((length) => shards("vllm-dcp:1", length, 4)[3].length), [2, 3, 5, 6]);
});

test("the others: what each does with 8 and with 10 tokens", () => {
  for (const name of ["megatron", "zigzag", "torch-headtail", "vllm-pcp", "sglang-zigzag", "ringside"]) {
    assert.deepEqual(shards(name, 8, 2), [[0, 1, 6, 7], [2, 3, 4, 5]], name);
  }
  assert.deepEqual(shards("sglang-zigzag", 10, 2), [[0, 1, 2, 8, 9], [3, 4, 5, 6, 7]]);
  assert.deepEqual(shards("vllm-pcp", 10, 2), [[0, 1, 2, 9], [3, 4, 5, 6, 7, 8]]);
  assert.deepEqual(shards("striped", 7, 3), [[0, 3, 6], [1, 4], [2, 5]]);
  assert.deepEqual(shards("contiguous", 7, 3), [[0, 1, 2], [3, 4], [5, 6]]);
  assert.deepEqual(shards("vllm-dcp:2", 9, 2), [[0, 1, 4, 5, 8], [2, 3, 6, 7]]);
  for (const name of ["megatron", "zigzag", "torch-headtail"]) {
    assert.throws(
      () => shards(name, 10, 2),
      new RegExp(
        `^InputError: layout ${name}: found a sequence of 10 tokens, expected a multiple of 4: .*; pad it to 12$`,
      ),
    );
  }
  assert.throws(
    () => shards("sglang-zigzag", 3, 2),
    /^InputError: layout sglang-zigzag: found a sequence of 3 tokens, expected at least 4: .*; use fewer ranks$/,
  );
  for (const name of names) assert.match(layoutOf(name).source, /^https:/);
});

test("every token is on one rank, once, whatever the length", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(...names),
      fc.integer({ min: 0, max: 70 }),
      fc.integer({ min: 1, max: 6 }),
      (name, blocks, ranks) => {
        const whole = ["megatron", "zigzag", "torch-headtail", "sglang-zigzag"].includes(name);
        const length = whole ? 2 * ranks * blocks : blocks;
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
  refuses("te:4", /^--layout: found "te:4", expected te, which takes no number$/);
});

test("transfers: every token goes once from where it is to where it is wanted, in as few runs as lie together", () => {
  const dealt = (name: string, length: number, ranks: number) => layoutOf(name).deal(length, ranks);
  assert.deepEqual(transfersBetween(dealt("te", 8, 2), dealt("contiguous", 8, 2)), [
    { from: 0, to: 0, tokens: 2, contiguousRuns: 1, runs: [{ start: 0, length: 2 }] },
    { from: 0, to: 1, tokens: 2, contiguousRuns: 1, runs: [{ start: 6, length: 2 }] },
    { from: 1, to: 0, tokens: 2, contiguousRuns: 1, runs: [{ start: 2, length: 2 }] },
    { from: 1, to: 1, tokens: 2, contiguousRuns: 1, runs: [{ start: 4, length: 2 }] },
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
