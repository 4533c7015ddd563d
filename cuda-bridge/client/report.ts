/** Turns a worker's value of a run into the engine's Report. */
import type { AdapterFacts, Choice, Link, RankTraffic, Report, StepReport, Times } from "../../engine/index.ts";
import type { CallResult } from "./call.ts";
import { remoteError } from "./errors.ts";
import type { Asked } from "./params.ts";
import type { Facts, RemoteReport } from "./types.ts";

/** The fields of a run's value that a Report needs; see docs/bridge.md. */
interface RunValue extends Pick<Report, "variant" | "ranks" | "causal" | "scale" | "shape"> {
  /** What the mask left out; a worker without the capability "masks" sends whole messages and doesn't say. */
  readonly skipped?: Report["skipped"];
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

/** Nothing left out. */
const NONE = { messages: 0, bytes: 0 };

/**
 * Builds the report of a run. Errors: RemoteError "bad-reply" if the worker's value lacks a field, or describes an
 * attention that the client didn't ask for.
 */
export function reportOf(
  { value, spans }: CallResult,
  asked: Asked,
  address: string,
  facts: Facts,
  runtime: string,
): RemoteReport {
  for (const [name, right] of Object.entries(FIELDS)) {
    if (!right(value[name])) {
      throw remoteError(
        "bad-reply",
        address,
        `the report's ${name}: found ${(JSON.stringify(value[name]) ?? "nothing").slice(0, 60)}`,
      );
    }
  }
  requireAsked(value, asked, address);
  const { mask, sinks, dealing, valueDim, valuesInKeys } = asked;
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
    skipped = { hops: 0, ...NONE },
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
    mask,
    causal,
    sinks,
    dealing,
    scale,
    shape: { ...shape, valueDim, valuesInKeys },
    link,
    perRank: perRank.map((traffic) => ({ ...traffic, skipped: traffic.skipped ?? NONE })),
    skipped,
    times,
    spans,
    remote: { address, facts, simulated, value },
  };
}

/**
 * Throws unless the worker computed what the client asked for. A worker without the capability "masks" says only whether
 * the mask was causal, and gets no call for anything else.
 */
function requireAsked(value: CallResult["value"], asked: Asked, address: string): void {
  const { shape } = value as unknown as RunValue;
  const said: Readonly<Record<string, unknown>> = { ...value, ...shape };
  const causal = asked.mask.kind !== "full";
  // Workers write no `sinkTokens` of 0.
  const { sinkTokens, ...plain } = { sinkTokens: 0, ...asked.mask };
  const mask = sinkTokens === 0 ? plain : asked.mask;
  for (const [name, expected] of Object.entries({ ...asked, mask, causal })) {
    if (said[name] === undefined || inOrder(said[name]) === inOrder(expected)) continue;
    throw remoteError(
      "bad-reply",
      address,
      `the report's ${name}: found ${inOrder(said[name]).slice(0, 60)}, expected ${inOrder(expected)}`,
    );
  }
}

/** As JSON, with the fields of an object sorted by name. */
function inOrder(x: unknown): string {
  return JSON.stringify(isObject(x) ? Object.entries(x).sort(([a], [b]) => (a < b ? -1 : 1)) : x);
}

/** Builds the report of a session's step. Errors: as reportOf. */
export function stepReportOf(
  result: CallResult,
  asked: Asked,
  address: string,
  facts: Facts,
  runtime: string,
): StepReport {
  const { step, mode, batch, missRate, paddingBytes, tokens } = result.value as unknown as StepReport;
  return { ...reportOf(result, asked, address, facts, runtime), step, mode, batch, missRate, paddingBytes, tokens };
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
