/** Runs the benchmark, from its first check to its document. */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { InputError } from "../errors.ts";
import { type Gpu, openDevice } from "../gpu/device.ts";
import { Kernels } from "../gpu/pipelines.ts";
import type { GpuPlatform } from "../gpu/platform.ts";
import { Pool } from "../gpu/pool.ts";
import { measureCeilings } from "./ceilings.ts";
import type { BenchDocument } from "./document.ts";
import { checkKernels } from "./grid.ts";
import { HEADS } from "./inputs.ts";
import { measureKernels } from "./measure-kernels.ts";
import { measureMerge } from "./measure-merge.ts";
import { measureReach, REACH_SIZES } from "./measure-reach.ts";
import { measureRing } from "./measure-ring.ts";
import { readMicroShaders } from "./micro.ts";
import type { PeersReport } from "./peer-types.ts";
import { measurePeers, projectRoot } from "./peers.ts";
import { Warmth } from "./warm.ts";

/** What can be measured besides the ceilings. */
export const PARTS = ["kernels", "merge", "ring", "reach", "peers"] as const;

/** One of them. */
export type Part = (typeof PARTS)[number];

/** What is measured. */
export interface BenchOptions {
  readonly parts: ReadonlySet<Part>;
  /** Tokens; by default few on software, many on hardware. */
  readonly sizes: readonly number[] | undefined;
  readonly repeats: number;
  readonly adapterSource: string | undefined;
  readonly signal: AbortSignal;
  /** Called with what is measured next. */
  readonly progress: (what: string) => void;
}

/** Default sizes. */
const SOFTWARE_SIZES = [512, 1024];
const HARDWARE_SIZES = [4096, 16384];
/** Above this load, somebody else is at work. */
const BUSY = 0.7;

