/** A rank's ports to every other rank, and the ring that one job runs over them. */
import { RankError } from "../errors.ts";
import { tokens } from "../layout/shards.ts";
import { ownerAt, type Ring } from "../ring/contract.ts";
import { now, type Recorder } from "../trace/clock.ts";
import type { RankChunk } from "../ring/chunk.ts";
import type { Fault, Link, Mail, MailState, Message, RankTraffic } from "./job.ts";
import { Mailbox } from "./mailbox.ts";

/** A message between two ranks. */
interface Frame {
  readonly job: number;
  readonly kind: Mail["kind"];
  readonly hop: number;
  /** Seconds on the shared clock at which the sender handed it to its link. */
  readonly sentAt: number;
  readonly chunk: RankChunk;
}

/** A message that has come, and when. */
interface Arrival extends Frame {
  readonly arrivedAt: number;
}

/** All of a rank's ports. Messages of ended jobs are dropped, those of the next one are kept for it. */
export class Mesh {
  readonly rank: number;
  readonly size: number;
  readonly #ports: (MessagePort | undefined)[];
  readonly #link: Link | undefined;
  readonly #boxes = new Map<number, Mailbox<Arrival>>();
  #ended = -1;
  /** When the outgoing link has sent all it was given. */
  #linkFree = 0;
  #sending = 0;
  readonly #delivered = new Map<string, Mail & { at: number }>();
  onChange: () => void = () => {};

  constructor(rank: number, size: number, ports: readonly (MessagePort | undefined)[], link: Link | undefined) {
    this.rank = rank;
    this.size = size;
    this.#ports = [...ports];
    this.#link = link;
    ports.forEach((port, peer) => port && this.connect(peer, port));
  }

