/** Watches the ranks' signs of life and finds, within a bounded time, who failed and what was awaited. */
import { RankError } from "../errors.ts";
import { endOf, type Mail, type Pulse } from "../rank/job.ts";
import { now } from "../trace/clock.ts";

/** The last pulse of every rank. */
export class Monitor {
  readonly #pulses: Pulse[];
  /** When each rank's pulse last came, by this thread's clock. */
  readonly #seen: number[];
  /** Seconds of silence or of vain waiting that count as a fault. */
  readonly #patience: number;
  readonly #compileSeconds: number;
  #lastCheck = now();

  /** `timeout`: seconds from a fault to the error, of which a part is kept for stopping the other ranks; `compileSeconds`: silence allowed while a rank compiles (see Platform). */
  constructor(size: number, timeout: number, compileSeconds: number) {
    const at = now();
    this.#compileSeconds = Math.max(compileSeconds, 0.7 * timeout);
    this.#patience = 0.7 * timeout;
    this.#seen = new Array(size).fill(at);
    this.#pulses = Array.from({ length: size }, (_, rank) => ({ rank, at, resumed: at, job: undefined, phase: "idle", hop: 0, done: 0, awaiting: [], delivered: [], sending: 0 }));
  }

  put(pulse: Pulse): void {
    this.#pulses[pulse.rank] = pulse;
    this.#seen[pulse.rank] = now();
  }

  /** Hops done by all ranks in a job. */
  done(job: number): number {
    return this.#pulses.reduce((sum, p) => sum + (p.job === job ? p.done : 0), 0);
  }

  /** Where a rank was when last heard of. */
  last(rank: number): Pulse {
    return this.#pulses[rank];
  }

  /** The error of a dead rank, with the hop it was at and what was awaited of it. */
  dead(rank: number, how: string): RankError {
    const { hop, phase } = this.#pulses[rank];
    for (const waiter of this.#pulses) {
      const mail = waiter.awaiting.find((m) => m.peer === rank);
      if (mail !== undefined) return new RankError(rank, mail.hop, `${mailName(mail)} by rank ${waiter.rank}`, how);
    }
    return phase === "idle" ? new RankError(rank, undefined, undefined, how) : new RankError(rank, hop, endOf(phase), how);
  }

  /** Forgets silence from before a job began, or while this thread itself was held up. */
  rest(): void {
    this.#seen.fill(now());
    this.#lastCheck = now();
  }

  /** The fault there is, if any. Called a few times a second while a job runs. */
  check(job: number): RankError | undefined {
    const at = now();
    // A thread that was itself held up has heard nobody: that is not the ranks' silence.
    if (at - this.#lastCheck > this.#patience / 2) this.#seen.fill(at);
    this.#lastCheck = at;
    const allowed = this.#pulses.some((p) => p.phase === "compile") ? this.#compileSeconds : this.#patience;
    for (const pulse of this.#pulses) {
      const silent = at - this.#seen[pulse.rank];
      if (silent > allowed) return this.dead(pulse.rank, `no sign of life for ${silent.toFixed(1)} s`);
    }
    for (const pulse of this.#pulses) {
      if (pulse.job !== job) continue;
      for (const mail of pulse.awaiting) {
        const fault = pulse.at - Math.max(mail.since, pulse.resumed) > this.#patience ? this.#undelivered(pulse, mail) : undefined;
        if (fault !== undefined) return fault;
      }
    }
    return undefined;
  }

  /** Why what a rank awaits is not coming, if its sender has nothing to do any more or says it was delivered. */
  #undelivered(waiter: Pulse, mail: Mail): RankError | undefined {
    const sender = this.#pulses[mail.peer];
    const delivered = sender.delivered.find((d) => d.peer === waiter.rank && d.kind === mail.kind && d.hop >= mail.hop);
    const name = `${mailName(mail)} from rank ${mail.peer}`;
    if (delivered !== undefined) {
      const late = waiter.at - delivered.at;
      return late > this.#patience ? new RankError(waiter.rank, mail.hop, name, `what rank ${mail.peer} sent ${late.toFixed(1)} s ago never came`) : undefined;
    }
    // A sender that is halted, computes, has messages on its link, or itself waits for an earlier one, is not at fault.
    const computing = sender.phase !== "idle" && sender.awaiting.length === 0;
    if (sender.phase === "halt" || computing || sender.sending > 0 || sender.awaiting.some((m) => m.hop < mail.hop)) return undefined;
    return new RankError(waiter.rank, mail.hop, name, `waited ${this.#patience.toFixed(1)} s, and rank ${mail.peer} has not sent it (it is ${sender.phase}, hop ${sender.hop})`);
  }
}

function mailName(mail: Mail): string {
  return mail.kind === "ring" ? `the chunk of hop ${mail.hop}` : "the All2All parcel";
}
