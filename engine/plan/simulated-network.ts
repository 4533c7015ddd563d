/** The messages between simulated ranks: who hands which packet to whom, and at which virtual time it arrives. */
import type { Chunk } from "../ring/contract.ts";
import { Turns } from "../turns.ts";

/** A simulated message. It carries no rows, only the time of their arrival. */
export interface Packet extends Chunk {
  readonly owner: number;
  readonly bytes: number;
  /** When it arrives at the rank that holds it. */
  ready: number;
}

/** The mailboxes between neighbours, and the meeting point of the All2All. */
export class SimulatedNetwork {
  readonly turns: Turns;
  /** Packets that a rank has not yet taken. A rank that yielded the thread is behind its neighbour. */
  readonly #inbox: Packet[][];
  readonly #waiting: (((packet: Packet) => void) | undefined)[];
  readonly #exchange: { rank: number; end: number; resolve: (end: number) => void }[] = [];

  readonly #ranks: number;
  readonly #oneForAll: boolean;

  /** With `oneForAll`, one rank stands for all: it receives what it sends. */
  constructor(ranks: number, oneForAll: boolean, signal?: AbortSignal) {
    this.#ranks = ranks;
    this.#oneForAll = oneForAll;
    this.turns = new Turns(signal);
    this.#inbox = Array.from({ length: oneForAll ? 0 : ranks }, () => []);
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

  /**
   * Takes the time `end` of this rank's parcels. Resolves to the arrival of all other ranks' parcels, the latest end.
   */
  meet(rank: number, end: number): Promise<number> {
    if (this.#oneForAll) return Promise.resolve(end);
    return new Promise((resolve) => {
      this.#exchange.push({ rank, end, resolve });
      if (this.#exchange.length < this.#ranks) return;
      let [first, second] = [-Infinity, -Infinity];
      let latest = -1;
      for (const part of this.#exchange) {
        if (part.end > first) [first, second, latest] = [part.end, first, part.rank];
        else if (part.end > second) second = part.end;
      }
      for (const part of this.#exchange) part.resolve(Math.max(part.end, part.rank === latest ? second : first));
    });
  }
}