  /** Takes `port` as the way to rank `peer`, in place of one that led to a rank that died. */
  connect(peer: number, port: MessagePort): void {
    if (this.#ports[peer] !== port) this.#ports[peer]?.close();
    this.#ports[peer] = port;
    port.onmessage = ({ data }: MessageEvent<Frame>) => {
      if (data.job > this.#ended) this.box(data.job).put({ kind: data.kind, hop: data.hop, peer }, { ...data, arrivedAt: now() });
    };
  }

  /** What this rank has on its link, has delivered, and awaits. */
  state(job: number | undefined): { sending: number; delivered: (Mail & { at: number })[]; awaiting: (Mail & { since: number })[] } {
    const awaiting = job === undefined ? [] : (this.#boxes.get(job)?.awaiting ?? []);
    return { sending: this.#sending, delivered: [...this.#delivered.values()], awaiting };
  }

  box(job: number): Mailbox<Arrival> {
    let box = this.#boxes.get(job);
    if (box === undefined) {
      box = new Mailbox();
      this.#boxes.set(job, box);
    }
    return box;
  }

  /** Forgets a job: what still comes for it is dropped. */
  end(job: number): void {
    this.#ended = Math.max(this.#ended, job);
    this.#boxes.delete(job);
    this.#delivered.clear();
  }

  /**
   * Sends a chunk; its bytes are given away. Over a modelled link it waits for the messages before it, then takes
   * bytes / bandwidth + latency. Resolves when it was delivered.
   */
  async send(to: number, frame: Omit<Frame, "sentAt">): Promise<void> {
    const sentAt = now();
    this.#sending += 1;
    this.onChange();
    if (this.#link !== undefined) {
      this.#linkFree = Math.max(this.#linkFree, sentAt) + frame.chunk.bytes / this.#link.bandwidth;
      await until(this.#linkFree + this.#link.latency);
    }
    this.#ports[to]?.postMessage({ ...frame, sentAt } satisfies Frame, [frame.chunk.data]);
    this.#sending -= 1;
    this.#delivered.set(`${to} ${frame.kind}`, { kind: frame.kind, hop: frame.hop, peer: to, at: now() });
    this.onChange();
  }

  close(): void {
    for (const port of this.#ports) port?.close();
  }
}

async function until(time: number): Promise<void> {
  for (let left = time - now(); left > 0; left = time - now()) {
    await new Promise((resolve) => setTimeout(resolve, left * 1000));
  }
}

/** The ring as one job sees it, with its traffic counted and its transfers on the timeline. */
export class MeshRing implements Ring<RankChunk> {
  readonly rank: number;
  readonly size: number;
  readonly #mesh: Mesh;
  readonly #job: number;
  readonly #recorder: Recorder;
  readonly #fault: { readonly fault: Fault; readonly strike: () => void } | undefined;
  readonly #sent = { ring: { messages: 0, bytes: 0 }, all2all: { messages: 0, bytes: 0 } };
  readonly #sends: Promise<void>[] = [];
  readonly #letters = { sent: [] as Message[], received: [] as Message[] };
  #received = 0;
  #padding = 0;

  constructor(mesh: Mesh, job: number, recorder: Recorder, fault?: { fault: Fault; strike: () => void }) {
    this.rank = mesh.rank;
    this.size = mesh.size;
    this.#mesh = mesh;
    this.#job = job;
    this.#recorder = recorder;
    this.#fault = fault;
  }

  async shift(hop: number, chunk: RankChunk): Promise<RankChunk> {
    const previous = (this.rank + this.size - 1) % this.size;
    this.#padding += (chunk.bytes / Math.max(1, chunk.block.rows)) * (chunk.block.rows - tokens(chunk.block));
    if (!this.#struck(hop)) this.#send((this.rank + 1) % this.size, "ring", hop, chunk);
    const arrived = await this.#receive(previous, "ring", hop);
    const expected = ownerAt(this.rank, hop + 1, this.size);
    if (arrived.owner !== expected || arrived.data.byteLength !== arrived.bytes) {
      throw new RankError(this.rank, hop, `the chunk of rank ${expected} from rank ${previous}`, `found a chunk of rank ${arrived.owner} with ${arrived.data.byteLength} of ${arrived.bytes} bytes`);
    }
    return arrived;
  }

  async allToAll(parcels: readonly (RankChunk | undefined)[]): Promise<RankChunk[]> {
    const start = this.#recorder.begin("all2all", this.size - 1);
    const others = parcels.map((_, s) => s).filter((s) => s !== this.rank);
    if (!this.#struck(this.size - 1)) for (const s of others) this.#send(s, "all2all", this.size - 1, parcels[s]!);
    const arrived = await Promise.all(others.map((s) => this.#receive(s, "all2all", this.size - 1)));
    this.#recorder.add("device", "all2all", this.size - 1, start, { bytes: arrived.reduce((sum, c) => sum + c.bytes, 0) });
    return arrived;
  }

  get mail(): MailState {
    const { awaiting, delivered } = this.#mesh.state(this.#job);
    const done = (m: Message) => delivered.some(({ kind, hop, peer }) => kind === m.kind && peer === m.peer && hop >= m.hop);
    return {
      sent: this.#letters.sent.map((m) => ({ ...m, delivered: done(m) })),
      received: [...this.#letters.received],
      awaiting: awaiting.map(({ kind, hop, peer }) => ({ kind, hop, peer })),
    };
  }

  /** Resolves when all that this rank sent has been delivered. */
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
    };
  }

  #struck(hop: number): boolean {
    if (this.#fault === undefined || this.#fault.fault.hop !== hop) return false;
    this.#fault.strike();
    return this.#fault.fault.kind === "drop";
  }

  #send(to: number, kind: Mail["kind"], hop: number, chunk: RankChunk): void {
    const start = now();
    const { bytes } = chunk;
    this.#sent[kind].messages += 1;
    this.#sent[kind].bytes += bytes;
    this.#letters.sent.push({ kind, hop, peer: to, owner: chunk.owner, bytes });
    const sent = this.#mesh.send(to, { job: this.#job, kind, hop, chunk }).then(
      () => this.#recorder.add("send", kind === "ring" ? "send" : "all2all", hop, start, { bytes, peer: to }),
      (reason) => this.#mesh.box(this.#job).fail(new RankError(this.rank, hop, undefined, `could not send to rank ${to}: ${reason}`)),
    );
    this.#sends.push(sent);
  }

  async #receive(from: number, kind: Mail["kind"], hop: number): Promise<RankChunk> {
    const taken = this.#mesh.box(this.#job).take({ kind, hop, peer: from }, now());
    this.#mesh.onChange();
    const { sentAt, arrivedAt, chunk } = await taken;
    this.#received += chunk.bytes;
    this.#letters.received.push({ kind, hop, peer: from, owner: chunk.owner, bytes: chunk.bytes });
    this.#recorder.add("receive", kind === "ring" ? "receive" : "all2all", hop, sentAt, { bytes: chunk.bytes, peer: from }, arrivedAt - sentAt);
    this.#mesh.onChange();
    return chunk;
  }
}
