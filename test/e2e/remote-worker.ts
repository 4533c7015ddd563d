/** A real worker on the CPU, started for a test. */
import { type ChildProcess, spawn } from "node:child_process";
import path from "node:path";
import { createInterface } from "node:readline";

export interface Worker {
  readonly address: string;
  readonly token: string;
  readonly pid: number;
  readonly ranks: readonly number[];
  readonly facts: {
    readonly torch: string;
    readonly python: string;
    readonly kernels: readonly { readonly name: string; readonly ok: boolean; readonly chosen?: boolean }[];
  };
  readonly child: ChildProcess;
}

const { findWorkerPython } = await import("../../engine/cli/setup/python.mjs" as string);
/** The Python that can start a worker, or the reason there is none. */
export const { python, reason } = await findWorkerPython();

/** Starts a worker with `more` arguments, and waits until it says where it listens. */
export async function start(...more: string[]): Promise<Worker> {
  const child = spawn(python!, [
    "-m",
    "ringside_worker",
    "--listen",
    "127.0.0.1:0",
    "--device",
    "cpu",
    "--json",
    ...more,
  ], { cwd: path.resolve("cuda-bridge/worker"), stdio: ["ignore", "pipe", "ignore"] });
  for await (const line of createInterface({ input: child.stdout! })) return { ...JSON.parse(line), child };
  throw new Error(`the worker ended with status ${child.exitCode} before it said its address`);
}

/** Ends a worker, and waits until it has. */
export async function end({ child }: Worker, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await gone;
}
