/** `ringside plan`, `paper` and `policy`: one JSON document, tables, files, and errors that name bad input. */
import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import test from "node:test";
import { paper } from "../../../engine/cli/paper.ts";
import { plan } from "../../../engine/cli/plan.ts";
import { policy } from "../../../engine/cli/policy.ts";
import { InputError } from "../../../engine/errors.ts";
import type { PaperReport, Plan, Sweep } from "../../../engine/plan/index.ts";
import type { Choice } from "../../../engine/policy/index.ts";
import { expectNoOverlap } from "../trace/overlaps.ts";

type Run = (
  argv: readonly string[],
  io: { stdout: (text: string) => void; stderr: (text: string) => void },
) => Promise<number>;

async function call(command: Run, ...argv: string[]): Promise<{ status: number; stdout: string; stderr: string }> {
  let [stdout, stderr] = ["", ""];
  const status = await command(argv, { stdout: (t) => void (stdout += t), stderr: (t) => void (stderr += t) });
  return { status, stdout, stderr };
}

async function json<T>(command: Run, ...argv: string[]): Promise<T> {
  const { status, stdout, stderr } = await call(command, ...argv, "--json");
  assert.equal(status, 0);
  assert.equal(stderr, "");
  assert.equal(stdout.trimEnd().split("\n").length, 1);
  return JSON.parse(stdout) as T;
}

const refused = (message: RegExp) => (e: unknown) =>
  e instanceof InputError && !e.message.includes("\n") && message.test(e.message);

async function folder<T>(use: (dir: string) => Promise<T>): Promise<T> {
  const dir = await mkdtemp(path.join(tmpdir(), "ringside-plan-"));
  try {
    return await use(dir);
  } finally {
    await rm(dir, { recursive: true });
  }
}

test("plan --json: ttft in seconds, variant and reason, breakdown, memory, rates", async () => {
  const p = await json<Plan>(
    plan,
    "--model",
    "llama3-405b",
    "--cluster",
    "gtt",
    "--cp",
    "4",
    "--tp",
    "8",
    "--new",
    "128000",
  );
  assert.ok(Math.abs(p.ttft! / 10.95 - 1) < 0.05);
  assert.equal(p.variant, "pass-kv");
  assert.deepEqual(Object.keys(p.breakdown), ["gemm", "attention", "exposed", "all2all", "allreduce", "launch"]);
  assert.equal(p.memory.fits, true);
  assert.ok(p.flopsPerGpu > 4e14 && p.parallelEfficiency > 0.9 && p.parallelEfficiency <= 1);
});

test("plan --json describes the model: its weights, and KV bytes and FLOPs for a token", async () => {
  const { model } = JSON.parse(
    (await call(plan, "--new", "5", "--model", "llama3-8b", "--kv-bytes", "1", "--json")).stdout,
  ) as { model: Record<string, unknown> };
  assert.deepEqual({ ...model, source: "" }, {
    name: "llama3-8b",
    parameters: 8_029_995_008,
    kvBytesPerToken: 2 * 8 * 128 * 32,
    flopsPerToken: 2 * 8_029_995_008,
    source: "",
  });
});

test("plan --mask and --dealing: the masks of the layers, what travels, and why a dealing", async () => {
  const argv = ["--model", "gemma3-27b", "--new", "131072", "--cp", "8"];
  const own = (await call(plan, ...argv)).stdout;
  assert.match(
    own,
    /^mask {8}window:1024 in 52 layers, causal in 10 layers\ndealing {5}contiguous\nbecause {5}contiguous is/m,
  );
  const asked = await json<Plan>(
    plan,
    ...argv,
    "--mask",
    "window:4096",
    "--sink-tokens",
    "4",
    "--dealing",
    "head-tail",
  );
  assert.deepEqual(asked.kinds.map(({ mask, layers }) => [mask, layers]), [
    [{ kind: "window", size: 4096, sinkTokens: 4 }, 62],
  ]);
  assert.deepEqual([asked.dealing, asked.dealingReason], ["head-tail", "head-tail as requested"]);
  assert.doesNotMatch((await call(plan, "--new", "5")).stdout, /^(mask|dealing)/m);
  const swept = await call(plan, "--sweep", "--max-gpus", "16", "--model", "gemma3-12b", "--new", "131072");
  assert.match(swept.stdout, /variant +dealing +time/);
  await assert.rejects(call(plan, ...argv, "--mask", "window"), refused(/--mask: found "window"/));
  await assert.rejects(
    call(plan, ...argv, "--dealing", "odd"),
    refused(/--dealing: found "odd", expected auto or head-/),
  );
});

