/**
 * Simulates the ring of one layer over virtual time. Each rank runs the engine's own ring program (pass-KV or pass-Q of
 * engine/ring). Its device and its ring don't do the work: they compute when it ends, and a message carries the time of
 * its arrival. The result is deterministic: times depend only on data, never on the order in which promises resolve.
 */
import type { Attention, Ring, Variant } from "../ring/contract.ts";
import { passKv } from "../ring/pass-kv.ts";
import { passQ } from "../ring/pass-q.ts";
import type { Kind, Lane, Span } from "../trace/span.ts";
import type { Wire } from "./rates.ts";
import { type Packet, SimulatedNetwork } from "./simulated-network.ts";

/** One layer's ring on a simulated cluster. Times in seconds. */
export interface RingWork {
  /** N. */
  readonly ranks: number;
  readonly variant: Variant;
  /**
   * Seconds of attention on a rank of normal speed. Rank `queries` first owned the queries, and rank `keys` the keys.
   * Undefined if no query sees a key and nothing runs.
   */
  readonly attend: (queries: number, keys: number) => number | undefined;
  /** FLOPs of that attention, for spans. */
  readonly flops?: (queries: number, keys: number) => number;
  /** Bytes of the message that a rank sends at a hop, with padding. Undefined if no later rank needs it. */
  readonly message: (rank: number, hop: number) => number | undefined;
  /** Bytes of a rank's parcel for `owner` in pass-Q's All2All. Undefined if the rank has nothing to send there. */
  readonly parcel: (rank: number, owner: number) => number | undefined;
  /** The link from a rank to the next one. */
  readonly wire: (from: number) => Wire;
  /** Seconds that a rank's part of the All2All takes. */
  readonly exchange: (rank: number) => number;
  /** Seconds that a rank takes to merge the partial results at the end of pass-Q, if some arrive. */
  readonly merge: (rank: number) => number;
  /** Seconds of host work before each ring step. One rank has none. */
  readonly hopOverhead: number;
  /** Whether transfers run beside attention. In a decode graph they don't: it has one stream. */
  readonly overlap: boolean;
  /** When a rank enters the ring. */
  readonly start: (rank: number) => number;
  /** How many times slower than normal a rank computes. */
  readonly slowdown?: (rank: number) => number;
  /** A factor on a hop's attention (0) or transfer (1). */
  readonly jitter?: (rank: number, hop: number, what: 0 | 1) => number;
  /**
   * All ranks are alike and send every message, so run only one. It receives what it sends, as its neighbour would.
   * This is exact if attention, wires and starts do not depend on the rank, and it takes O(N) hops instead of N x N.
   */
  readonly oneForAll?: boolean;
  /** Receives every span. */
  readonly onSpan?: (span: Span) => void;
  /** Ends the simulation. */
  readonly signal?: AbortSignal;
}

/** One rank's time in the ring, in seconds. The parts sum to `end - start`. */
export interface RankTime {
  readonly rank: number;
  readonly start: number;
  readonly end: number;
  readonly attend: number;
  readonly merge: number;
  /** Exposed communication: waiting for ring messages that attention did not hide. */
  readonly wait: number;
  /** From this rank's last partial result until every parcel has arrived. */
  readonly all2all: number;
  /** Host work of the ring steps. */
  readonly launch: number;
}

/** Runs the ring and yields the thread now and then. Resolves to every rank's times (with `oneForAll`, one rank's). */
export async function simulateRing(work: RingWork): Promise<RankTime[]> {
  const network = new SimulatedNetwork(work.ranks, work.oneForAll === true, work.signal);
  const ranks = Array.from({ length: work.oneForAll ? 1 : work.ranks }, (_, k) => new SimulatedRank(work, network, k));
  const running: Promise<void>[] = [];
  for (const rank of ranks) {
    await network.turns.next();
    const run = rank.run();
    run.catch(() => {}); // awaited below, unless the simulation ends early
    running.push(run);
  }
  await Promise.all(running);
  return ranks.map((rank) => rank.time());
}

