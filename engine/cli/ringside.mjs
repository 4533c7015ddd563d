#!/usr/bin/env node
// `ringside`: starts the command line proper (main.ts) in Node or in Deno, with the environment in which that runtime
// has a WebGPU adapter.
//
// It knows --runtime, which it takes out, and when no adapter is needed: with --backend cpu, and with --remote unless
// rows are verified on this GPU. All else is main.ts's.
// A process of its own, because a Vulkan driver is chosen by environment variables that are read when a process starts.
import { spawn } from "node:child_process";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { findAdapter } from "./setup/adapter.mjs";
import { build } from "./setup/build.mjs";
import { denoPath, endChildren, root, SetupError } from "./setup/common.mjs";

/** The commands that run attention; the others, --help and a misspelt command start at once. */
const NEED_ADAPTER = new Set(["attend", "session", "bench", "selftest"]);

/** Takes `--name value` or `--name=value` out of args; the last one counts. */
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

/** The command line proper, once it has been started. */
let child;

for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, async () => {
    // Ctrl-C at a terminal reaches the child by itself; a second SIGINT could cut its tidying short.
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
  const command = runtime === "deno"
    ? [
      denoPath(),
      "run",
      "-A",
      "--no-check",
      "--config",
      path.join(root, "deno.json"),
      path.join(root, "engine", "cli", "main.ts"),
    ]
    : [process.execPath, path.join(root, "dist", "engine", "cli", "main.js")];
  if (runtime === "node") await build({ quiet: true });
  const { env } = needsAdapter(args) ? await findAdapter(runtime) : { env: process.env };

  // The channel tells the child when this process dies, however it does; and this process the child's status, should
  // its runtime break in ending.
  child = spawn(command[0], [...command.slice(1), ...args], {
    stdio: ["inherit", "inherit", "inherit", "ipc"],
    env: { ...env, DENO_NO_UPDATE_CHECK: "1" },
  });
  let told;
  child.on("message", ({ status }) => (told = status));
  const [code, signal] = await new Promise((resolve, reject) => {
    child.on("error", (error) => reject(new SetupError(`${command[0]} could not be started: ${error.message}`)));
    child.on("exit", (...ended) => resolve(ended));
  });
  // It had not begun to listen to signals.
  if (told === undefined && (signal === "SIGINT" || signal === "SIGTERM")) console.error("ringside: cancelled");
  return told ?? code ?? 128 + os.constants.signals[signal];
}

try {
  process.exit(await main(process.argv.slice(2)));
} catch (error) {
  if (!(error instanceof SetupError)) throw error;
  console.error(`ringside: ${error.message}`);
  process.exit(error.exitCode);
}
