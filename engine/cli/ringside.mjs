#!/usr/bin/env node
// `ringside`: starts the command line (main.ts) in Node or in Deno, in an environment that gives it a WebGPU adapter.
//
// It takes out --runtime. It knows when a command needs no adapter: with --backend cpu, and with --remote unless rows
// are verified on this GPU. main.ts does everything else.
//
// main.ts needs its own process, because the Vulkan loader reads its environment variables when a process starts.
import { spawn } from "node:child_process";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { findAdapter } from "./setup/adapter.mjs";
import { build } from "./setup/build.mjs";
import { denoPath, endChildren, root, SetupError } from "./setup/common.mjs";

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
