/** Turns a worker's value of a run into the engine's Report. */
import type { AdapterFacts, Choice, Link, RankTraffic, Report, StepReport, Times } from "../../engine/index.ts";
import type { CallResult } from "./call.ts";
import { remoteError } from "./errors.ts";
import type { Facts, RemoteReport } from "./types.ts";

/** The fields of a run's value that a Report needs; see docs/bridge.md. */
interface RunValue extends Pick<Report, "variant" | "ranks" | "causal" | "scale" | "shape"> {
  readonly dtype: Report["wireDtype"];
  readonly choice?: Choice;
  readonly simulated: boolean;
  readonly device: string;
  readonly kernel: string;
  readonly clock: Report["clock"];
  readonly perRank: readonly RankTraffic[];
  readonly times: Times;
  readonly link: Link | null;
}

const FIELDS: Readonly<Record<string, (x: unknown) => boolean>> = {
  variant: (x) => x === "pass-kv" || x === "pass-q",
  ranks: Number.isSafeInteger,
  dtype: (x) => x === "f32" || x === "f16" || x === "bf16",
  causal: isBoolean,
  scale: Number.isFinite,
  shape: isObject,
  simulated: isBoolean,
  device: isString,
  kernel: isString,
  clock: (x) => x === "cuda-events" || x === "host",
  perRank: Array.isArray,
  times: isObject,
};

/** Builds the report of a run. Errors: RemoteError "bad-reply" if the worker's value lacks a field. */
export function reportOf({ value, spans }: CallResult, address: string, facts: Facts, runtime: string): RemoteReport {
  for (const [name, right] of Object.entries(FIELDS)) {
    if (!right(value[name])) {
      throw remoteError(
        "bad-reply",
        address,
        `the report's ${name}: found ${(JSON.stringify(value[name]) ?? "nothing").slice(0, 60)}`,
      );
    }
  }
  const {
    variant,
    ranks,
    dtype: wireDtype,
    causal,
    scale,
    shape,
    simulated,
    device,
    kernel,
    clock,
    perRank,
    times,
    link = null,
    choice,
  } = value as unknown as RunValue;
  return {
    adapter: adapterOf(facts, device),
    backend: "remote",
    runtime,
    kernel,
    clock,
    variant,
    ...(choice && { choice }),
    ranks,
    wireDtype,
    mask: { kind: causal ? "causal" : "full" },
    causal,
    sinks: false,
    dealing: "head-tail",
    scale,
    shape: { ...shape, valueDim: shape.headDim, valuesInKeys: false },
    link,
    perRank: perRank.map((traffic) => ({ ...traffic, skipped: { messages: 0, bytes: 0 } })),
    skipped: { hops: 0, messages: 0, bytes: 0 },
    times,
    spans,
    remote: { address, facts, simulated, value },
  };
}

/** Builds the report of a session's step. Errors: as reportOf. */
export function stepReportOf(result: CallResult, address: string, facts: Facts, runtime: string): StepReport {
  const { step, mode, batch, missRate, paddingBytes, tokens } = result.value as unknown as StepReport;
  return { ...reportOf(result, address, facts, runtime), step, mode, batch, missRate, paddingBytes, tokens };
}

/** The machine as an adapter, which page and command line name as what computed. */
export function adapterOf(
  { devices, cuda, torch }: Facts,
  device: string = [...new Set(devices.map((d) => d.name))].join(" + "),
): AdapterFacts {
  const gpus = devices.filter((d) => d.kind === "cuda");
  return {
    name: devices.length > 1 ? `${devices.length} x ${device}` : device,
    vendor: gpus.length > 0 ? "nvidia" : "",
    architecture: gpus[0]?.capability ?? "",
    description: `PyTorch ${torch}${cuda === undefined ? "" : `, CUDA ${cuda}`}`,
    software: gpus.length === 0,
    features: [],
  };
}

function isBoolean(x: unknown): x is boolean {
  return typeof x === "boolean";
}

function isString(x: unknown): x is string {
  return typeof x === "string";
}

function isObject(x: unknown): x is object {
  return typeof x === "object" && x !== null;
}
