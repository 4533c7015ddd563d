// `npm test`: installs what is missing, then checks types, lint and formats, builds, finds the adapters, and runs the
// unit tests in Node and in Deno, the page's tests in a Chromium and, if its Python is set up, the native worker's.
//
// `npm run test:all` (--all) also runs the tests marked thorough (test/tiers.ts) and sets up the worker's Python first.
// So does a run that names files or titles: what is named runs whole.
//
// Every stage runs even if an earlier one failed. A runtime without a WebGPU adapter, a stage without a single test and
// a stage that outlives its limit are failures. If no Python can be set up, the last lines say that the worker was not
// tested; with RINGSIDE_WORKER=required that is a failure. The last line is `N passed, N failed`, over all stages.
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { describe, findAdapter } from "./adapter.mjs";
import { build } from "./build.mjs";
import { checks } from "./check.mjs";
import { findChromium } from "./chromium.mjs";
import { denoPath, endOnSignal, root, run, runMain, SetupError, since } from "./common.mjs";
import { install } from "./install.mjs";
import { findWorkerPython, installWorkerPython } from "./python.mjs";
import { count, readJUnit, readLines } from "./test-results.mjs";
import { watch } from "./watch.mjs";

const STAGES = ["check", "build", "adapters", "unit-node", "unit-deno", "worker", "e2e", "package"];
/**
 * The long stages, side by side: many tests wait (for a timeout, a process that starts, one busy rank), and two cores
 * are then both busy. The brief set runs three at a time, the whole set two, since the worker's tests wait less.
 */
const LONG = ["worker", "unit-node", "e2e", "unit-deno", "package"];
const STAGE_LIMIT_MS = 30 * 60_000;
const SLOWEST = 10;
const USAGE = `usage: npm test -- [--all] [--only STAGE[,STAGE]] [--grep PATTERN] [--watch] [TEXT ...]
  --all    also the thorough tests, and the native worker's (as npm run test:all)
  --only   ${STAGES.join(", ")}
  --grep   only tests whose title matches this regular expression
  --watch  run unit tests in Node whenever a source changes: those that TEXT names, else those that import what changed
  TEXT     only test files whose path has it, in whichever stages have some; neither checks nor adapters then`;

