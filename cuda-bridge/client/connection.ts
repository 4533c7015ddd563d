/**
 * One socket to a worker: hello, calls, tensors, signs of life. It never reopens; `caller.ts` makes
 * the next connection.
 */
import { Call, type CallRequest, type CallResult, type Message } from "./call.ts";
import { clean } from "./clean.ts";
import { type ErrorMessage, errorOf, errorOfClose, RemoteError, remoteError, unreachable } from "./errors.ts";
import { HEAD_BYTES, writeFrame } from "./frames.ts";
import type { ClientPlatform } from "./platform.ts";
import type { Complaint } from "./schema.ts";
import { Inbox, type Incoming, Outgoing, type TensorRef } from "./streams.ts";
import type { Facts, Limits } from "./types.ts";

/** The protocol that this client speaks. */
export const PROTOCOL = 1;
/** Seconds that a worker has to confirm a cancellation before the client goes on without it. */
const CANCEL_SECONDS = 2;
/** Seconds that a socket has to close. */
const CLOSE_SECONDS = 1;
/** Longest text message accepted, in characters. */
const MOST_TEXT = 2 ** 26;

/** The worker's first message. */
export interface Welcome {
  readonly protocol: number;
  readonly facts: Facts;
  readonly limits: Limits;
  readonly capabilities: readonly string[];
}

/** The options of a connection. */
export interface OpenOptions {
  readonly platform: ClientPlatform;
  readonly complaint: Complaint;
  readonly address: string;
  readonly token: string;
  readonly connectSeconds: number;
  readonly idleSeconds: number;
  readonly signal?: AbortSignal;
}

/** Seconds of a clock that only goes forward. */
const seconds = () => performance.now() / 1000;

/** An open connection. */
export class Connection {
  /** Resolves once it has ended, with why. */
  readonly ended: Promise<RemoteError>;
  #end: (why: RemoteError) => void = () => {};
  #over: RemoteError | undefined;
  #welcome: Welcome | undefined;
  #greeted: () => void = () => {};
  #farewell: RemoteError | undefined;
  readonly #socket: WebSocket;
  readonly #options: OpenOptions;
  readonly #calls = new Map<number, Call>();
  /** Calls that ended here before the worker knew: further messages about them are ignored. */
  readonly #abandoned = new Set<number>();
  #inbox = new Inbox(0, 0);
  readonly #outgoing = new Map<number, Outgoing>();
  #ids = 0;
  #streams = 0;
  #heard = seconds();
  #probe: number | undefined;
  #clock: ReturnType<typeof setInterval> | undefined;

  private constructor(socket: WebSocket, options: OpenOptions) {
    this.#socket = socket;
    this.#options = options;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }: MessageEvent<unknown>) => this.#hear(data));
    socket.addEventListener(
      "close",
      ({ code, reason }) => this.#finish(this.#farewell ?? errorOfClose(code, reason, this.#options.address)),
    );
  }