/** Queries, keys or a partial result on a rank's device. */
interface Operand {
  owner: number;
  ready: number;
}

/** One rank: its device and its place in the ring, both on its own clock. */
class SimulatedRank implements Attention<Packet, Operand, Operand, Operand>, Ring<Packet> {
  readonly rank: number;
  readonly size: number;
  readonly #network: SimulatedNetwork;
  readonly #work: RingWork;
  readonly #slow: number;
  readonly #overhead: number;
  readonly #begin: number;
  /** When the device is free, and when the outgoing link is free. */
  #free: number;
  #egress: number;
  #attend = 0;
  #merge = 0;
  #wait = 0;
  #all2all = 0;
  #launch = 0;
  #incoming: Promise<Packet> | undefined;
  /** Two operands take turns: the one in use and the one arriving. */
  readonly #operands: readonly [Operand, Operand];
  #turn: 0 | 1 = 0;
  readonly #partial: Operand;
  readonly #settled: Promise<Operand>;
  readonly #parcel: Promise<Packet>;

  constructor(work: RingWork, network: SimulatedNetwork, rank: number) {
    this.rank = rank;
    this.size = work.ranks;
    this.#network = network;
    this.#work = work;
    this.#slow = work.slowdown?.(rank) ?? 1;
    this.#overhead = work.ranks > 1 ? work.hopOverhead : 0;
    this.#begin = work.start(rank);
    this.#free = this.#begin;
    this.#egress = this.#begin;
    this.#operands = [{ owner: rank, ready: 0 }, { owner: rank, ready: 0 }];
    this.#partial = { owner: rank, ready: 0 };
    this.#settled = Promise.resolve(this.#partial);
    this.#parcel = Promise.resolve({ owner: rank, bytes: 0, ready: 0 });
  }