function readOptions(args) {
  const options = { all: false, only: STAGES, grep: undefined, watch: false, texts: [], help: false };
  for (let i = 0; i < args.length; i++) {
    const [, flag, inline] = args[i].match(/^(--\w+)(?:=(.*))?$/s) ?? [];
    const value = () => inline ?? args[++i] ?? "";
    if (args[i] === "--help" || args[i] === "-h") options.help = true;
    else if (flag === "--all") options.all = true;
    else if (flag === "--watch") options.watch = true;
    else if (flag === "--grep") {
      options.grep = value();
      try {
        new RegExp(options.grep);
      } catch (error) {
        throw new SetupError(`--grep: ${error.message}`, 2);
      }
    } else if (flag === "--only") {
      options.only = value().split(",");
      const unknown = options.only.find((name) => !STAGES.includes(name));
      if (unknown !== undefined) throw new SetupError(`--only: found "${unknown}", expected ${STAGES.join(", ")}`, 2);
    } else if (args[i].startsWith("-")) throw new SetupError(`found "${args[i]}", expected one of these\n${USAGE}`, 2);
    else options.texts.push(args[i]);
  }
  return options;
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

/** The test files of each stage that has some. */
const FILES = {
  "unit-node": (texts) => testFiles("test/unit", ".test.ts", texts),
  "unit-deno": (texts) => testFiles("test/unit", ".test.ts", texts),
  worker: (texts) =>
    testFiles("cuda-bridge/worker/tests", ".py", texts).filter((file) => path.basename(file).startsWith("test_")),
  e2e: (texts) => testFiles("test/e2e", ".spec.ts", texts),
  package: (texts) => testFiles("test/package", ".test.mjs", texts),
};

/** A stage that failed as a whole: one failure, by that name. */
const failed = (name, failure) => ({
  passed: 0,
  failed: 1,
  skipped: 0,
  tests: [{ file: "", name, seconds: 0, failure }],
});

/**
 * Runs a test runner and reads what it reported. One that ends badly without naming a failed test counts as a failure,
 * as does one that ran no test.
 */
async function runTests({ say, grep, file, args, env, report, read }) {
  const limits = { output: say, limitMs: STAGE_LIMIT_MS };
  const result = await run(file, args, { env: { ...env, DENO_NO_UPDATE_CHECK: "1" }, ...limits });
  const tests = existsSync(report) ? read(readFileSync(report, "utf8")) : [];
  const counts = { ...count(tests), tests };
  const said = (result.err || result.out).trim().slice(-2000);
  const why = result.timedOut
    ? `stopped after ${STAGE_LIMIT_MS / 60_000} minutes`
    : result.code === 0 && grep === undefined && counts.passed + counts.failed === 0
    ? "no test ran"
    : result.code !== 0 && counts.failed === 0 && !(grep !== undefined && counts.passed === 0)
    ? `status ${result.code}${result.signal ? ` (${result.signal})` : ""}, but no failed test is named`
    : undefined;
  if (why === undefined) return counts;
  say(`${why}: that counts as a failure\n`);
  return { ...counts, failed: counts.failed + 1, tests: [...tests, ...failed(why, said).tests] };
}

/** No colours in logs. (Playwright sets FORCE_COLOR for its own processes and would warn.) */
const plain = (env) => ({ ...env, NO_COLOR: "1", FORCE_COLOR: undefined });

/** The environment in which the runtime has its adapter. Without one the tests still run, and fail one by one. */
async function adapterEnv(runtime, say) {
  try {
    const found = await findAdapter(runtime);
    say(`adapter: ${describe(found)}\n`);
    return plain(found.env);
  } catch (error) {
    say(`${error.message}\n`);
    return plain(process.env);
  }
}

/** Each step is one test; it fails if it throws. */
async function each(say, steps) {
  const tests = [];
  for (const [name, step] of steps) {
    const start = performance.now();
    let failure;
    try {
      const said = await step();
      say(`ok      ${name} (${since(start)})${said ? `: ${said}` : ""}\n`);
    } catch (error) {
      failure = error instanceof SetupError ? error.message : error.stack;
      say(`FAILED  ${name} (${since(start)}): ${failure}\n`);
    }
    tests.push({ file: "", name, seconds: (performance.now() - start) / 1000, failure });
  }
  return { ...count(tests), tests };
}

const bin = (...names) => path.join(root, "node_modules", ...names);
const given = (flag, grep) => grep === undefined ? [] : [flag, grep];

/** Tests in Node. One file at a time: each starts its own ranks, and on a software adapter every rank wants a core. */
function nodeTests({ say, grep, folder, files, env }) {
  const report = path.join(folder, `node-${performance.now()}.jsonl`);
  const reporter = path.join(root, "engine", "cli", "setup", "node-reporter.mjs");
  return runTests({
    say,
    grep,
    file: process.execPath,
    args: [
      ...["--enable-source-maps", "--test", "--test-concurrency=1"],
      ...["--test-reporter=spec", "--test-reporter-destination=stdout"],
      ...[`--test-reporter=${reporter}`, `--test-reporter-destination=${report}`],
      ...given("--test-name-pattern", grep),
      ...files,
    ],
    env,
    report,
    read: readLines,
  });
}

const stages = {
  check: ({ say }) => each(say, checks),
  build: ({ say }) => each(say, [["build", () => build({ quiet: true })]]),
  adapters: ({ say }) =>
    each(say, [
      ["a WebGPU adapter for Node", async () => describe(await findAdapter("node"))],
      ["a WebGPU adapter for Deno", async () => describe(await findAdapter("deno"))],
      ["a WebGPU adapter in Chromium", async () => describe(await findChromium({ webgpu: true }))],
    ]),
  "unit-node": async (context) => {
    await build({ quiet: true });
    // Node's tests are the built ones, by name: Node 20 knows no patterns.
    const files = FILES["unit-node"](context.texts).map((file) => `dist/${file.replace(/\.ts$/, ".js")}`);
    return await nodeTests({ ...context, files, env: { ...await adapterEnv("node", context.say), ...context.env } });
  },
  "unit-deno": async ({ say, texts, grep, folder, env }) => {
    // The documents' scripts import the built package.
    await build({ quiet: true });
    const report = path.join(folder, "deno.xml");
    return runTests({
      say,
      grep,
      file: denoPath(),
      args: [
        ...["test", "-A", "--no-check", `--junit-path=${report}`],
        ...(grep === undefined ? [] : ["--filter", `/${grep}/`]),
        ...FILES["unit-deno"](texts),
      ],
      env: { ...await adapterEnv("deno", say), ...env },
      report,
      read: readJUnit,
    });
  },
  worker: async ({ say, all, texts, grep, folder, env }) => {
    const { python, reason } = await findWorkerPython();
    if (python === undefined) {
      if (process.env.RINGSIDE_WORKER === "required") throw new SetupError(reason);
      const how = all ? reason : `${reason} npm run test:all sets it up.`;
      say(`${how}\n`);
      return { passed: 0, failed: 0, skipped: 0, tests: [], warning: `THE NATIVE WORKER WAS NOT TESTED: ${how}` };
    }
    say(`Python: ${python}\n`);
    const report = path.join(folder, "worker.xml");
    return runTests({
      say,
      grep,
      file: python,
      args: [
        ...["-m", "pytest", "--quiet", "--timeout", "120", "--color", "no", "-p", "no:cacheprovider"],
        ...[`--junit-xml=${report}`, ...given("--grep", grep), ...FILES.worker(texts)],
      ],
      env: { ...plain(process.env), ...env },
      report,
      read: readJUnit,
    });
  },
  package: (context) =>
    nodeTests({ ...context, files: FILES.package(context.texts), env: { ...plain(process.env), ...context.env } }),
  e2e: ({ say, texts, grep, folder, env }) => {
    const report = path.join(folder, "e2e.xml");
    return runTests({
      say,
      grep,
      file: process.execPath,
      args: [
        ...[bin("@playwright", "test", "cli.js"), "test", "--reporter=list,junit", ...given("--grep", grep)],
        // By whole paths: Playwright also looks for a part of one in the path of the checkout.
        ...(texts.length ? FILES.e2e(texts) : []),
      ],
      env: { ...process.env, ...env, PLAYWRIGHT_JUNIT_OUTPUT_FILE: report },
      report,
      read: readJUnit,
    });
  },
};

/** Where a failed test stands: the first line of its stack that is a source of the project's tests, else its file. */
function place({ file, failure = "" }) {
  const at = failure.match(/(?:file:\/\/)?([^\s()]*\b(?:test|tests|engine|cuda-bridge)\/[^\s():]*\.(?:ts|py):\d+)/)
    ?.[1];
  const found = at ?? file;
  return path.isAbsolute(found) ? path.relative(root, found) : found;
}

/** Every failure again, where it stands and what it said; then the slowest tests. */
function summary(results) {
  const tests = results.flatMap(({ stage, tests }) => tests.map((test) => ({ ...test, stage })));
  const broken = tests.filter(({ failure, parent }) => failure !== undefined && !parent);
  if (broken.length) console.log("\nfailed tests");
  for (const test of broken) {
    console.log(`\n  ${test.stage}  ${place(test)}  ${test.name}`);
    console.log(test.failure.split("\n").slice(0, 20).map((line) => `    ${line}`).join("\n"));
  }
  const slow = tests.filter(({ file, seconds }) => file !== "" && seconds > 0.5).sort((a, b) => b.seconds - a.seconds)
    .slice(0, SLOWEST);
  if (slow.length) console.log("\nslowest tests");
  for (const test of slow) {
    const { seconds, stage, file, name } = test;
    const where = path.isAbsolute(file) ? path.relative(root, file).replace(/^dist[^/]*\//, "") : file;
    console.log(`  ${seconds.toFixed(1).padStart(5)} s  ${stage}  ${where}  ${name.slice(0, 100)}`);
  }
}

/**
 * Takes stages from a queue and runs them, until it is empty; `live` shows what they say at once, else each stage is
 * shown when it has ended.
 */
async function lane(queue, context, live) {
  const results = [];
  for (let stage = queue.shift(); stage !== undefined; stage = queue.shift()) {
    let kept = "";
    const say = live ? (text) => process.stdout.write(text) : (text) => kept += text;
    say(`\n== ${stage}\n`);
    const start = performance.now();
    let result;
    try {
      result = await stages[stage]({ ...context, say });
    } catch (error) {
      const failure = error instanceof SetupError ? error.message : error.stack;
      say(`${failure}\n`);
      result = failed(stage, failure);
    }
    const { passed, failed: broken, skipped } = result;
    const left = skipped ? `, ${skipped} left out` : "";
    const line = `${stage.padEnd(10)} ${passed} passed, ${broken} failed${left}, ${since(start)}`;
    say(`== ${line}\n`);
    if (!live) process.stdout.write(kept);
    results.push({ ...result, stage, line });
  }
  return results;
}

runMain(async (args) => {
  const options = readOptions(args);
  if (options.help) {
    console.log(USAGE);
    return 0;
  }
  endOnSignal();
  const begin = performance.now();
  await install();
  if (options.watch) return await watch(options);
  const { only, texts } = options;
  const all = options.all || texts.length > 0 || options.grep !== undefined;
  if (options.all && only.includes("worker")) {
    try {
      await installWorkerPython();
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      console.log(error.message);
    }
  }
  const folder = mkdtempSync(path.join(os.tmpdir(), "ringside-test-"));
  try {
    const context = { ...options, all, folder, env: { RINGSIDE_TESTS: all ? "all" : "brief" } };
    // The package is packed, installed and run by the whole set, or where it is named.
    const named = (name) =>
      texts.length > 0 ? FILES[name]?.(texts).length > 0 : all || name !== "package" || only !== STAGES;
    const chosen = (names) => names.filter((name) => only.includes(name) && named(name));
    const first = await lane(chosen(["check", "build", "adapters"]), context, true);
    const queue = chosen(LONG);
    const lanes = queue.length > 1 && os.availableParallelism() > 1 ? (all ? 2 : 3) : 1;
    const rest = await Promise.all(Array.from({ length: lanes }, (_, i) => lane(queue, context, i === 0)));
    const order = (result) => STAGES.indexOf(result.stage);
    const results = [...first, ...rest.flat()].sort((a, b) => order(a) - order(b));
    if (results.every(({ passed, failed }) => passed + failed === 0)) {
      throw new SetupError(
        `no test has "${[...texts, ...given("--grep", options.grep)].join(" ")}" in its path or title`,
      );
    }
    summary(results);
    const sum = (key) => results.reduce((total, result) => total + result[key], 0);
    console.log(`\n${results.map(({ line }) => line).join("\n")}\nall        in ${since(begin)}\n`);
    if (!all && sum("skipped")) {
      console.log(`${sum("skipped")} thorough tests were left out: npm run test:all runs them\n`);
    }
    for (const { warning } of results) if (warning) console.log(`${warning}\n`);
    console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
    return sum("failed") ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
