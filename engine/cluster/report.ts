/** Builds the report of a run from its ranks' outcomes. */
import { sayKernels } from "../gpu/shaders.ts";
import type { Choice } from "../policy/index.ts";
import { isLocal } from "../layout/mask.ts";
import type { Dealing } from "../layout/shards.ts";
import type { AttendOutcome } from "../rank/job.ts";
import type { Shape } from "../ring/chunk.ts";
import { timesOf } from "../trace/summary.ts";
import type { RateMeter } from "./rates.ts";
import type { Ranks } from "./ranks.ts";
import type { AdapterFacts, AttendInput, Backend, ClusterOptions, Report } from "./types.ts";

/** The parts of a cluster that its experiments and sessions share. */
export interface Shared {
  readonly ranks: Ranks;
  readonly size: number;
  /** Rates of attention and links measured so far. */
  readonly rates: RateMeter;
  readonly options: ClusterOptions;
  readonly adapter: AdapterFacts;
  readonly backend: Backend;
  readonly runtime: string;
  /** Whether every rank's device times its passes. */
  readonly timestamps: boolean;
}

/** A run's facts that its outcomes don't have. */
export interface RunFacts extends Pick<Report, "variant" | "wireDtype"> {
  readonly choice: Choice | undefined;
  readonly sequences: AttendInput["sequences"];
  readonly shape: Shape;
  readonly dealing: Dealing;
  readonly sinks: Float32Array | undefined;
  /** Seconds. */
  readonly total: number;
}

/** The report of a run. */
export function reportOf(
  { ranks, size, options, adapter, backend, runtime, timestamps }: Shared,
  outcomes: readonly AttendOutcome[],
  run: RunFacts,
): Report {
  const { variant, choice, wireDtype, sequences, shape } = run;
  const { heads, kvHeads, headDim, valueDim, valuesInKeys, mask, scale } = shape;
  const spans = outcomes.flatMap((o) => o.spans);
  return {
    adapter,
    backend,
    runtime,
    kernel: sayKernels(outcomes.flatMap((o) => o.kernels), spans.some((s) => s.kind === "merge"), options.shaders),
    clock: backend === "webgpu" && timestamps ? "gpu-timestamps" : "host",
    variant,
    ...(choice && { choice }),
    ranks: size,
    wireDtype,
    mask,
    causal: mask.kind !== "full",
    sinks: run.sinks !== undefined,
    dealing: run.dealing,
    scale,
    shape: { heads, kvHeads, headDim, valueDim, valuesInKeys, sequences },
    link: options.link ?? null,
    timeout: ranks.timeout,
    perRank: outcomes.map((o) => o.traffic),
    skipped: skippedOf(outcomes, isLocal(mask)),
    times: timesOf(spans, run.total),
    spans,
  };
}

/** What a mask made needless. Only a `local` one leaves hops out. */
function skippedOf(outcomes: readonly AttendOutcome[], local: boolean): Report["skipped"] {
  const sum = (of: (outcome: AttendOutcome) => number) => outcomes.reduce((all, outcome) => all + of(outcome), 0);
  const attended = ({ spans }: AttendOutcome) =>
    new Set(spans.filter(({ kind }) => kind === "attend").map(({ hop }) => hop)).size;
  return {
    hops: local ? sum((outcome) => outcomes.length - attended(outcome)) : 0,
    messages: sum(({ traffic }) => traffic.skipped.messages),
    bytes: sum(({ traffic }) => traffic.skipped.bytes),
  };
}