  /** Opens a socket and says hello. Errors: RemoteError; the signal's reason. */
  static async open(options: OpenOptions): Promise<Connection> {
    const { platform, address, token, connectSeconds, signal } = options;
    signal?.throwIfAborted();
    const Socket = await platform.webSocket();
    let socket: WebSocket;
    try {
      socket = new Socket(address, ["ringside-1"]);
    } catch (error) {
      throw remoteError("unreachable", address, `no connection can be opened from here (${(error as Error).message})`);
    }
    const connection = new Connection(socket, options);
    let abort = () => {};
    let timer: ReturnType<typeof setTimeout> | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        let opened = false;
        abort = () => reject(signal!.reason);
        signal?.addEventListener("abort", abort, { once: true });
        timer = setTimeout(
          () =>
            reject(
              remoteError(
                "connect-timeout",
                address,
                `${opened ? "the worker did not say welcome" : "nobody answered"} within ${connectSeconds} s`,
              ),
            ),
          connectSeconds * 1000,
        );
        connection.#greeted = resolve;
        socket.addEventListener("open", () => {
          opened = true;
          if (socket.protocol !== "ringside-1") {
            return reject(
              remoteError(
                "bad-reply",
                address,
                `found a server that does not speak ringside-1 (it chose ${JSON.stringify(socket.protocol)})`,
              ),
            );
          }
          connection.#send({ type: "hello", protocol: PROTOCOL, token, client: `ringside in ${platform.runtime}` });
        });
        // An error event comes before the close. Only it may say why a connection failed.
        socket.addEventListener("error", (event) => {
          const { message } = event as Event & { message?: string };
          if (!opened) reject(unreachable(address, platform.runtime, message?.replaceAll(token, "(the token)")));
        });
        void connection.ended.then((why) => reject(opened ? why : unreachable(address, platform.runtime)));
      });
      return connection;
    } catch (error) {
      connection.#finish(
        error instanceof RemoteError ? error : remoteError("closed", address, "connecting was cancelled"),
        1000,
      );
      throw error;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    }
  }

  /** The worker's first message. */
  get welcome(): Welcome {
    return this.#welcome!;
  }

  /** Why it has ended, if it has. */
  get over(): RemoteError | undefined {
    return this.#over;
  }

  /**
   * Makes a call. Errors: those of errorOf; RemoteError "lost" if the connection ends before the call does; the
   * signal's reason.
   */
  async call(request: CallRequest): Promise<CallResult> {
    const { method, params, uploads = {}, options: { signal } = {} } = request;
    signal?.throwIfAborted();
    if (this.#over !== undefined) throw this.#over;
    const { limits } = this.welcome;
    const refs: Record<string, TensorRef> = {};
    for (const [name, { dtype, shape, data }] of Object.entries(uploads)) {
      if (data.byteLength > limits.tensorBytes) {
        throw remoteError(
          "too-large",
          this.#options.address,
          `${name}: found ${data.byteLength} bytes, expected at most ${limits.tensorBytes}`,
        );
      }
      refs[name] = { stream: ++this.#streams, dtype, shape, bytes: data.byteLength };
    }
    const id = ++this.#ids;
    let abort = () => {};
    try {
      return await new Promise<CallResult>((resolve, reject) => {
        const now = seconds();
        const call = new Call(id, request, now, resolve, reject);
        abort = () => this.#cancel(call, signal!.reason);
        signal?.addEventListener("abort", abort, { once: true });
        this.#calls.set(id, call);
        this.#watchClock();
        const tensors = Object.keys(refs).length === 0 ? {} : { tensors: refs };
        this.#send({ type: "call", id, method, params: { ...params, ...tensors } });
        for (const ref of Object.values(refs)) {
          const out = new Outgoing(ref.bytes, limits.window, now);
          this.#outgoing.set(ref.stream, out);
          call.outgoing.push(out);
        }
        void this.#upload(
          call,
          Object.keys(refs).map((name, i) => ({
            stream: refs[name].stream,
            bytes: new Uint8Array(uploads[name].data),
            out: call.outgoing[i],
          })),
        );
      });
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  /** Ends it, and the calls on it. */
  async close(): Promise<void> {
    this.#finish(remoteError("closed", this.#options.address, "the connection was closed here"), 1000);
    if (this.#socket.readyState === 3) return;
    await Promise.race([
      new Promise((resolve) => this.#socket.addEventListener("close", resolve, { once: true })),
      new Promise((resolve) => setTimeout(resolve, CLOSE_SECONDS * 1000)),
    ]);
    // A peer that is gone doesn't answer the close frame. Node's sockets can end without the answer.
    (this.#socket as { terminate?: () => void }).terminate?.();
  }

  async #upload(
    call: Call,
    parts: readonly { readonly stream: number; readonly bytes: Uint8Array; readonly out: Outgoing }[],
  ): Promise<void> {
    const most = this.welcome.limits.frameBytes - HEAD_BYTES;
    for (const { stream, bytes, out } of parts) {
      out.since = seconds();
      while (out.sent < out.bytes) {
        if (this.#calls.get(call.id) !== call || call.cancelled !== undefined) return;
        const n = Math.min(most, out.leave);
        if (n <= 0) {
          await out.more();
          continue;
        }
        if (!out.waits) out.since = seconds();
        this.#socket.send(writeFrame(stream, out.sent, bytes.subarray(out.sent, out.sent + n)));
        out.sent += n;
      }
    }
  }

  /** Cancels on the worker and waits a moment for its answer, so that the next call isn't queued behind this one. */
  #cancel(call: Call, reason: unknown): void {
    if (call.cancelled !== undefined) return;
    call.cancelled = { reason };
    for (const out of call.outgoing) out.wake();
    this.#send({ type: "cancel", id: call.id });
    // The result is here and its tensors still come: the worker stops them.
    if (call.result !== undefined) return this.#settle(call, reason);
    setTimeout(() => {
      if (this.#calls.get(call.id) !== call) return;
      this.#abandoned.add(call.id);
      this.#settle(call, reason);
    }, CANCEL_SECONDS * 1000);
  }

  #settle(call: Call, error?: unknown): void {
    this.#calls.delete(call.id);
    for (const out of call.outgoing) out.wake();
    for (const tensor of Object.values(call.result?.tensors ?? {})) this.#inbox.drop(tensor);
    if (this.#calls.size === 0) {
      clearInterval(this.#clock);
      this.#clock = undefined;
    }
    call.settle(error);
  }

  /** Ends the connection: it hears and sends nothing afterwards. */
  #finish(why: RemoteError, closeCode?: number): void {
    if (this.#over !== undefined) return;
    this.#over = why;
    for (const call of [...this.#calls.values()]) {
      this.#settle(
        call,
        remoteError(
          why.code,
          this.#options.address,
          `${why.what}, while ${call.request.method} was under way: its result is unknown`,
        ),
      );
    }
    clearInterval(this.#clock);
    if (closeCode !== undefined) this.#socket.close(closeCode === 1000 ? 1000 : closeCode);
    this.#end(why);
  }

  /** Ends the connection over a message that a worker must not send. */
  #reject(what: string, closeCode = 4400): void {
    this.#finish(remoteError("bad-reply", this.#options.address, what), closeCode);
  }

  #send(message: unknown): void {
    if (this.#socket.readyState === 1) this.#socket.send(JSON.stringify(message));
  }

  #hear(data: unknown): void {
    if (this.#over !== undefined) return;
    this.#heard = seconds();
    if (data instanceof ArrayBuffer) return this.#hearFrame(data);
    if (typeof data !== "string" || data.length > MOST_TEXT) {
      return this.#reject(
        `found a message of ${
          typeof data === "string" ? `${data.length} characters` : "an unknown kind"
        }, expected at most ${MOST_TEXT} characters of JSON`,
      );
    }
    let message: Message;
    try {
      message = JSON.parse(data);
    } catch {
      return this.#reject(`found no JSON: ${JSON.stringify(data.slice(0, 60))}`);
    }
    const complaint = this.#options.complaint("serverMessage", message);
    if (complaint !== undefined) return this.#reject(`found a message that the protocol doesn't allow: ${complaint}`);
    if (this.#welcome === undefined && message.type !== "welcome" && message.type !== "error") {
      return this.#reject(`found ${message.type} before welcome`);
    }
    // Spans have no free text, and the schema bounds their numbers.
    if (message.type !== "spans") {
      try {
        message = clean(message) as Message;
      } catch (error) {
        return this.#reject((error as Error).message);
      }
    }
    this.#handle(message);
  }

  #handle(message: Message): void {
    const { address, token } = this.#options;
    if (message.type === "welcome") {
      if (this.#welcome !== undefined) return this.#reject("found a second welcome");
      const welcome = message as unknown as Welcome;
      if (welcome.protocol !== PROTOCOL) {
        return this.#finish(
          remoteError(
            "bad-version",
            address,
            `the worker speaks protocol ${welcome.protocol}, this client ${PROTOCOL}`,
          ),
          4406,
        );
      }
      this.#welcome = welcome;
      this.#inbox = new Inbox(welcome.limits.frameBytes, welcome.limits.window);
      return this.#greeted();
    }
    if (message.type === "ack") {
      const { stream, received } = message as unknown as { stream: number; received: number };
      if (this.#outgoing.get(stream)?.acknowledge(received, this.#heard) !== true) {
        return this.#reject(`found an ack of ${received} bytes of stream ${stream}, which were not sent`);
      }
      return;
    }
    if (message.type === "error" && message.id === undefined) {
      const error = errorOf(message as unknown as ErrorMessage, address, token);
      this.#farewell = error instanceof RemoteError ? error : remoteError("worker-failed", address, error.message);
      // The worker closes after it. If it doesn't, close here.
      setTimeout(() => this.#finish(this.#farewell!, 1000), CLOSE_SECONDS * 1000);
      return;
    }
    const id = message.id!;
    if (id === this.#probe) {
      if (message.type === "result" || message.type === "error") this.#probe = undefined;
      return;
    }
    const call = this.#calls.get(id);
    if (call === undefined) {
      if (!this.#abandoned.has(id)) {
        return this.#reject(
          `found ${message.type} of call ${id}, which ${id <= this.#ids ? "has ended" : "was never made"}`,
        );
      }
      if (message.type === "result") {
        for (const tensor of Object.values(this.#expect(message.tensors as Record<string, TensorRef>) ?? {})) {
          this.#inbox.drop(tensor);
        }
      }
      if (message.type === "result" || message.type === "error") this.#abandoned.delete(id);
      return;
    }
    const wrong = call.take(message, this.#heard);
    if (wrong !== undefined) this.#reject(wrong);
    else if (message.type === "error") this.#settle(call, errorOf(message as unknown as ErrorMessage, address, token));
    else if (message.type === "result") {
      this.#result(call, message as unknown as { value: CallResult["value"]; tensors: Record<string, TensorRef> });
    }
  }

  #result(
    call: Call,
    { value, tensors }: { readonly value: CallResult["value"]; readonly tensors: Readonly<Record<string, TensorRef>> },
  ): void {
    const wrong = call.complaint(tensors);
    if (wrong !== undefined) return this.#reject(wrong);
    const incoming = this.#expect(tensors);
    if (incoming === undefined) return;
    call.result = { value, tensors: incoming };
    if (call.cancelled !== undefined) this.#settle(call, call.cancelled.reason);
    else this.#complete(call);
  }

  /** Expects the tensors of a result from now on. Undefined if the connection ended over them. */
  #expect(tensors: Readonly<Record<string, TensorRef>>): Record<string, Incoming> | undefined {
    const expected: Record<string, Incoming> = {};
    for (const [name, ref] of Object.entries(tensors).sort(([, a], [, b]) => a.stream - b.stream)) {
      const incoming = this.#inbox.name(ref, this.#heard);
      if (incoming === undefined) {
        return void this.#reject(`found stream ${ref.stream}, expected a number greater than all before`);
      }
      expected[name] = incoming;
    }
    return expected;
  }

  #complete(call: Call): void {
    if (call.whole) this.#settle(call);
  }

  #hearFrame(bytes: ArrayBuffer): void {
    if (this.#welcome === undefined) return this.#reject("found a frame before welcome");
    const taken = this.#inbox.take(bytes, this.#heard);
    if (typeof taken === "string") return this.#reject(taken);
    if (taken === undefined) return;
    const { incoming, received } = taken;
    if (received !== undefined) this.#send({ type: "ack", stream: incoming.ref.stream, received });
    if (!incoming.done) return;
    for (const call of this.#calls.values()) {
      if (call.result !== undefined && Object.values(call.result.tensors).includes(incoming)) this.#complete(call);
    }
  }

  /** Watches for whatever may hang, while calls are open. */
  #watchClock(): void {
    if (this.#clock !== undefined) return;
    const { idleSeconds } = this.#options;
    const period = Math.min(1, idleSeconds / 10);
    let last = (this.#heard = seconds());
    this.#clock = setInterval(() => {
      const now = seconds();
      // If this thread was held up, or the machine slept, it heard nobody: that is not the worker's silence.
      const heldUp = now - last > period + idleSeconds / 3;
      last = now;
      if (heldUp) {
        this.#heard = now;
        for (const tensor of this.#inbox.open) tensor.since = now;
        for (const call of this.#calls.values()) call.wait(now);
        return;
      }
      const silence = now - this.#heard;
      if (silence > idleSeconds) {
        return this.#finish(
          remoteError("silent", this.#options.address, `no sign of life for ${silence.toFixed(1)} s`),
          4408,
        );
      }
      if (silence > idleSeconds / 3 && this.#probe === undefined) this.#askForLife();
      for (const call of [...this.#calls.values()]) this.#watchCall(call, now);
    }, period * 1000);
  }

  #watchCall(call: Call, now: number): void {
    const overdue = call.overdue(now, this.#options.idleSeconds, this.welcome.limits.runSeconds);
    if (overdue === undefined) return;
    this.#send({ type: "cancel", id: call.id });
    if (call.result === undefined) this.#abandoned.add(call.id);
    const { code, what } = overdue;
    this.#settle(call, remoteError(code, this.#options.address, `${call.request.method}: ${what}`));
  }

  /** Calls health, as a page's WebSocket can't ping: the worker answers it at once, whatever runs. */
  #askForLife(): void {
    this.#probe = ++this.#ids;
    this.#send({ type: "call", id: this.#probe, method: "health", params: {} });
  }
}
