/**
 * Somebody else's ring: PyTorch over gloo on four ranks, with faults planted in turn and dumped in three layouts
 * (cuda-bridge/examples/ring_dump.py). Each is found and named, by shards or by partials.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import process from "node:process";
import { compare } from "../../../engine/cli/compare.ts";
import { workerPython, workerTest } from "../bridge/real-worker.ts";
import { thorough } from "../../tiers.ts";
import { call, findRoot, inFolder } from "../cli/command.ts";

const LAYOUTS = ["te", "striped", "zigzag"] as const;

/** The fault, and what shows it: the ranks' results, or what they dumped hop by hop. */
const FAULTS: readonly (readonly [fault: string, where: readonly ("shards" | "partials")[]])[] = [
  ["scale-missing", ["shards", "partials"]],
  ["causal-off-by-one", ["shards", "partials"]],
  ["no-mask", ["shards", "partials"]],
  ["window-for-causal", ["shards", "partials"]],
  ["kv-heads-interleaved", ["shards", "partials"]],
  ["mask-by-local-position", ["shards", "partials"]],
  ["padding-attended", ["shards", "partials"]],
  ["merge-unweighted", ["shards"]],
  ["lse-base-2", ["shards"]],
  ["hop-missing", ["shards"]],
];

/** Runs the ring and dumps to a folder. */
async function dumped(folder: string, layout: string, fault: string): Promise<void> {
  const script = path.join(findRoot(), "cuda-bridge", "examples", "ring_dump.py");
  const run = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "4", script];
  const child = spawn(workerPython!, [...run, "--out", folder, "--layout", layout, "--fault", fault], {
    env: { ...process.env, OMP_NUM_THREADS: "1" },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let log = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (log += text));
  const [code] = await once(child, "exit");
  assert.equal(code, 0, log);
}

/** What compare says of a dump. */
async function judged(folder: string, layout: string, where: "shards" | "partials") {
  const files = where === "shards"
    ? ["--shards", path.join(folder, "o_rank{rank}.npy"), "--lse", path.join(folder, "lse_rank{rank}.npy")]
    : ["--partials", path.join(folder, "p_r{rank}_h{hop}.npz")];
  const options = ["--tensors", path.join(folder, "qkv.npz"), ...files, "--layout", layout, "--ranks", "4"];
  const { status, stdout } = await call(compare, [...options, "--backend", "cpu", "--json"]);
  return { status, ...JSON.parse(stdout) };
}

for (const layout of LAYOUTS) {
  workerTest(`a ring of PyTorch's in ${layout}: right, then with each fault`, async () => {
    await inFolder(async (folder) => {
      // A length that 2N divides has no padding.
      const planted = FAULTS.filter(([fault]) => fault !== "padding-attended" || layout !== "zigzag");
      await dumped(folder, layout, ["none", ...planted.map(([fault]) => fault)].join());
      for (const where of ["shards", "partials"] as const) {
        const { status, ok, hypotheses } = await judged(path.join(folder, "none"), layout, where);
        assert.deepEqual([status, ok, hypotheses], [0, true, []], `right ${where}`);
      }
      for (const [fault, places] of planted) {
        for (const where of places) {
          const { status, first, hypotheses } = await judged(path.join(folder, fault), layout, where);
          assert.equal(status, 1, `${fault} ${where}`);
          assert.equal(hypotheses[0]?.name, fault, `${fault} ${where}: ${JSON.stringify(hypotheses)}`);
          assert.equal(first.hop === null, where === "shards");
        }
      }
    });
  }, thorough);
}
