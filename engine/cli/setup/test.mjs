// `npm test`: installs what is missing, then types and lint, the build, the adapters, the native worker's tests in
// Python, the unit tests in Node and in Deno, and the page's tests in a Chromium.
//
// Every stage runs even if one before it failed. A runtime without a WebGPU adapter, a stage without a single test and
// a stage that outlives its limit are failures.
// Where no Python can be set up, the worker's tests are not run, which is said at the end; with
// RINGSIDE_WORKER=required that is a failure.
// The last line is `N passed, N failed`, summed over the stages.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { describe, findAdapter, findChromium } from "./adapter.mjs";
import { build } from "./build.mjs";
import { checks } from "./check.mjs";
import { denoPath, endOnSignal, root, run, runMain, SetupError, since } from "./common.mjs";
import { install } from "./install.mjs";
import { installWorkerPython } from "./python.mjs";

/** The worker before the units: some of those start one. */
const STAGES = ["check", "build", "adapters", "worker", "unit-node", "unit-deno", "e2e"];
const STAGE_LIMIT_MS = 30 * 60_000;
const USAGE = `usage: npm test -- [--only STAGE[,STAGE]] [TEXT ...]
  --only   ${STAGES.join(", ")}
  TEXT     of the worker, unit and e2e tests, only files whose path has it`;

function readOptions(args) {
  let only = STAGES;
  const texts = [];
  for (let i = 0; i < args.length; i++) {
    const value = args[i].startsWith("--only=")
      ? args[i].slice("--only=".length)
      : args[i] === "--only"
      ? args[++i] ?? ""
      : undefined;
    if (args[i] === "--help" || args[i] === "-h") return { help: true };
    else if (value !== undefined) {
      only = value.split(",");
      const unknown = only.find((name) => !STAGES.includes(name));
      if (unknown !== undefined) {
        throw new SetupError(`--only: found "${unknown}", expected of ${STAGES.join(", ")}`, 2);
      }
    } else if (args[i].startsWith("-")) {
      throw new SetupError(`found "${args[i]}", expected --only or a part of a file's path\n${USAGE}`, 2);
    } else texts.push(args[i]);
  }
  return { only, texts };
}

/** Test files below a folder of the project, in a fixed order. */
function testFiles(folder, ending, texts) {
  const all = [];
  const walk = (at) => {
    for (
      const entry of existsSync(path.join(root, at)) ? readdirSync(path.join(root, at), { withFileTypes: true }) : []
    ) {
      const file = `${at}/${entry.name}`;
      if (entry.isDirectory()) walk(file);
      else if (file.endsWith(ending)) all.push(file);
    }
  };
  walk(folder);
  return all.filter((file) => texts.length === 0 || texts.some((text) => file.includes(text))).sort();
}

const number = (text, pattern) => Number(text.match(pattern)?.[1] ?? 0);

/** What each runner's closing summary says. */
const COUNTS = {
  node: (out) => ({
    passed: number(out, /^ℹ pass (\d+)$/m),
    failed: number(out, /^ℹ fail (\d+)$/m) + number(out, /^ℹ cancelled (\d+)$/m),
    skipped: number(out, /^ℹ skipped (\d+)$/m),
  }),
  deno: (out) => {
    const last = out.split("\n").findLast((line) => /\d+ passed.*\| \d+ failed/.test(line)) ?? "";
    return {
      passed: number(last, /(\d+) passed/),
      failed: number(last, /(\d+) failed/),
      skipped: number(last, /(\d+) ignored/),
    };
  },
  pytest: (out) => {
    const last = out.split("\n").findLast((line) => /\b(passed|failed|errors?|skipped)\b.* in [\d.]+s/.test(line)) ??
      "";
    return {
      passed: number(last, /(\d+) passed/),
      failed: number(last, /(\d+) failed/) + number(last, /(\d+) error/),
      skipped: number(last, /(\d+) skipped/),
    };
  },
  playwright: (out) => ({
    passed: number(out, /^ +(\d+) passed\b/m),
    failed: number(out, /^ +(\d+) failed$/m) + number(out, /^ +(\d+) flaky$/m) + number(out, /^ +(\d+) did not run$/m) +
      number(out, /^ +(\d+) interrupted$/m),
    skipped: number(out, /^ +(\d+) skipped$/m),
  }),
};

/** Runs a test runner; one that ends badly without a failed test to show for it counts as one failure. */
async function runTests(count, file, args, env) {
  const result = await run(file, args, {
    env: { ...env, DENO_NO_UPDATE_CHECK: "1" },
    output: "tee",
    limitMs: STAGE_LIMIT_MS,
  });
  const counts = count(result.out);
  if (result.timedOut) console.log(`stopped: it took longer than ${STAGE_LIMIT_MS / 60_000} minutes`);
  if (result.code === 0 && counts.passed + counts.failed === 0) {
    console.log("no test ran: that counts as a failure");
    counts.failed = 1;
  }
  if (result.code !== 0 && counts.failed === 0) {
    console.log(
      `the runner ended with status ${result.code}${
        result.signal ? ` (${result.signal})` : ""
      } without naming a failed test: that counts as a failure`,
    );
    counts.failed = 1;
  }
  return counts;
}

