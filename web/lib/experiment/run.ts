/** One run of an experiment, from its inputs to its check, with the state that the page shows. */
import { checkResult, makeInputs } from "./check.ts";
import type { Check } from "./judge.ts";
import { type AttendInput, type AttendResult, type Backend, type ClusterFace } from "../../engine/run.ts";
import type { Experiment } from "./experiment.ts";
import { nextTask } from "../next-task.ts";
import type { OwnData } from "../own/data.ts";
import { keptKernels, sayKeptKernel } from "../kept-kernels.ts";
import { startCluster } from "../start-cluster.ts";

/** The steps of a run, in order. */
export const runSteps = ["inputs", "starting", "compiling", "attending", "checking"] as const;

/** A step of a run. */
export type RunStep = (typeof runSteps)[number];

/** The state of the last run. */
export type Phase = "empty" | RunStep | "done" | "failed" | "cancelled";

/** An error for the visitor: what happened, the whole error, and what to do. */
export interface Failure {
  readonly title: string;
  readonly message: string;
  readonly advice: string;
}

/** Everything about the last run. There is a result without a check if the check was cancelled or failed. */
export interface RunState {
  readonly phase: Phase;
  readonly experiment?: Experiment;
  /** The visitor's files, or undefined if the inputs are seeded. */
  readonly own?: OwnData;
  /** The step under way, now or when the run failed or was cancelled. */
  readonly step?: RunStep;
  readonly progress?: { readonly done: number; readonly total: number };
  readonly result?: AttendResult;
  /** Seconds to compile the kernels. They compile before the run, so that its time is the ring's; 0 if they were ready. */
  readonly compile?: number;
  readonly check?: Check;
  /** Small values that the wire's type loses, one line per tensor. */
  readonly underflows?: readonly string[];
  /** True if the ranks halted at hop boundaries. Times then include how long somebody looked. */
  readonly halted?: true;
  readonly failure?: Failure;
}

/** Makes runs halt. */
export interface Halting {
  /** The options of the run. */
  begin(experiment: Experiment, own: OwnData | undefined): Pick<AttendInput, "onHalt" | "watch">;
}

/** The ranks of the page. They stay for the next run on the same cluster. */
export class Ranks {
  #cluster: { readonly key: string; readonly face: ClusterFace; readonly warm: Set<string> } | undefined;

  /** Ranks for an experiment: the running ones if they fit, or else new ones. */
  async of({ N, link }: Experiment, backend: Backend, signal: AbortSignal): Promise<ClusterFace> {
    const key = JSON.stringify([N, link, backend, keptKernels.stamp]);
    if (this.#cluster?.key === key) return this.#cluster.face;
    await this.dispose();
    const face = await startCluster({ ranks: N, backend, ...(link === null ? {} : { link }), signal });
    this.#cluster = { key, face, warm: new Set() };
    signal.throwIfAborted();
    return face;
  }

  /** Compiles the kernels of an experiment with a run of a few tokens, once per set of ranks. Resolves to the seconds. */
  async warm({ N, D, Dv = D, variant, wire }: Experiment, signal: AbortSignal): Promise<number> {
    const key = `${D} ${Dv} ${variant} ${wire}`;
    if (this.#cluster === undefined || this.#cluster.warm.has(key)) return 0;
    const few = (dim: number) => new Float32Array(2 * N * dim);
    const { report } = await attend(this.#cluster.face, {
      q: few(D),
      k: few(D),
      v: few(Dv),
      sequences: [{ new: 2 * N, cached: 0 }],
      heads: 1,
      kvHeads: 1,
      headDim: D,
      valueDim: Dv,
      variant,
      wireDtype: wire,
      signal,
    });
    this.#cluster.warm.add(key);
    return report.times.compile;
  }

  /** Ends them. */
  async dispose(): Promise<void> {
    const cluster = this.#cluster;
    this.#cluster = undefined;
    await cluster?.face.dispose();
  }
}

/** Runs one experiment at a time. Fires "change" on each change. */
export class Runner extends EventTarget {
  readonly #ranks: Ranks;
  #state: RunState = { phase: "empty" };
  #abort: AbortController | undefined;

  constructor(ranks: Ranks) {
    super();
    this.#ranks = ranks;
  }

  get state(): RunState {
    return this.#state;
  }

  get running(): boolean {
    return this.#abort !== undefined;
  }

