/** The messages between simulated ranks: who hands which packet to whom, and at which virtual time it arrives. */
import type { Chunk } from "../ring/contract.ts";
import { Turns } from "../turns.ts";

/** A simulated message. It carries no rows, only the time of their arrival. */
export interface Packet extends Chunk {
  readonly owner: number;
  /** Bytes of its last message. */
  bytes: number;
  /** When it arrives at the rank that holds it. */
  ready: number;
}

/** When the parcels of the All2All have left. */
export interface Ends {
  /** When rank `mine` is done: its own parcels have left, and those of `senders` have arrived. */
  readonly of: (mine: number, senders: readonly number[]) => number;
}

/** The mailboxes between neighbours, and the meeting point of the All2All. */
export class SimulatedNetwork {
  readonly turns: Turns;
  /** Packets that a rank has not yet taken. A rank that yielded the thread is behind its neighbour. */
  readonly #inbox: Packet[][];
  readonly #waiting: (((packet: Packet) => void) | undefined)[];
  /** When each rank's parcels have left. */
  readonly #ends: number[] = [];
  #met = 0;
  readonly #all: Promise<Ends>;
  #resolve!: (ends: Ends) => void;

  readonly #ranks: number;
  readonly #oneForAll: boolean;

  /** With `oneForAll`, one rank stands for all: it receives what it sends. */
  constructor(ranks: number, oneForAll: boolean, signal?: AbortSignal) {
    this.#ranks = ranks;
    this.#oneForAll = oneForAll;
    this.turns = new Turns(signal);
    this.#inbox = Array.from({ length: oneForAll ? 0 : ranks }, () => []);
    this.#all = new Promise((resolve) => (this.#resolve = resolve));
    this.#waiting = new Array<((packet: Packet) => void) | undefined>(ranks);
  }

  /** Hands a packet to the next rank, and resolves to the packet from the previous rank. */
  pass(rank: number, packet: Packet): Promise<Packet> {
    if (this.#oneForAll) return Promise.resolve(packet);
    const to = rank + 1 === this.#ranks ? 0 : rank + 1;
    const taker = this.#waiting[to];
    if (taker === undefined) this.#inbox[to].push(packet);
    else {
      this.#waiting[to] = undefined;
      taker(packet);
    }
    const mine = this.#inbox[rank].shift();
    return mine === undefined ? new Promise((resolve) => (this.#waiting[rank] = resolve)) : Promise.resolve(mine);
  }

  /** Takes the time `end` at which this rank's parcels have left. Resolves to all ranks' ends, once all are known. */
  meet(rank: number, end: number): Promise<Ends> {
    if (this.#oneForAll) return Promise.resolve({ of: () => end });
    const ends = this.#ends;
    ends[rank] = end;
    if (++this.#met === this.#ranks) {
      this.#resolve({ of: (mine, senders) => senders.reduce((last, s) => Math.max(last, ends[s]), ends[mine]) });
    }
    return this.#all;
  }
}
