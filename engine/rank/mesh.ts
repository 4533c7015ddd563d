/**
 * A rank's ports to every other rank, and each job's messages over them. Two jobs share nothing but the ports.
 */
import { now } from "../trace/clock.ts";
import type { RankChunk } from "../ring/chunk.ts";
import type { Link, Mail } from "./job.ts";
import { Mailbox } from "./mailbox.ts";

/** A message on its way between two ranks. */
export interface Letter {
  readonly job: number;
  readonly kind: Mail["kind"];
  readonly hop: number;
  /** Seconds on the shared clock at which the sender gave it to its link. */
  readonly sentAt: number;
  readonly chunk: RankChunk;
}

/** A message that has arrived, and when. */
export interface Arrival extends Letter {
  readonly arrivedAt: number;
}

/** One job's messages: those that arrived, are awaited, are on this rank's link, or have left it. */
export class Traffic {
  readonly box = new Mailbox<Arrival>();
  /** Messages still on this rank's link. */
  sending = 0;
  /** The time at which the link will have sent all that this job gave it. */
  linkFree = 0;
  /** The job has ended: messages still on its link are never delivered. */
  ended = false;
  readonly #delivered: Mail[] = [];
  readonly #asleep = new Set<() => void>();

  get delivered(): readonly Mail[] {
    return this.#delivered;
  }

  left(mail: Mail): void {
    this.sending -= 1;
    this.#delivered.push(mail);
  }

  end(): void {
    this.ended = true;
    for (const wake of [...this.#asleep]) wake();
  }

  /** Resolves at `time` of the shared clock, or when the job ends. */
  async until(time: number): Promise<void> {
    for (let left = time - now(); left > 0 && !this.ended; left = time - now()) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          clearTimeout(timer);
          this.#asleep.delete(wake);
          resolve();
        };
        const timer = setTimeout(wake, Math.min(left * 1000, LONGEST_TIMER));
        this.#asleep.add(wake);
      });
    }
  }
}

/** Longest wait of one timer, in milliseconds: one of 2^31 or more would fire at once. */
const LONGEST_TIMER = 2 ** 30;

/** All of a rank's ports. Drops messages of ended jobs, and keeps those of the next job for it. */
export class Mesh {
  readonly rank: number;
  readonly size: number;
  readonly #ports: (MessagePort | undefined)[];
  readonly #link: Link | undefined;
  readonly #jobs = new Map<number, Traffic>();
  #ended = -1;
  onChange: () => void = () => {};

  constructor(rank: number, size: number, ports: readonly (MessagePort | undefined)[], link: Link | undefined) {
    this.rank = rank;
    this.size = size;
    this.#ports = [...ports];
    this.#link = link;
    ports.forEach((port, peer) => port && this.connect(peer, port));
  }

  /** Takes `port` as the way to rank `peer`, in place of the port to one that died. */
  connect(peer: number, port: MessagePort): void {
    if (this.#ports[peer] !== port) this.#ports[peer]?.close();
    this.#ports[peer] = port;
    port.onmessage = ({ data }: MessageEvent<Letter>) => {
      if (data.job > this.#ended) {
        this.traffic(data.job).box.put({ kind: data.kind, hop: data.hop, peer }, { ...data, arrivedAt: now() });
      }
    };
  }

  /** The highest job that has ended here. */
  get ended(): number {
    return this.#ended;
  }

  /** A job's messages. */
  traffic(job: number): Traffic {
    let traffic = this.#jobs.get(job);
    if (traffic === undefined) {
      traffic = new Traffic();
      if (job > this.#ended) this.#jobs.set(job, traffic);
      else traffic.end();
    }
    return traffic;
  }

  /** Forgets a job: drops its messages on the link and those that still come. */
  end(job: number): void {
    this.#ended = Math.max(this.#ended, job);
    for (const [id, traffic] of this.#jobs) {
      if (id > this.#ended) continue;
      traffic.end();
      this.#jobs.delete(id);
    }
  }

  /**
   * Sends a chunk and takes ownership of its bytes. Over a modelled link, it waits for the messages before it, then
   * takes bytes / bandwidth + latency. Resolves once it is delivered, or its job has ended.
   */
  async send(to: number, letter: Omit<Letter, "sentAt">): Promise<void> {
    const traffic = this.traffic(letter.job);
    const sentAt = now();
    traffic.sending += 1;
    this.onChange();
    if (this.#link !== undefined) {
      traffic.linkFree = Math.max(traffic.linkFree, sentAt) + letter.chunk.bytes / this.#link.bandwidth;
      await traffic.until(traffic.linkFree + this.#link.latency);
    }
    if (traffic.ended) return;
    this.#ports[to]?.postMessage({ ...letter, sentAt } satisfies Letter, [letter.chunk.data]);
    traffic.left({ kind: letter.kind, hop: letter.hop, peer: to });
    this.onChange();
  }

  close(): void {
    this.end(Infinity);
    for (const port of this.#ports) port?.close();
  }
}
