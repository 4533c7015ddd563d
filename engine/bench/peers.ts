/** Starts the page's driver (peers.mjs, in Node) and reads its answer. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { InputError } from "../errors.ts";
import type { PageRequest, PeersReport } from "./peer-types.ts";

/** The project's folder, whether this runs from engine/ (Deno) or from dist/engine/ (Node). */
export function projectRoot(): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(folder, "package.json"))) folder = path.dirname(folder);
  return folder;
}

/** Measures the peer in a Chromium. Errors: the driver's message. */
export async function measurePeers(
  request: Omit<PageRequest, "ort" | "file">,
  signal: AbortSignal,
): Promise<PeersReport> {
  const script = path.join(projectRoot(), "engine", "bench", "peers.mjs");
  if (!existsSync(script)) {
    throw new InputError(
      "--peers: found an installed package, expected a clone of Ringside, whose development packages have the peers",
    );
  }
  const node = "Deno" in globalThis ? "node" : process.execPath;
  const child = spawn(node, [script, JSON.stringify(request)], { stdio: ["ignore", "pipe", "pipe"] });
  let [stdout, stderr] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  const stop = () => child.kill("SIGINT");
  signal.addEventListener("abort", stop);
  try {
    const status = await new Promise((resolve, reject) => child.on("error", reject).on("close", resolve));
    signal.throwIfAborted();
    const line = stdout.trim().split("\n").at(-1);
    if (status !== 0 || !line) {
      throw new Error(
        `--peers: the page failed (status ${status}): ${stderr.trim().slice(0, 2000) || "it said nothing"}`,
      );
    }
    return JSON.parse(line) as PeersReport;
  } finally {
    signal.removeEventListener("abort", stop);
  }
}
