/** Runs commands in this process and keeps their output, or runs `ringside` as a process; and handles their files. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Command } from "../../../engine/cli/io.ts";
import type { FixedInput } from "../../../engine/cluster/in-process.ts";
import type { Report } from "../../../engine/cluster/types.ts";
import type { Platform } from "../../../engine/platform.ts";
import { toBytes } from "../../../engine/tensor/dtype.ts";
import { readNpy, writeNpy } from "../../../engine/tensor/npy.ts";
import type { Tensor } from "../../../engine/tensor/tensor.ts";

/** The runtime of these tests. The commands start its workers. */
export const runtime = "Deno" in globalThis ? "deno" : "node";
export const platform: Platform = "Deno" in globalThis
  ? (await import("../../../engine/deno.ts")).platform
  : (await import("../../../engine/node.ts")).platform;

/** The document that `--json` prints. */
export type Document = Omit<Report, "spans"> & {
  readonly adapterSource: string | null;
  readonly error?: {
    readonly out: { readonly max: number; readonly rms: number };
    readonly lse: { readonly max: number; readonly rms: number };
    readonly passed: boolean;
  };
};

/** A command's exit status and output. */
export interface Ended {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Calls a command as main.ts does. Throws the command's errors. */
export async function call(
  command: Command,
  argv: readonly string[],
  given: { platform?: Platform; signal?: AbortSignal; watched?: boolean; onStderr?: (text: string) => void } = {},
): Promise<Ended> {
  let stdout = "", stderr = "";
  const status = await command(argv, {
    stdout: (text) => void (stdout += text),
    stderr: (text) => {
      stderr += text;
      given.onStderr?.(text);
    },
    watched: given.watched ?? false,
    platform: given.platform ?? platform,
    signal: given.signal ?? new AbortController().signal,
  });
  return { status, stdout, stderr };
}

/** Runs `work` in a new folder, and removes the folder afterwards. */
export async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "ringside-cli-"));
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Every file of a folder with its bytes, also hidden files. Shows whether anything was written. */
export async function contents(folder: string): Promise<Record<string, string>> {
  const entries = (await readdir(folder, { withFileTypes: true })).sort((a, b) => (a.name < b.name ? -1 : 1));
  return Object.fromEntries(
    await Promise.all(
      entries.map(async (
        e,
      ) => [e.name, e.isFile() ? (await readFile(path.join(folder, e.name))).toString("base64") : "a folder"]),
    ),
  );
}

/** A .npy file, version 1.0, with any header and data. */
export function npyBytes(header: string, data: Uint8Array): Uint8Array {
  const text = `${header}\n`;
  const out = new Uint8Array(10 + text.length + data.length);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  new DataView(out.buffer).setUint16(8, text.length, true);
  out.set(new TextEncoder().encode(text), 10);
  out.set(data, 10 + text.length);
  return out;
}

/** One pattern from its parts, for long messages. The flags are the first part's. */
export function joined(...parts: readonly RegExp[]): RegExp {
  return new RegExp(parts.map(({ source }) => source).join(""), parts[0].flags);
}

/** A .npy file of '<f2', rounded to nearest. */
export function npyOfHalves(shape: readonly number[], data: Float32Array): Uint8Array {
  return npyBytes(
    `{'descr': '<f2', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`,
    new Uint8Array(toBytes(data, "f16")),
  );
}

/** Writes an experiment's tensors as q.npy, k.npy and v.npy, and returns the options that name them. */
export async function writeTensors(
  folder: string,
  input: FixedInput,
  write: typeof npyOfHalves = writeNpy,
): Promise<string[]> {
  const { heads, kvHeads, headDim } = input;
  const options: string[] = [];
  for (const [name, data, h] of [["q", input.q, heads], ["k", input.k, kvHeads], ["v", input.v, kvHeads]] as const) {
    const file = path.join(folder, `${name}.npy`);
    await writeFile(file, write([data.length / (h * headDim), h, headDim], data));
    options.push(`--${name}`, file);
  }
  return options;
}

/** A tensor that a command wrote. */
export async function readOutput(folder: string, name: string): Promise<Tensor> {
  return readNpy(await readFile(path.join(folder, name)), name);
}

/** The project's folder, from test/ (Deno) and from dist/test/ (Node) alike. */
export function findRoot(): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(folder, "package.json"))) folder = path.dirname(folder);
  return folder;
}

/** `ringside` as a process in this runtime. It inherits the adapter of the tests. */
export function ringside(
  args: readonly string[],
  cwd: string,
): { readonly child: ChildProcess; readonly ended: Promise<Ended> } {
  const command = [path.join(findRoot(), "engine", "cli", "ringside.mjs"), ...args, "--runtime", runtime];
  const child = spawn(runtime === "node" ? process.execPath : "node", command, {
    cwd,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "", stderr = "";
  child.stdout!.setEncoding("utf8").on("data", (text) => stdout += text);
  child.stderr!.setEncoding("utf8").on("data", (text) => stderr += text);
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on("error", reject);
    // Count like a shell: Deno reports an exit with 130 as the signal it stands for.
    child.on(
      "close",
      (code, signal) => resolve({ status: code ?? 128 + os.constants.signals[signal!], stdout, stderr }),
    );
  });
  return { child, ended };
}
