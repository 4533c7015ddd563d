/** Keeps the ranks' signs of life: who is silent, who has waited too long for what, what a failed rank was doing. */
import { RankError } from "../errors.ts";
import { endOf, type JobProgress, type Mail, type Pulse } from "../rank/job.ts";
import { now } from "../trace/clock.ts";

/** A message that a rank has awaited for too long. */
export interface Suspicion {
  readonly waiter: number;
  readonly mail: Mail;
}

/** The last pulse of every rank. */
export class Monitor {
  readonly #pulses: Pulse[];
  /** When each rank's pulse last came, by this thread's clock. */
  readonly #seen: number[];
  #lastLook = now();

  constructor(size: number) {
    this.#seen = new Array(size).fill(now());
    this.#pulses = new Array(size);
    for (let rank = 0; rank < size; rank++) this.replace(rank);
  }

  put(pulse: Pulse): void {
    this.#pulses[pulse.rank] = pulse;
    this.#seen[pulse.rank] = now();
  }

  /** Hops done by all ranks in a job. */
  done(job: number): number {
    return this.#pulses.reduce((sum, p) => sum + (p.job === job ? p.done : 0), 0);
  }

  /** Whether every rank has compiled for a job and waits for leave to begin. */
  compiled(job: number): boolean {
    return this.#pulses.every((p) => p.job === job && p.phase === "barrier");
  }

  /** The error of a rank that failed, with its hop and what another rank awaited from it. */
  failed(rank: number, how: string): RankError {
    const { hop, phase } = this.#pulses[rank];
    for (const waiter of this.#pulses) {
      const mail = waiter.awaiting.find((m) => m.peer === rank);
      if (mail !== undefined) return new RankError(rank, mail.hop, `${mailName(mail)} by rank ${waiter.rank}`, how);
    }
    return phase === "idle"
      ? new RankError(rank, undefined, undefined, how)
      : new RankError(rank, hop, endOf(phase), how);
  }

  /** Forgets a rank's state: another takes its place. */
  replace(rank: number): void {
    this.put({ rank, at: now(), job: undefined, phase: "idle", hop: 0, done: 0, awaiting: [], sending: 0 });
  }

  /** Starts watching. Earlier silence doesn't count. */
  listen(): void {
    this.#lastLook = now();
    this.#seen.fill(this.#lastLook);
  }

  /**
   * Ranks without a sign of life for `limit` seconds, and for how long. If this thread was itself held up, it heard
   * nobody: that is not their silence.
   */
  silent(limit: number): { readonly rank: number; readonly seconds: number }[] {
    const at = now();
    if (at - this.#lastLook > limit / 2) this.#seen.fill(at);
    this.#lastLook = at;
    return this.#seen.flatMap((seen, rank) => (at - seen > limit ? [{ rank, seconds: at - seen }] : []));
  }

  /** Messages of a job awaited for more than `limit` seconds whose senders aren't busy. */
  suspicions(job: number, limit: number): Suspicion[] {
    return this.#pulses.flatMap(({ rank: waiter, job: own, at, awaiting }) =>
      own !== job
        ? []
        : awaiting.filter((mail) => at - mail.since > limit && !this.#busy(mail)).map((mail) => ({ waiter, mail }))
    );
  }

  /**
   * Whether a message's sender is halted, computes, has messages on its link, or waits for an earlier message itself.
   */
  #busy({ peer, hop }: Mail): boolean {
    const { phase, awaiting, sending } = this.#pulses[peer];
    const computing = phase !== "idle" && awaiting.length === 0;
    return phase === "halt" || phase === "barrier" || computing || sending > 0 || awaiting.some((m) => m.hop < hop);
  }
}

/**
 * Finds why a message doesn't come: asks its sender, then its waiter, about their own messages. Undefined if it may
 * still come. The waiter answers last: by then, everything delivered is in its mailbox.
 */
export async function convict(
  { waiter, mail }: Suspicion,
  waited: number,
  ask: (rank: number) => Promise<JobProgress>,
): Promise<RankError | undefined> {
  const sender = await ask(mail.peer);
  const sent = sender.sent.find((m) => m.peer === waiter && m.kind === mail.kind && m.hop === mail.hop);
  if (sender.state === "ahead" || sent?.delivered === false) return undefined;
  // A rank sends before it waits at the same hop. So one that waits at this hop or a later one has passed it.
  const passed = sender.state === "ended" || sender.awaiting.some((m) => m.hop >= mail.hop);
  if (sent === undefined && !passed) return undefined;
  const { awaiting } = await ask(waiter);
  if (!awaiting.some((m) => m.peer === mail.peer && m.kind === mail.kind && m.hop === mail.hop)) return undefined;
  const how = sent === undefined
    ? `has not sent it (it ${sender.state === "ended" ? "has ended its part" : "waits for others"})`
    : "sent it, but it never came";
  return new RankError(
    waiter,
    mail.hop,
    `${mailName(mail)} from rank ${mail.peer}`,
    `waited ${waited.toFixed(1)} s, and rank ${mail.peer} ${how}`,
  );
}

function mailName(mail: Mail): string {
  return mail.kind === "ring" ? `the chunk of hop ${mail.hop}` : "the All2All parcel";
}