/** Checks, then measures. */
export async function runBench(
  platform: GpuPlatform,
  { parts, repeats, adapterSource, signal, progress, ...options }: BenchOptions,
): Promise<BenchDocument> {
  if (platform.threadGpu === undefined) {
    throw new InputError(
      `bench: found the runtime ${platform.runtime}, expected one that gives the caller's thread a device ` +
        "(Node or Deno)",
    );
  }
  const { gpu: own, wait, blockingCompile } = await platform.threadGpu();
  const before = os.loadavg()[0];
  const date = new Date().toISOString();
  const gpu = await openDevice(own, wait);
  const kernels = new Kernels(gpu, await platform.shaders(), blockingCompile);
  const micro = await readMicroShaders((url) => readFile(url, "utf8"));
  const bench = { gpu, kernels, pool: new Pool(gpu.device), warmth: await Warmth.of(gpu, micro) };
  const { device, facts, timestamps } = gpu;
  const lost = device.lost.then(({ reason, message }) => {
    if (reason !== "destroyed") throw new Error(`the GPU device was lost (${message || "no reason given"})`);
    return new Promise<never>(() => {});
  });
  // A kernel that the device refuses leaves wrong numbers, not an exception.
  const refused = new Promise<never>((_, reject) =>
    device.onuncapturederror = ({ error }) => reject(new Error(`the GPU refused: ${error.message}`))
  );
  const sizes = options.sizes ?? (facts.software ? SOFTWARE_SIZES : HARDWARE_SIZES);

  const notes = [
    ...(facts.software ? ["a software adapter: the figures show the kernels on this processor, not on a GPU"] : []),
    ...(before > BUSY
      ? [
        `the machine was busy before the run (load ${
          before.toFixed(1)
        }): times are longer and ratios less steady than on a quiet one`,
      ]
      : []),
    ...(timestamps ? [] : ["no GPU timestamps: times are the host's, from submission to answer"]),
  ];
  const measure = async (): Promise<
    Pick<BenchDocument, "checks" | "ceilings" | "kernels" | "merge" | "ring" | "reach">
  > => {
    progress("correctness grid");
    const checks = await checkKernels(bench, HEADS, signal);
    if (checks.some((c) => !c.passed)) return { checks, ceilings: null, kernels: [], merge: [], ring: [], reach: [] };
    progress("ceilings");
    const half = await openHalf(own!, gpu);
    if (half === undefined) notes.push("no shader-f16 on this adapter: no f16 ceiling");
    const ceilings = await measureCeilings(gpu, half, micro, signal);
    if (half !== undefined && half !== gpu) half.device.destroy();
    const figures = parts.has("kernels") ? await measureKernels(bench, ceilings, sizes, repeats, signal, progress) : [];
    progress("merge");
    const merge = parts.has("merge") ? await measureMerge(bench, ceilings, sizes, repeats, signal) : [];
    const ring = parts.has("ring") ? await measureRing(bench, sizes, repeats, signal, progress) : [];
    const reach = parts.has("reach") ? await measureReach(bench, options.sizes ?? REACH_SIZES, signal, progress) : [];
    return { checks, ceilings, kernels: figures, merge, ring, reach };
  };
  let measured: Awaited<ReturnType<typeof measure>>;
  try {
    measured = await Promise.race([measure(), lost, refused]);
  } finally {
    await kernels.settled();
    bench.pool.destroy();
    bench.warmth?.dispose();
    device.destroy();
  }

  // Only now, without the device: the page needs the machine for itself.
  const checked = measured.checks.every((c) => c.passed);
  let page: PeersReport | undefined;
  if (checked && parts.has("peers")) {
    progress("peers, in a Chromium");
    page = await measurePeers({ sizes, shapes: HEADS.slice(0, 1), repeats }, signal);
    notes.push(
      "peers: both sides' inputs and outputs stay on the GPU; host clock in the page, from the call to the device's " +
        "answer; compilation left out",
    );
    if (page.note !== undefined) notes.push(`peers: ${page.note}`);
  }
  const { peers = [], coldStart = null, ...peerPage } = page ?? {};
  const agreed = page === undefined ||
    (page.coldStart?.passed !== false && page.checks.every((c) => c.passed) && page.peers.every((p) => p.agrees));
  return {
    benchmark: "ringside bench",
    date,
    versions: await versions(),
    runtime: platform.runtime,
    adapter: facts,
    adapterSource: adapterSource ?? null,
    clock: timestamps ? "GPU timestamps" : "host clock",
    host: { processor: os.cpus()[0]?.model ?? "unknown", cores: os.cpus().length, load: [before, os.loadavg()[0]] },
    sizes,
    repeats,
    passed: checked && agreed && measured.reach!.every((r) => r.passed),
    ...measured,
    peers,
    coldStart,
    peerPage: page === undefined ? null : (peerPage as BenchDocument["peerPage"]),
    notes,
  };
}

/** A device with shader-f16: this one, or another; undefined if the adapter lacks the feature. */
async function openHalf(own: GPU, gpu: Gpu): Promise<Gpu | undefined> {
  if (gpu.device.features.has("shader-f16")) return gpu;
  const adapter = await own.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter?.features.has("shader-f16")) return undefined;
  const device = await adapter.requestDevice({
    requiredFeatures: gpu.timestamps ? ["shader-f16", "timestamp-query"] : ["shader-f16"],
  });
  return { ...gpu, device };
}

/** Versions of this project, of the runtime, and of Dawn if it is used. */
async function versions(): Promise<Record<string, string>> {
  const deno = (globalThis as { Deno?: { version: { deno: string } } }).Deno;
  const read = async (file: string) => (JSON.parse(await readFile(file, "utf8")) as { version: string }).version;
  const ringside = await read(path.join(projectRoot(), "package.json"));
  return deno === undefined
    ? {
      ringside,
      node: process.versions.node,
      "webgpu (Dawn)": await read(createRequire(import.meta.url).resolve("webgpu/package.json")),
    }
    : { ringside, deno: deno.version.deno };
}