test("plan --decode gives ttit; a plan that does not fit is printed, with a line on stderr", async () => {
  const p = await json<Plan>(plan, "--cp", "2", "--tp", "8", "--decode", "--cached", "128000");
  assert.ok(p.ttft === undefined && Math.abs(p.ttit! / 0.06023 - 1) < 0.2);
  const { status, stdout, stderr } = await call(plan, "--new", "1000000", "--json");
  assert.equal(status, 0);
  assert.match(stderr, /does not fit: needs/);
  assert.equal((JSON.parse(stdout) as Plan).memory.fits, false);
});

test("plan --sweep --ttft: rows, the front, and the smallest layout that reaches the target", async () => {
  const s = await json<Sweep>(plan, "--sweep", "--max-gpus", "128", "--new", "1000000", "--ttft", "100");
  assert.equal(s.best?.gpus, 128);
  assert.ok(s.pareto.length > 0 && s.rows.length > 50);
  assert.match(
    (await call(plan, "--sweep", "--max-gpus", "64", "--new", "1000000", "--ttft", "60")).stdout,
    /no layout that fits on up to 64 GPUs reaches 60 s/,
  );
});

test("plan takes a config.json and a cluster's JSON, and writes a trace", () =>
  folder(async (dir) => {
    const [config, cluster, trace] = ["config.json", "cluster.json", "trace.json"].map((name) => path.join(dir, name));
    await writeFile(
      config,
      JSON.stringify({
        num_hidden_layers: 4,
        hidden_size: 512,
        num_attention_heads: 8,
        num_key_value_heads: 2,
        intermediate_size: 2048,
        vocab_size: 1000,
      }),
    );
    await writeFile(cluster, JSON.stringify({ accelerator: "h200", fabric: "gti", gpusPerHost: 2 }));
    const p = await json<Plan>(
      plan,
      "--model",
      config,
      "--cluster",
      cluster,
      "--cp",
      "3",
      "--tp",
      "2",
      "--new",
      "999",
      "--trace",
      trace,
    );
    assert.equal(p.hosts, 3);
    const text = await readFile(trace, "utf8");
    expectNoOverlap(text);
    const { traceEvents } = JSON.parse(text) as { traceEvents: { ph: string; cat?: string }[] };
    assert.equal(traceEvents.filter((e) => e.cat === "attend").length, 9);
    await writeFile(config, "{");
    await assert.rejects(
      call(plan, "--model", config, "--new", "5"),
      refused(/--model .*config\.json: found no JSON \(.*\), expected a JSON object$/),
    );
    await assert.rejects(
      call(plan, "--model", path.join(dir, "no.json"), "--new", "5"),
      refused(/cannot be read \(ENOENT\)/),
    );
  }));

test("plan --slow and --jitter disturb a plan repeatably", async () => {
  const argv = ["--cp", "4", "--new", "16000", "--variant", "pass-kv"];
  const even = await json<Plan>(plan, ...argv);
  assert.ok((await json<Plan>(plan, ...argv, "--slow", "1=2")).seconds > even.seconds);
  assert.equal(
    (await json<Plan>(plan, ...argv, "--jitter", "0.1,7")).seconds,
    (await json<Plan>(plan, ...argv, "--jitter", "0.1,7")).seconds,
  );
});

test("plan's bad input", async () => {
  const bad: readonly [string[], RegExp][] = [
    [["--cp", "4"], /--new: not given/],
    [["--new", "x"], /--new: found "x"/],
    [["--new", "5", "--variant", "pass"], /--variant: found "pass", expected auto or pass-kv or pass-q/],
    [["--new", "5", "--nonsense"], /--nonsense.*known options: --model/],
    [["--new", "5", "--model", "gpt"], /model: found "gpt", expected one of /],
    [["--new", "5", "--cluster", "moon"], /cluster: found "moon", expected one of /],
    [["--new", "5", "--tp", "3"], /tp 3 does not divide/],
    [["--new", "5", "--ttft", "3"], /--ttft: found without --sweep/],
    [["--new", "5", "--sweep", "--cp", "3"], /--sweep: found beside --cp, expected it alone/],
    [["--new", "5", "--slow", "9=2"], /--slow: found "9=2", expected RANK=FACTOR/],
    [["--new", "5", "--jitter", "2"], /--jitter: found "2"/],
    [["--new", "5", "--cp", "1e9"], /^cp: found 1000000000, expected at most 65536: the planner simulates each hop$/],
    [
      ["--new", "5", "--cp", "2k", "--every-rank"],
      /^cp: found 2000, expected at most 1024: the planner simulates every rank, N x N hops; /,
    ],
    [
      ["--new", "5", "--cp", "2k", "--jitter", "0.1"],
      /^cp: found 2000, expected at most 1024: the planner simulates every rank/,
    ],
    [["--new", "1e15"], /^new: found 1000000000000000, expected at most 1000000000000: /],
    [["--new", "5", "--cached", "1e15"], /^cached: found 1000000000000000, expected at most /],
    [["--new", "5", "--batch", "1e9"], /^batch: found 1000000000, expected at most 1000000: /],
    [
      ["--new", "5", "--tp", "1e9"],
      /^tp: found 1000000000, expected at most 128: each GPU needs at least one of the 128 query heads/,
    ],
    [
      ["--new", "5", "--kv-bytes", "99"],
      /^kvBytes: found 99, expected the bytes of an element: above 0, and at most 8/,
    ],
    [
      ["--new", "5", "--sweep", "--max-gpus", "1e6"],
      /^--max-gpus: found "1e6", expected a whole number from 1 to 4096: a sweep simulates every layout$/,
    ],
    [["--new", "5", "--cp", "300", "--trace", "/tmp/t.json"], /--trace: found --cp 300, expected at most 256/],
  ];
  for (const [argv, message] of bad) await assert.rejects(call(plan, ...argv), refused(message), argv.join(" "));
});