/** No colours: the summary lines are read. (Playwright sets FORCE_COLOR for its own processes and would warn.) */
const plain = (env) => ({ ...env, NO_COLOR: "1", FORCE_COLOR: undefined });

/** The environment in which the runtime has its adapter; without one the tests still run, and fail by themselves. */
async function adapterEnv(runtime) {
  try {
    const found = await findAdapter(runtime);
    console.log(`adapter: ${describe(found)}`);
    return plain(found.env);
  } catch (error) {
    console.log(error.message);
    return plain(process.env);
  }
}

/** Each thing to do is one count; it fails when it throws. */
async function each(steps) {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const [label, step] of steps) {
    const start = performance.now();
    try {
      const said = await step();
      counts.passed++;
      console.log(`ok      ${label} (${since(start)})${said ? `: ${said}` : ""}`);
    } catch (error) {
      counts.failed++;
      console.log(`FAILED  ${label} (${since(start)}): ${error instanceof SetupError ? error.message : error.stack}`);
    }
  }
  return counts;
}

const NO_FILE = "no test file was found: that counts as a failure";
const bin = (...names) => path.join(root, "node_modules", ...names);

const stages = {
  check: () => each(checks),
  build: () => each([["build", () => build()]]),
  adapters: () =>
    each([
      ["a WebGPU adapter for Node", async () => describe(await findAdapter("node"))],
      ["a WebGPU adapter for Deno", async () => describe(await findAdapter("deno"))],
      ["a WebGPU adapter in Chromium", async () => describe(await findChromium({ webgpu: true }))],
    ]),
  worker: async (texts) => {
    const files = testFiles("cuda-bridge/worker/tests", ".py", texts).filter((file) =>
      path.basename(file).startsWith("test_")
    );
    if (!files.length) throw new SetupError(NO_FILE);
    let python;
    try {
      python = await installWorkerPython();
    } catch (error) {
      if (!(error instanceof SetupError) || process.env.RINGSIDE_WORKER === "required") throw error;
      console.log(error.message);
      const tests = files.reduce(
        (sum, file) => sum + (readFileSync(path.join(root, file), "utf8").match(/^def test_/gm) ?? []).length,
        0,
      );
      return { passed: 0, failed: 0, skipped: tests, warning: `THE NATIVE WORKER WAS NOT TESTED: ${error.message}` };
    }
    console.log(`Python: ${python}`);
    return runTests(COUNTS.pytest, python, [
      "-m",
      "pytest",
      "--quiet",
      "--timeout",
      "120",
      "--color",
      "no",
      "-p",
      "no:cacheprovider",
      ...files,
    ], plain(process.env));
  },
  "unit-node": async (texts) => {
    await build();
    const files = testFiles("dist/test/unit", ".test.js", texts);
    if (!files.length) throw new SetupError(NO_FILE);
    // One file at a time: each starts ranks of its own, and on a software adapter every rank wants a core. Files are
    // named since Node 20 knows no patterns.
    return runTests(
      COUNTS.node,
      process.execPath,
      ["--test", "--test-reporter=spec", "--test-concurrency=1", ...files],
      await adapterEnv("node"),
    );
  },
  "unit-deno": async (texts) => {
    const files = testFiles("test/unit", ".test.ts", texts);
    if (!files.length) throw new SetupError(NO_FILE);
    return runTests(COUNTS.deno, denoPath(), ["test", "-A", "--no-check", ...files], await adapterEnv("deno"));
  },
  e2e: (texts) =>
    runTests(
      COUNTS.playwright,
      process.execPath,
      [bin("@playwright", "test", "cli.js"), "test", ...texts],
      process.env,
    ),
};

runMain(async (args) => {
  const { help, only, texts } = readOptions(args);
  if (help) {
    console.log(USAGE);
    return 0;
  }
  endOnSignal();
  const begin = performance.now();
  await install();
  const total = { passed: 0, failed: 0, skipped: 0 };
  const lines = [], warnings = [];
  for (const name of STAGES.filter((stage) => only.includes(stage))) {
    console.log(`\n== ${name}`);
    const start = performance.now();
    let counts;
    try {
      counts = await stages[name](texts);
    } catch (error) {
      console.log(error instanceof SetupError ? error.message : error.stack);
      counts = { passed: 0, failed: 1, skipped: 0 };
    }
    for (const key of Object.keys(total)) total[key] += counts[key];
    if (counts.warning) warnings.push(counts.warning);
    const line = `${name.padEnd(10)} ${counts.passed} passed, ${counts.failed} failed${
      counts.skipped ? `, ${counts.skipped} skipped` : ""
    }, ${since(start)}`;
    lines.push(line);
    console.log(`== ${line}`);
  }
  console.log(
    `\n${lines.join("\n")}\nall        in ${since(begin)}${total.skipped ? `, ${total.skipped} skipped` : ""}\n`,
  );
  for (const warning of warnings) console.log(`${warning}\n`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  return total.failed ? 1 : 0;
});