  #set(state: RunState): void {
    this.#state = state;
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Runs an experiment on a back-end, on seeded inputs or the visitor's own, with or without halts. Resolves when it is
   * done, failed or cancelled.
   */
  async run(experiment: Experiment, backend: Backend, own?: OwnData, halting?: Halting): Promise<void> {
    if (this.#abort !== undefined) return;
    const abort = new AbortController();
    const { signal } = abort;
    this.#abort = abort;
    let kept: Partial<RunState> = { own, ...(halting && { halted: true }) };
    const halts = halting?.begin(experiment, own);
    const enter = (step: RunStep, more: Partial<RunState> = {}) =>
      this.#set({ phase: step, step, experiment, ...kept, ...more });
    try {
      enter("inputs");
      const { inputs, underflows } = await makeInputs(experiment, own?.files, signal);
      kept = { ...kept, underflows };
      enter("starting");
      const cluster = await this.#ranks.of(experiment, backend, signal);
      if (backend === "webgpu") {
        enter("compiling");
        kept = { ...kept, compile: await this.#ranks.warm(experiment, signal) };
      }
      enter("attending", { progress: { done: 0, total: experiment.N ** 2 } });
      const { T, P, H, Hkv, D, Dv, variant, wire, mask, dealing } = experiment;
      const result = await attend(cluster, {
        ...inputs,
        sequences: [{ new: T, cached: P }],
        heads: H,
        kvHeads: Hkv,
        headDim: D,
        valueDim: Dv,
        variant,
        mask,
        dealing,
        wireDtype: wire,
        signal,
        ...halts,
        onProgress: (done, total) => !signal.aborted && enter("attending", { progress: { done, total } }),
      });
      kept = { ...kept, result };
      // To assemble the result, to draw it, and to copy it for the check are separate tasks.
      await nextTask();
      enter("checking");
      await nextTask();
      const check = await checkResult(
        experiment,
        own?.files,
        result,
        signal,
        (done, total) => enter("checking", { progress: { done, total } }),
      );
      this.#abort = undefined;
      this.#set({ phase: "done", experiment, ...kept, check });
    } catch (error) {
      const { step } = this.#state;
      // A cancelled or failed cluster may hold half a run: the next run starts new ranks.
      if (step !== "checking") await this.#ranks.dispose();
      this.#abort = undefined;
      if (signal.aborted) {
        this.#set({ phase: "cancelled", experiment, step, ...kept });
      } else {
        this.#set({
          phase: "failed",
          experiment,
          step,
          ...kept,
          failure: failureOf(error, backend, own !== undefined),
        });
      }
    }
  }

  /** Cancels the run under way. */
  cancel(): void {
    this.#abort?.abort();
  }

  /** Forgets the last run, unless one is under way. */
  clear(): void {
    if (this.#abort === undefined && this.#state.phase !== "empty") this.#set({ phase: "empty" });
  }
}

/** Attends until the answer, or until the signal aborts: a rank deep in a hop may take seconds to hear it. */
async function attend(
  cluster: ClusterFace,
  input: AttendInput & { readonly signal: AbortSignal },
): Promise<AttendResult> {
  const { signal } = input;
  const answer = cluster.attend(input);
  const cancelled = new Promise<never>((_, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason), { once: true })
  );
  return await Promise.race([answer, cancelled]);
}

/** An error of the engine for the visitor. Names cross the border between workers, classes do not. */
export function failureOf(error: unknown, backend: Backend, own = false): Failure {
  const message = error instanceof Error ? error.message : String(error);
  const name = error instanceof Error ? error.name : "";
  const used = backend === "webgpu" ? keptKernels.inUse : [];
  const kernels = used.length === 0
    ? ""
    : ` Runs use ${used.map((one) => `${sayKeptKernel(one)} (${one.kernel})`).join(" and ")} in place of shipped ` +
      "kernels. Go back to the shipped ones if yours may be at fault.";
  const elsewhere = backend === "webgpu" ? `, or choose plain TypeScript instead of WebGPU.${kernels}` : ".";
  if (name === "LimitError") {
    return {
      title: "The device cannot hold this experiment",
      message,
      advice: "Take fewer heads or a smaller head size.",
    };
  }
  if (name === "InputError") {
    return {
      title: "The engine rejects this input",
      message,
      advice: own
        ? "Choose other files, or change the part of the sentence that the message names."
        : "Change the part of the sentence that the message names.",
    };
  }
  if (/GPU device was lost/.test(message)) {
    return {
      title: "A GPU device was lost",
      message,
      advice: `Restart: every rank gets a new device${elsewhere}`,
    };
  }
  if (name === "RankError") {
    return { title: "A rank failed", message, advice: `Run again with new ranks${elsewhere}` };
  }
  return { title: "The run failed", message, advice: `Run again with new ranks${elsewhere}` };
}