test("paper: every table, and as JSON", async () => {
  const { status, stdout } = await call(paper);
  assert.equal(status, 0);
  for (
    const name of [
      "Table 2",
      "Table 3",
      "Table 4",
      "Table 5",
      "Table 6",
      "Table 7",
      "Table 8",
      "Headline",
      "Errors",
      "Parameters",
      "Where the paper contradicts itself",
    ]
  ) assert.ok(stdout.includes(`${name}\n`), name);
  const report = await json<PaperReport>(paper);
  assert.ok(report.rows.length > 90);
  assert.ok(report.rows.every((r) => ["calibrated", "predicted", "formula"].includes(r.origin)));
});

test("policy: the choice, its terms, its reason; one rank has no border", async () => {
  const argv = ["--new", "3200", "--cached", "124800", "--ranks", "4", "--heads", "128", "--kv-heads", "8"];
  const choice = await json<Choice>(policy, ...argv, "--rule", "alg1");
  assert.equal(choice.variant, "pass-q");
  assert.equal(choice.terms.newEq2, 4000);
  assert.match((await call(policy, ...argv)).stdout, /^pass-kv by alg5 \(tie\)/);
  assert.equal(
    (await json<Choice>(policy, "--new", "1", "--ranks", "1", "--heads", "1", "--kv-heads", "1")).terms.margin,
    null,
  );
  const latent = await json<Choice>(policy, ...argv, "--head-dim", "576", "--v-prefix", "512");
  assert.equal(latent.terms.kvElements, 8 * 576);
  const windowed = await call(policy, ...argv, "--mask", "window:4096+4", "--dealing", "contiguous");
  assert.match(windowed.stdout, /^pass-kv by bytes sent\nunder window:4096\+4, dealt contiguous, all ranks send/);
  await assert.rejects(
    call(policy, ...argv, "--v-prefix", "129"),
    refused(/--v-prefix: found "129".*from 16 to K's D = 128/),
  );
  await assert.rejects(call(policy, "--new", "5", "--ranks", "2", "--heads", "4"), refused(/--kv-heads: not given/));
  await assert.rejects(call(policy, ...argv, "--rule", "best"), refused(/--rule: found "best", expected alg1 or alg5/));
});

test("--help shows each command's options", async () => {
  for (const command of [plan, paper, policy]) assert.match((await call(command, "--help")).stdout, /--json/);
});

/** Milliseconds from the abort, `after` milliseconds into `work`, until `work` has ended. */
async function stopped(work: (signal: AbortSignal) => Promise<unknown>, after: number): Promise<number> {
  const controller = new AbortController();
  let aborted = 0;
  setTimeout(() => {
    aborted = performance.now();
    controller.abort(new DOMException("cancelled", "AbortError"));
  }, after);
  await assert.rejects(work(controller.signal), { name: "AbortError" });
  return performance.now() - aborted;
}

test("a signal ends a plan, a sweep and the paper at once", async () => {
  const io = (signal: AbortSignal) => ({ stdout: () => {}, stderr: () => {}, signal });
  // A wide bound, because others may use the machine. At the command line, the bar is 0.2 s.
  for (
    const argv of [["--new", "128k", "--cp", "1000", "--every-rank"], [
      "--sweep",
      "--new",
      "128k",
      "--max-gpus",
      "4096",
    ]]
  ) {
    const late = await stopped((signal) => plan(argv, io(signal)), 60);
    assert.ok(late < 1000, `${argv.join(" ")}: ${late} ms`);
  }
  // The paper's cells take only about 100 ms in all, so this checks that it doesn't begin after its signal.
  await assert.rejects(paper([], io(AbortSignal.abort())), { name: "AbortError" });
});

test("a simulation that yields the thread gives the same result as one that doesn't", async () => {
  // 300 ranks take several turns. One rank that stands for all 300 takes none.
  const p = async (...more: string[]) => (await json<Plan>(plan, "--cp", "300", "--new", "120000", ...more)).seconds;
  const [each, one] = [await p("--every-rank"), await p()];
  assert.ok(Math.abs(each / one - 1) < 1e-9, `${each} and ${one}`);
});
