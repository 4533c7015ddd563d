/** The ring of one job over a rank's ports. It counts traffic and puts transfers on the timeline. */
import { RankError } from "../errors.ts";
import { type Block, tokens } from "../layout/shards.ts";
import { ownerAt, type Ring } from "../ring/contract.ts";
import { NO_KEYS, type RankChunk, rankChunk, relaid, rowBytes, type Shape } from "../ring/chunk.ts";
import { Route } from "../ring/route.ts";
import { now, type Recorder } from "../trace/clock.ts";
import type { Fault, Job, Mail, MailState, Message, RankTraffic } from "./job.ts";
import type { Arrival, Mesh, Traffic } from "./mesh.ts";

/**
 * A fault that strikes when this rank would send at its hop. The rank waits for `strike` before it goes on.
 */
export interface Planned {
  readonly fault: Fault;
  readonly strike: () => Promise<void>;
}

/** No rows. */
const NOTHING: Block = { runs: [], rows: 0 };

/** One rank's place in one job's ring. */
export class MeshRing implements Ring<RankChunk> {
  readonly rank: number;
  readonly size: number;
  readonly #mesh: Mesh;
  readonly #job: number;
  /** What travels; undefined if every message is whole. */
  readonly #route: Route | undefined;
  readonly #shape: Shape;
  readonly #travelling: "queries" | "keys";
  readonly #traffic: Traffic;
  readonly #recorder: Recorder;
  readonly #planned: Planned | undefined;
  readonly #sent = { ring: { messages: 0, bytes: 0 }, all2all: { messages: 0, bytes: 0 } };
  readonly #sends: Promise<void>[] = [];
  readonly #letters = { sent: [] as Message[], received: [] as Message[] };
  readonly #skipped = { messages: 0, bytes: 0 };
  #received = 0;
  #padding = 0;

  constructor(
    mesh: Mesh,
    { id, variant, shape, shards }: Pick<Job, "id" | "variant" | "shape" | "shards">,
    recorder: Recorder,
    planned?: Planned,
  ) {
    this.rank = mesh.rank;
    this.size = mesh.size;
    this.#mesh = mesh;
    this.#job = id;
    this.#shape = shape;
    this.#travelling = variant === "pass-q" ? "queries" : "keys";
    this.#route = shards && new Route(variant, shards, shape.mask);
    this.#traffic = mesh.traffic(id);
    this.#recorder = recorder;
    this.#planned = planned;
  }

  /** The rows of this rank's own chunk that some other rank needs; undefined if that is all of them. */
  get leaving(): Block | undefined {
    return this.#route?.sent(this.rank, 0);
  }

