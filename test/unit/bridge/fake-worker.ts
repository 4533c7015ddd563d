/** A worker that does what a test wants, over a real socket. It validates every message of the client by the schema. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { readSchema } from "../../../cuda-bridge/client/schema.ts";
import type { Facts, Limits } from "../../../cuda-bridge/client/types.ts";
import { runtime } from "../cli/command.ts";

export const TOKEN = "t0k3n-of-the-test";

/** The client of this runtime. */
export const { Remote } = runtime === "deno"
  ? await import("../../../cuda-bridge/client/deno.ts")
  : await import("../../../cuda-bridge/client/node.ts");

/** Says why the schema rejects a message. */
export const complaint = await readSchema((url) => readFile(url, "utf8"));

export const LIMITS: Limits = {
  frameBytes: 1040,
  tensorBytes: 2 ** 30,
  runSeconds: 60,
  queue: 4,
  connections: 4,
  window: 4096,
};
export const FACTS: Facts = {
  worker: "0.1.0",
  python: "3.11",
  torch: "2.13",
  platform: "a test",
  backend: "single",
  processes: 1,
  hosts: 1,
  devices: [{ name: "a fake", kind: "cpu", memoryBytes: 2 ** 33 }],
  kernels: [{ name: "flash-cpu", ok: true, maxError: 1e-7, chosen: true }],
};

// deno-lint-ignore no-explicit-any -- a test looks into messages as it likes
type Message = any;

class Gone extends Error {}

/** The worker's end of one connection. */
export class Peer {
  readonly socket: WebSocket;
  readonly heard: Message[] = [];
  readonly frames: Uint8Array[] = [];
  /** Complaints of the schema about what the client sent, and what went wrong in playing the worker. */
  readonly complaints: string[] = [];
  #wake: () => void = () => {};

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: Uint8Array, binary: boolean) => {
      if (binary) this.frames.push(new Uint8Array(data));
      else {
        const message = JSON.parse(data.toString());
        const wrong = complaint("clientMessage", message);
        if (wrong !== undefined) this.complaints.push(wrong);
        this.heard.push(message);
      }
      this.#wake();
    });
    socket.on("close", () => this.#wake());
    socket.on("error", () => {});
  }

  say(message: Message): void {
    this.socket.send(JSON.stringify(message));
  }

  /** The n-th message (from 0) that `is` wanted, once it has come. */
  async hears(is: (message: Message) => boolean, n = 0): Promise<Message> {
    return await this.until(() => this.heard.filter(is)[n]);
  }

  /** The n-th call. */
  async call(n = 0): Promise<Message> {
    return await this.hears((m) => m.type === "call", n);
  }

  /** What `look` gives once it gives something, asked again at everything that comes. */
  async until<T>(look: () => T | undefined): Promise<T> {
    for (;;) {
      const found = look();
      if (found !== undefined) return found;
      if (this.socket.readyState > 1) throw new Gone();
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Awaits hello and welcomes. */
  async greet(more: Message = {}): Promise<void> {
    await this.hears((m) => m.type === "hello");
    this.say({ type: "welcome", protocol: 1, facts: FACTS, limits: LIMITS, capabilities: [], ...more });
  }
}

/** A running fake. `peers`: the connections so far. */
export interface FakeWorker {
  readonly url: string;
  readonly port: number;
  readonly peers: Peer[];
  close(): Promise<void>;
}

/**
 * Starts one. `serve` plays the worker on each connection (`n` from 0). Its error when the client leaves is no failure.
 */
export async function fakeWorker(
  serve: (peer: Peer, n: number) => Promise<void>,
  options: { port?: number; protocol?: string | false } = {},
): Promise<FakeWorker> {
  const server = new WebSocketServer({
    host: "127.0.0.1",
    port: options.port ?? 0,
    handleProtocols: () => options.protocol ?? "ringside-1",
  });
  const peers: Peer[] = [];
  server.on("connection", (socket) => {
    const peer = new Peer(socket);
    peers.push(peer);
    serve(peer, peers.length - 1).catch((error) => error instanceof Gone || peer.complaints.push(String(error)));
  });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `ws://127.0.0.1:${port}`,
    port,
    peers,
    close: () =>
      new Promise((resolve) => {
        for (const socket of server.clients) socket.terminate();
        server.close(() => resolve());
      }),
  };
}

/** A worker's value of a run. */
export function runValue(more: Message = {}): Message {
  return {
    variant: "pass-kv",
    ranks: 2,
    processes: 1,
    simulated: true,
    backend: "single",
    device: "a fake",
    kernel: "flash-cpu",
    clock: "host",
    dtype: "f32",
    causal: true,
    scale: 0.25,
    shape: { heads: 2, kvHeads: 1, headDim: 16, sequences: [{ new: 8, cached: 0 }] },
    perRank: [],
    times: { compile: 0, upload: 0, attend: 1, exchange: 0, merge: 0, total: 1 },
    link: null,
    notes: [],
    ...more,
  };
}
