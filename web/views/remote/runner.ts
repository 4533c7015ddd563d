/** One job at a time on the machine: each variant's call, its spans as they arrive, then the page's verification. */
import type { Facts, Remote } from "../../engine/remote.ts";
import { loadEngine, type Row, type RowCheck, type Span, type Variant } from "../../engine/run.ts";
import { type Failure, runFailure } from "./failure.ts";
import { type RemoteExperiment, variantsOf } from "./model.ts";
import { attendInput, batchOf, layerInput } from "./params.ts";
import type { Verification, VerifiedRow } from "./verification.ts";

/** The state of a variant's run. */
export type LapPhase =
  | "waiting"
  | "sent"
  | "queued"
  | "running"
  | "received"
  | "verifying"
  | "done"
  | "failed"
  | "cancelled";

/** A variant's run under way. */
export interface LiveLap {
  readonly variant: Variant;
  readonly phase: LapPhase;
  /** The number of runs before this one. */
  readonly place?: number;
  readonly progress?: { readonly done: number; readonly total: number; readonly note?: string };
  readonly spans: readonly Span[];
  readonly seconds?: number;
  readonly value?: Readonly<Record<string, unknown>>;
  readonly verification?: Verification;
  /** Pairs of rows and keys that the page has recomputed, and all. */
  readonly pairs?: { readonly done: number; readonly total: number };
  /** Why the run failed, or why its rows could not be verified. */
  readonly failure?: Failure;
}

/** An experiment on a machine, and its runs. */
export interface Job {
  readonly experiment: RemoteExperiment;
  readonly facts: Facts;
  readonly address: string;
  readonly date: Date;
  readonly laps: readonly LiveLap[];
}

/** Fires "change" on each change. */
export class RemoteRunner extends EventTarget {
  #job: Job | undefined;
  #abort: AbortController | undefined;

  get job(): Job | undefined {
    return this.#job;
  }

  get running(): boolean {
    return this.#abort !== undefined;
  }

  /** Runs an experiment. Resolves when all of it is done, failed or cancelled. */
  async run(experiment: RemoteExperiment, remote: Remote): Promise<void> {
    if (this.#abort !== undefined) return;
    const abort = new AbortController();
    const { signal } = abort;
    this.#abort = abort;
    const variants = variantsOf(experiment);
    this.#job = {
      experiment,
      facts: remote.facts,
      address: remote.address,
      date: new Date(),
      laps: variants.map((variant) => ({ variant, phase: "waiting", spans: [] })),
    };
    this.#changed();
    const { sampleRows } = await loadEngine();
    const { T, P, H, N, work } = experiment;
    const rows = work === "attend" && experiment.rows > 0
      ? sampleRows({ sequences: [{ new: T, cached: P }], heads: H }, N, experiment.rows)
      : [];
    const results: ({ readonly out: Float32Array; readonly lse: Float32Array } | undefined)[] = [];
    // Both runs come first, then the page's arithmetic: it must not disturb the times of a worker on this machine.
    for (const [i, variant] of variants.entries()) {
      if (signal.aborted) break;
      const began = performance.now();
      const listeners = {
        signal,
        onQueued: (place: number) => this.#set(i, { phase: place > 0 ? "queued" : "running", place }),
        onProgress: (done: number, total: number, note?: string) =>
          this.#set(i, { phase: "running", progress: { done, total, note } }),
        onSpans: (spans: readonly Span[]) =>
          this.#set(i, { phase: "running", spans: [...this.#job!.laps[i].spans, ...spans] }),
      };
      this.#set(i, { phase: "sent" });
      const ended = (value: LiveLap["value"]) =>
        this.#set(i, {
          phase: rows.length > 0 ? "received" : "done",
          value,
          seconds: (performance.now() - began) / 1000,
          progress: undefined,
        });
      try {
        if (work === "layer") ended((await remote.layer({ ...layerInput(experiment, variant), ...listeners })).value);
        else {
          const { out, lse, report } = await remote.attendSeeded({
            ...attendInput(experiment, variant),
            ...listeners,
            ...(rows.length === 0 ? { output: "none" } : { output: "rows", rows }),
          });
          results[i] = { out, lse };
          ended(report.remote.value);
        }
      } catch (error) {
        this.#set(i, {
          progress: undefined,
          place: undefined,
          ...(signal.aborted ? { phase: "cancelled" } : { phase: "failed", failure: runFailure(error) }),
        });
        // A lost machine takes no second run. A rejected variant says nothing about the other.
        if (remote.state !== "open") break;
      }
    }
    for (const [i, result] of results.entries()) {
      if (result !== undefined && rows.length > 0 && !signal.aborted) await this.#verify(i, rows, result, signal);
    }
    for (const [i, { phase }] of this.#job.laps.entries()) {
      if (phase === "waiting" || phase === "received") this.#set(i, { phase: "cancelled" });
    }
    this.#abort = undefined;
    this.#changed();
  }

  async #verify(
    i: number,
    rows: readonly Row[],
    result: { readonly out: Float32Array; readonly lse: Float32Array },
    signal: AbortSignal,
  ): Promise<void> {
    const { verifyRows } = await loadEngine();
    const found: VerifiedRow[] = [];
    this.#set(i, { phase: "verifying", verification: { rows: [], of: rows.length } });
    try {
      const { seconds, tolerance } = await verifyRows({
        ...batchOf(this.#job!.experiment),
        rows,
        ...result,
        signal,
        onProgress: (done, total) => this.#set(i, { pairs: { done, total } }),
        onRow: (row) => {
          found.push(rowOf(row));
          this.#set(i, { verification: { rows: [...found], of: rows.length } });
        },
      });
      this.#set(i, {
        phase: "done",
        pairs: undefined,
        verification: { rows: found, of: rows.length, seconds, tolerance },
      });
    } catch (error) {
      const failure = signal.aborted
        ? { title: "You cancelled the verification", message: "", advice: "The machine’s answer is unverified." }
        : {
          title: "The rows could not be verified",
          message: error instanceof Error ? error.message : String(error),
          advice: "The machine’s answer is unverified.",
        };
      this.#set(i, { phase: "done", pairs: undefined, failure });
    }
  }

  /** Cancels the run under way. The machine hears it within a second. */
  cancel(): void {
    this.#abort?.abort();
  }

  #set(i: number, change: Partial<LiveLap>): void {
    this.#job = { ...this.#job!, laps: this.#job!.laps.map((lap, n) => (n === i ? { ...lap, ...change } : lap)) };
    this.#changed();
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}

/** A row as the view shows and saves it. */
export function rowOf({ row: [token, head], keys, out, lse, passed }: RowCheck): VerifiedRow {
  return { token, head, keys, out: out.error, allowed: out.allowed, lse: lse.error, pass: passed };
}