  async shift(hop: number, chunk: RankChunk): Promise<RankChunk> {
    const previous = (this.rank + this.size - 1) % this.size;
    const dropped = this.#strikes(hop) && await this.#struck();
    const widths = rowBytes(this.#shape)[this.#travelling];
    const leaving = this.#needed(chunk, this.#route?.sent(this.rank, hop), this.#route?.own(chunk.owner), widths);
    if (leaving !== undefined && !dropped) {
      this.#padding += (leaving.bytes / Math.max(1, leaving.block.rows)) * (leaving.block.rows - tokens(leaving.block));
      this.#send((this.rank + 1) % this.size, "ring", hop, leaving);
    }
    const expected = ownerAt(this.rank, hop + 1, this.size);
    if (this.#route?.sent(previous, hop).rows === 0) return rankChunk(expected, NOTHING, new ArrayBuffer(0));
    const { chunk: arrived } = await this.#receive(previous, "ring", hop);
    if (arrived.owner !== expected || arrived.data.byteLength !== arrived.bytes) {
      const found = `found a chunk of rank ${arrived.owner} with ${arrived.data.byteLength} of ${arrived.bytes} bytes`;
      throw new RankError(this.rank, hop, `the chunk of rank ${expected} from rank ${previous}`, found);
    }
    return arrived;
  }

  async allToAll(parcels: readonly (RankChunk | undefined)[]): Promise<RankChunk[]> {
    const hop = this.size - 1;
    const start = this.#recorder.begin("all2all", hop);
    const others = parcels.map((_, s) => s).filter((s) => s !== this.rank);
    const dropped = this.#strikes(hop) && await this.#struck();
    const widths = rowBytes(this.#shape).partial;
    for (const s of others) {
      const parcel = this.#needed(parcels[s]!, this.#route?.parcel(this.rank, s), this.#route?.own(s), widths);
      if (parcel !== undefined && !dropped) this.#send(s, "all2all", hop, parcel);
    }
    const senders = others.filter((s) => this.#route?.parcel(s, this.rank).rows !== 0);
    const arrived = await Promise.all(senders.map((s) => this.#receive(s, "all2all", hop)));
    if (arrived.length === 0) return [];
    // The last arrival ended the exchange. Until it was sent, this rank waited for its sender, then for the link.
    const last = arrived.reduce((a, b) => (b.arrivedAt > a.arrivedAt ? b : a));
    const sent = Math.max(start, Math.min(last.sentAt, now()));
    if (sent > start) this.#recorder.add("device", "late", hop, start, { peer: last.peer }, sent - start);
    this.#recorder.add("device", "all2all", hop, sent, {
      bytes: arrived.reduce((sum, { chunk }) => sum + chunk.bytes, 0),
    });
    const own = this.#route?.own(this.rank);
    return arrived.map(({ chunk }) => own === undefined ? chunk : relaid(chunk, own, widths, [0, NO_KEYS]));
  }

  /**
   * The rows `needed` of a chunk, undefined if there are none; the whole chunk without a route. Counts what it leaves out
   * of the owner's `whole` block.
   */
  #needed(
    chunk: RankChunk,
    needed: Block | undefined,
    whole: Block | undefined,
    widths: readonly number[],
  ): RankChunk | undefined {
    if (needed === undefined || whole === undefined) return chunk;
    this.#skipped.messages += Number(needed.rows === 0);
    this.#skipped.bytes += (whole.rows - needed.rows) * widths.reduce((sum, width) => sum + width, 0);
    return needed.rows === 0 ? undefined : relaid(chunk, needed, widths);
  }

  get mail(): MailState {
    const { box, delivered } = this.#traffic;
    const left = (m: Message) =>
      delivered.some(({ kind, hop, peer }) => kind === m.kind && peer === m.peer && hop === m.hop);
    return {
      sent: this.#letters.sent.map((m) => ({ ...m, delivered: left(m) })),
      received: [...this.#letters.received],
      awaiting: box.awaiting.map(({ kind, hop, peer }) => ({ kind, hop, peer })),
    };
  }

  /** Resolves once everything that this rank sent is delivered. */
  async flushed(): Promise<void> {
    await Promise.all(this.#sends);
  }

  get traffic(): RankTraffic {
    const { ring, all2all } = this.#sent;
    return {
      rank: this.rank,
      bytesSent: ring.bytes + all2all.bytes,
      bytesReceived: this.#received,
      messages: ring.messages + all2all.messages,
      ring: { ...ring },
      all2all: { ...all2all },
      paddingBytes: Math.round(this.#padding),
      skipped: { ...this.#skipped },
    };
  }

  #strikes(hop: number): boolean {
    return this.#planned?.fault.hop === hop;
  }

  /** Lets the fault strike. True if it drops the messages of this hop. */
  async #struck(): Promise<boolean> {
    await this.#planned!.strike();
    return this.#planned!.fault.kind === "drop";
  }

  #send(to: number, kind: Mail["kind"], hop: number, chunk: RankChunk): void {
    const start = now();
    const { bytes } = chunk;
    this.#sent[kind].messages += 1;
    this.#sent[kind].bytes += bytes;
    this.#letters.sent.push({ kind, hop, peer: to, owner: chunk.owner, bytes });
    const sent = this.#mesh.send(to, { job: this.#job, kind, hop, chunk }).then(
      () => this.#recorder.add("send", kind === "ring" ? "send" : "all2all", hop, start, { bytes, peer: to }),
      (reason) =>
        this.#traffic.box.fail(new RankError(this.rank, hop, undefined, `could not send to rank ${to}: ${reason}`)),
    );
    this.#sends.push(sent);
  }

  async #receive(from: number, kind: Mail["kind"], hop: number): Promise<Arrival & { readonly peer: number }> {
    const taken = this.#traffic.box.take({ kind, hop, peer: from }, now());
    this.#mesh.onChange();
    const arrival = await taken;
    const { sentAt, arrivedAt, chunk } = arrival;
    this.#received += chunk.bytes;
    this.#letters.received.push({ kind, hop, peer: from, owner: chunk.owner, bytes: chunk.bytes });
    this.#recorder.add("receive", kind === "ring" ? "receive" : "all2all", hop, sentAt, {
      bytes: chunk.bytes,
      peer: from,
    }, arrivedAt - sentAt);
    this.#mesh.onChange();
    return { ...arrival, peer: from };
  }
}