  async run(): Promise<void> {
    const own: Packet = { owner: this.rank, bytes: 0, ready: this.#begin };
    const stays: Operand = { owner: this.rank, ready: this.#begin };
    await (this.#work.variant === "pass-kv" ? passKv(this, this, stays, own) : passQ(this, this, own, stays));
  }

  time(): RankTime {
    return {
      rank: this.rank,
      start: this.#begin,
      end: this.#free,
      attend: this.#attend,
      merge: this.#merge,
      wait: this.#wait,
      all2all: this.#all2all,
      launch: this.#launch,
    };
  }

  loadQueries(packet: Packet): Operand {
    return this.#load(packet);
  }

  loadKeys(packet: Packet): Operand {
    return this.#load(packet);
  }

  attend(hop: number, q: Operand, kv: Operand): Promise<Operand> {
    // In a graph of one stream, the transfer is a kernel before the attention, so the attention waits for its arrival.
    if (this.#incoming !== undefined && !this.#work.overlap) {
      return this.#incoming.then((packet) => this.#attended(hop, q, kv, packet.ready));
    }
    this.#attended(hop, q, kv, 0);
    return this.#settled;
  }

  /** Parcels leave together in the All2All, which begins when the device is free. One packet stands for all parcels. */
  unload(_hop: number, _partial: Operand, _owner: number): Promise<Packet> {
    return this.#parcel;
  }

  merge(own: Operand, arrived: readonly Packet[]): Promise<Operand> {
    const start = Math.max(this.#free, own.ready, arrived[0]?.ready ?? 0);
    const seconds = arrived.length === 0 ? 0 : this.#work.merge(this.rank) * this.#slow;
    this.#free = start + seconds;
    this.#merge += seconds;
    if (seconds > 0) this.#span("device", "merge", this.size - 1, start, seconds);
    return Promise.resolve({ owner: this.rank, ready: this.#free });
  }

  shift(hop: number, packet: Packet): Promise<Packet> {
    const bytes = this.#work.message(this.rank, hop);
    packet.bytes = bytes ?? 0;
    if (bytes === undefined) packet.ready = 0;
    else this.#send(hop, packet);
    const { turns } = this.#network;
    const incoming = turns.due
      ? turns.rest().then(() => this.#network.pass(this.rank, packet))
      : this.#network.pass(this.rank, packet);
    if (!this.#work.overlap) this.#incoming = incoming;
    return incoming;
  }

  #send(hop: number, packet: Packet): void {
    const work = this.#work;
    const wire = work.wire(this.rank);
    const start = Math.max(packet.ready, this.#free, this.#egress - this.#overhead) + this.#overhead;
    const seconds = (packet.bytes / wire.rate) * (work.jitter?.(this.rank, hop, 1) ?? 1);
    this.#egress = start + seconds;
    packet.ready = start + seconds + wire.latency;
    if (work.onSpan !== undefined) {
      const next = (this.rank + 1) % this.size;
      const move = { hop, start, duration: seconds + wire.latency, bytes: packet.bytes, flops: 0 };
      work.onSpan({ rank: this.rank, lane: "send", kind: "send", ...move, peer: next });
      work.onSpan({ rank: next, lane: "receive", kind: "receive", ...move, peer: this.rank });
    }
  }

  async allToAll(parcels: readonly (Packet | undefined)[]): Promise<Packet[]> {
    const others = parcels.flatMap((_, s) => s === this.rank ? [] : [s]);
    const { parcel, exchange } = this.#work;
    const sent = others.flatMap((s) => parcel(this.rank, s) ?? []);
    const senders = others.filter((s) => parcel(s, this.rank) !== undefined);
    const start = this.#free;
    const done = sent.length === 0 ? start : start + exchange(this.rank);
    const ends = this.#network.meet(this.rank, done);
    if (senders.length === 0 && sent.length === 0) return [];
    const end = (await ends).of(this.rank, senders);
    this.#free = end;
    this.#all2all += end - start;
    const bytes = sent.reduce((sum, size) => sum + size, 0);
    this.#span("device", "all2all", this.size - 1, start, end - start, { bytes });
    // The last parcel arrives now.
    return new Array<Packet>(senders.length).fill({ owner: this.rank, bytes: 0, ready: end });
  }

  #load(packet: Packet): Operand {
    const operand = this.#operands[this.#turn];
    this.#turn = this.#turn === 0 ? 1 : 0;
    operand.owner = packet.owner;
    operand.ready = packet.ready;
    return operand;
  }

  #attended(hop: number, q: Operand, kv: Operand, stream: number): Operand {
    const work = this.#work;
    this.#incoming = undefined;
    const ready = Math.max(q.ready, kv.ready);
    if (ready > this.#free) this.#waited(hop, ready);
    const attends = work.attend(q.owner, kv.owner);
    const sends = hop < this.size - 1 && work.message(this.rank, hop) !== undefined;
    if (this.#overhead > 0 && (attends !== undefined || sends)) {
      this.#span("device", "launch", hop, this.#free, this.#overhead);
      this.#free += this.#overhead;
      this.#launch += this.#overhead;
    }
    if (stream > this.#free) this.#waited(hop, stream);
    if (attends === undefined) {
      this.#partial.ready = this.#free;
      return this.#partial;
    }
    const seconds = attends * this.#slow * (work.jitter?.(this.rank, hop, 0) ?? 1);
    if (work.onSpan !== undefined) {
      const peer = work.variant === "pass-kv" ? kv.owner : q.owner;
      this.#span("device", "attend", hop, this.#free, seconds, { flops: work.flops?.(q.owner, kv.owner) ?? 0, peer });
    }
    this.#free += seconds;
    this.#attend += seconds;
    this.#partial.ready = this.#free;
    return this.#partial;
  }

  #waited(hop: number, until: number): void {
    this.#span("device", "wait", hop, this.#free, until - this.#free);
    this.#wait += until - this.#free;
    this.#free = until;
  }

  #span(lane: Lane, kind: Kind, hop: number, start: number, duration: number, more: Partial<Span> = {}): void {
    this.#work.onSpan?.({ rank: this.rank, lane, kind, hop, start, duration, bytes: 0, flops: 0, ...more });
  }
}
