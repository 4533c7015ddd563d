#!/usr/bin/env node
// `ringside`: starts the command line (main.ts) in Node or in Deno, in an environment that gives it a WebGPU adapter.
//
// It takes out --runtime, and answers --help and --version. It knows when a command needs no adapter: with --backend cpu,
// and with --remote unless rows are verified on this GPU. main.ts does everything else.
//
// main.ts needs its own process, because the Vulkan loader reads its environment variables when a process starts.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { findAdapter } from "./setup/adapter.mjs";
import { build } from "./setup/build.mjs";
import { denoPath, endChildren, isClone, root, SetupError } from "./setup/common.mjs";

/** The commands that run attention. Other commands, --help and a misspelt command start at once. */
const NEED_ADAPTER = new Set(["attend", "session", "bench", "selftest"]);

/** Takes every `--name value` or `--name=value` out of args. The last one counts. */
function takeOption(args, name) {
  let value;
  for (let i = 0; i < args.length;) {
    if (args[i] === name) [, value = ""] = args.splice(i, 2);
    else if (args[i].startsWith(`${name}=`)) value = args.splice(i, 1)[0].slice(name.length + 1);
    else i++;
  }
  return value;
}

function needsAdapter(args) {
  if (!NEED_ADAPTER.has(args[0]) || args.includes("--help") || args.includes("-h")) return false;
  if (takeOption([...args], "--verify-with") === "webgpu") return true;
  return takeOption([...args], "--backend") !== "cpu" && takeOption([...args], "--remote") === undefined;
}

/**
 * Answers --help and --version here, so that they work before anything is installed or built.
 * @returns {number | undefined} the exit status, or undefined if a command is named
 */
function answer(args) {
  const read = (...names) => readFileSync(path.join(root, ...names), "utf8");
  const asksHelp = args.length === 0 || args[0] === "--help" || args[0] === "-h" || args.join(" ") === "help";
  if (asksHelp) (args.length === 0 ? process.stderr : process.stdout).write(read("engine", "cli", "help.txt"));
  else if (["--version", "-V", "version"].includes(args[0])) {
    process.stdout.write(`ringside ${JSON.parse(read("package.json")).version}\n`);
  } else return undefined;
  return args.length === 0 ? 2 : 0;
}

/** How each runtime starts main.ts: in a clone Deno runs the source, in an installed package there is none. */
function commandOf(runtime) {
  const compiled = path.join(root, isClone ? "dist" : "pkg", "engine", "cli", "main.js");
  if (runtime === "node") return [process.execPath, compiled];
  const [settings, file] = isClone
    ? [["--config", path.join(root, "deno.json")], path.join(root, "engine", "cli", "main.ts")]
    : [["--no-config", "--node-modules-dir=manual"], compiled];
  return [denoPath(), "run", "-A", "--no-check", ...settings, file];
}

/** The process of main.ts, once it has started. */
let child;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, async () => {
    // Ctrl-C at a terminal also reaches the child. A second SIGINT could interrupt its tidying up.
    if (child !== undefined) return signal === "SIGINT" && process.stdin.isTTY ? undefined : child.kill(signal);
    console.error("ringside: cancelled");
    await endChildren();
    process.exit(128 + os.constants.signals[signal]);
  });
}

async function main(args) {
  const runtime = takeOption(args, "--runtime") ?? "node";
  if (runtime !== "node" && runtime !== "deno") {
    throw new SetupError(`--runtime: found "${runtime}", expected node or deno`, 2);
  }
  const status = answer(args);
  if (status !== undefined) return status;
  const command = commandOf(runtime);
  if (runtime === "node") await build({ quiet: true });
  const { env } = needsAdapter(args) ? await findAdapter(runtime) : { env: process.env };

  // The channel tells the child when this process dies, however it dies. It also tells this process the child's status,
  // in case the runtime crashes at its end.
  child = spawn(command[0], [...command.slice(1), ...args], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...env, DENO_NO_UPDATE_CHECK: "1" },
  });
  let reported;
  child.on("message", ({ status }) => (reported = status));
  const [code, signal] = await new Promise((resolve, reject) => {
    child.on("error", (error) => reject(new SetupError(`${command[0]} could not be started: ${error.message}`)));
    child.on("exit", (...ended) => resolve(ended));
  });
  // The child did not listen to signals yet.
  if (reported === undefined && (signal === "SIGINT" || signal === "SIGTERM")) console.error("ringside: cancelled");
  return reported ?? code ?? 128 + os.constants.signals[signal];
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`ringside: ${error.message}`);
  process.exit(error.exitCode);
}
