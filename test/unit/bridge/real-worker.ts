/**
 * Real native workers for tests: `python -m ringside_worker` on this machine's CPU. If no Python can run it, tests say
 * so, and fail with RINGSIDE_WORKER=required.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import test, { type TestOptions } from "node:test";
import { pathToFileURL } from "node:url";
import { nodeFirst } from "../../tiers.ts";
import { findRoot } from "../cli/command.ts";

interface PythonModule {
  findWorkerPython(): Promise<{ readonly python?: string; readonly reason?: string }>;
}

const { findWorkerPython } = await import(
  pathToFileURL(path.join(findRoot(), "engine/cli/setup/python.mjs")).href
) as PythonModule;
const { python, reason } = await findWorkerPython();
/** The Python with PyTorch, if there is one. */
export const workerPython = python;
if (python === undefined) console.error(`\nTHE CLIENT WAS NOT TESTED AGAINST A NATIVE WORKER: ${reason}\n`);

/** A running worker. */
export interface RealWorker {
  readonly address: string;
  readonly token: string;
  /** Its ranks' processes. */
  readonly ranks: readonly number[];
  readonly process: ChildProcess;
  /** What it wrote to stderr so far. */
  log(): string;
  stop(): Promise<void>;
}

/** Starts one; resolves when it listens. */
export async function realWorker(...options: string[]): Promise<RealWorker> {
  const { RINGSIDE_TOKEN: _, ...env } = process.env;
  const child = spawn(python!, [
    "-m",
    "ringside_worker",
    "--listen",
    "127.0.0.1:0",
    "--device",
    "cpu",
    "--json",
    ...options,
  ], { cwd: path.join(findRoot(), "cuda-bridge", "worker"), env, stdio: ["ignore", "pipe", "pipe"] });
  let log = "";
  child.stderr!.setEncoding("utf8").on("data", (text) => (log += text));
  const ended = once(child, "exit");
  const line = await Promise.race([
    once(createInterface(child.stdout!), "line").then(([text]) => text as string),
    ended.then(() => undefined),
  ]);
  if (line === undefined) throw new Error(`the worker did not start:\n${log}`);
  const { address, token, ranks } = JSON.parse(line);
  return {
    address,
    token,
    ranks,
    process: child,
    log: () => log,
    async stop() {
      const hard = setTimeout(() => child.kill("SIGKILL"), 10_000);
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await ended;
      clearTimeout(hard);
    },
  };
}

/** A test that needs a worker. Without a Python it is skipped, or with RINGSIDE_WORKER=required it fails. */
export function workerTest(name: string, run: () => Promise<void>, tier: TestOptions = nodeFirst): void {
  const skip = python === undefined && process.env.RINGSIDE_WORKER !== "required"
    ? `no native worker: ${reason}`
    : false;
  test(name, { skip: tier.skip || skip }, async () => {
    if (python === undefined) throw new Error(`no native worker: ${reason}`);
    await run();
  });
}
