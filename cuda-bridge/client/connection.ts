/**
 * One socket to a worker: hello, calls, tensors, signs of life. It ends once and for all; `caller.ts` makes the next.
 */
import type { Span } from "../../engine/index.ts";
import { bytesPer, elements, showShape } from "../../engine/tensor/index.ts";
import { clean } from "./clean.ts";
import {
  type ErrorMessage,
  errorOf,
  errorOfClose,
  type RemoteCode,
  RemoteError,
  remoteError,
  unreachable,
} from "./errors.ts";
import { HEAD_BYTES, writeFrame } from "./frames.ts";
import type { ClientPlatform } from "./platform.ts";
import type { Complaint } from "./schema.ts";
import { Inbox, type Incoming, Outgoing, type TensorRef, type Upload } from "./streams.ts";
import type { Facts, Limits, Watch } from "./types.ts";

/** The protocol that this client speaks. */
export const PROTOCOL = 1;
/** Seconds that a worker has to confirm a cancellation before it is done without. */
const CANCEL_SECONDS = 2;
/** Seconds that a socket has to close. */
const CLOSE_SECONDS = 1;
/** Longest text message taken, in characters. */
const MOST_TEXT = 2 ** 26;

/**
 * Spans that a run of N ranks may bring: some for each of its N² hops, and one for each slice of a long hop. More is a
 * flood.
 */
export function mostSpans(ranks: number): number {
  return 200_000 + 8 * ranks ** 2 + 4096 * ranks;
}

/** Ranks of a run whose request names none: a session's step, a bench. */
const SOME_RANKS = 64;

/** What the worker said at the beginning. */
export interface Welcome {
  readonly protocol: number;
  readonly facts: Facts;
  readonly limits: Limits;
  readonly capabilities: readonly string[];
}

/** How a connection is opened. */
export interface OpenOptions {
  readonly platform: ClientPlatform;
  readonly complaint: Complaint;
  readonly address: string;
  readonly token: string;
  readonly connectSeconds: number;
  readonly idleSeconds: number;
  readonly signal?: AbortSignal;
}

/** What a call asks for. */
export interface CallRequest {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** Tensors that go with it, by name: `params.tensors`. */
  readonly uploads?: Readonly<Record<string, Upload>>;
  /** Shapes of the tensors that the result must bring, by name. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  readonly watch?: Watch;
}

/** What a call ended with. */
export interface CallResult {
  readonly value: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, Float32Array<ArrayBuffer>>>;
  readonly spans: readonly Span[];
}

interface Call {
  readonly id: number;
  readonly request: CallRequest;
  readonly spans: Span[];
  readonly settle: (error: unknown, result?: CallResult) => void;
  readonly outgoing: Outgoing[];
  /** When it was sent, or the worker last took some of its tensors. */
  sentAt: number;
  /** Whether the worker has said anything of it. */
  answered: boolean;
  ranSince: number | undefined;
  cancelled: { readonly reason: unknown } | undefined;
  result: { readonly value: CallResult["value"]; readonly tensors: Readonly<Record<string, Incoming>> } | undefined;
}

type Message = { readonly type: string; readonly id?: number } & Readonly<Record<string, unknown>>;

/** Seconds of a clock that only goes forward. */
const seconds = () => performance.now() / 1000;

/** An open connection. */
export class Connection {
  /** Resolves when it has ended, with why. */
  readonly ended: Promise<RemoteError>;
  #end: (why: RemoteError) => void = () => {};
  #over: RemoteError | undefined;
  #welcome: Welcome | undefined;
  #greeted: () => void = () => {};
  #farewell: RemoteError | undefined;
  readonly #socket: WebSocket;
  readonly #options: OpenOptions;
  readonly #calls = new Map<number, Call>();
  /** Calls that ended here before the worker said so: what it still says of them is not wanted. */
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
        // An error event comes before the close; it alone may say why a connection was refused.
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

  /** What the worker said at the beginning. */
  get welcome(): Welcome {
    return this.#welcome!;
  }

  /** Why it has ended, if it has. */
  get over(): RemoteError | undefined {
    return this.#over;
  }

  /**
   * Makes a call. Errors: those of errorOf; RemoteError "lost" where the connection ends before the call does; the
   * signal's reason.
   */
  async call(request: CallRequest): Promise<CallResult> {
    const { method, params, uploads = {}, watch = {} } = request;
    watch.signal?.throwIfAborted();
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
        const call: Call = {
          id,
          request,
          spans: [],
          outgoing: [],
          sentAt: now,
          answered: false,
          ranSince: undefined,
          cancelled: undefined,
          result: undefined,
          settle: (error, result) => (result === undefined ? reject(error) : resolve(result)),
        };
        abort = () => this.#cancel(call, watch.signal!.reason);
        watch.signal?.addEventListener("abort", abort, { once: true });
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
      watch.signal?.removeEventListener("abort", abort);
    }
  }

  /** Ends it, and what runs on it. */
  async close(): Promise<void> {
    this.#finish(remoteError("closed", this.#options.address, "the connection was closed here"), 1000);
    if (this.#socket.readyState === 3) return;
    await Promise.race([
      new Promise((resolve) => this.#socket.addEventListener("close", resolve, { once: true })),
      new Promise((resolve) => setTimeout(resolve, CLOSE_SECONDS * 1000)),
    ]);
    // A peer that is gone does not answer the closing; Node's sockets can do without.
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

  /** Tells the worker, and waits a moment for its word: the next call is then not behind this one. */
  #cancel(call: Call, reason: unknown): void {
    if (call.cancelled !== undefined) return;
    call.cancelled = { reason };
    for (const out of call.outgoing) out.wake();
    this.#send({ type: "cancel", id: call.id });
    // A result whose tensors are still coming: the worker stops them.
    if (call.result !== undefined) return this.#settle(call, reason);
    setTimeout(() => {
      if (this.#calls.get(call.id) !== call) return;
      this.#abandoned.add(call.id);
      this.#settle(call, reason);
    }, CANCEL_SECONDS * 1000);
  }

  #settle(call: Call, error: unknown, result?: CallResult): void {
    this.#calls.delete(call.id);
    for (const out of call.outgoing) out.wake();
    for (const tensor of Object.values(call.result?.tensors ?? {})) this.#inbox.drop(tensor);
    if (this.#calls.size === 0) {
      clearInterval(this.#clock);
      this.#clock = undefined;
    }
    call.settle(
      call.cancelled === undefined ? error : call.cancelled.reason,
      call.cancelled === undefined ? result : undefined,
    );
  }

  /** The end: nothing is heard or sent after it. */
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

  /** Ends the connection over what a worker must not say. */
  #refuse(what: string, closeCode = 4400): void {
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
      return this.#refuse(
        `found a message of ${
          typeof data === "string" ? `${data.length} characters` : "an unknown kind"
        }, expected at most ${MOST_TEXT} characters of JSON`,
      );
    }
    let message: Message;
    try {
      message = JSON.parse(data);
    } catch {
      return this.#refuse(`found no JSON: ${JSON.stringify(data.slice(0, 60))}`);
    }
    const complaint = this.#options.complaint("serverMessage", message);
    if (complaint !== undefined) return this.#refuse(`found a message that the protocol does not allow: ${complaint}`);
    if (this.#welcome === undefined && message.type !== "welcome" && message.type !== "error") {
      return this.#refuse(`found ${message.type} before welcome`);
    }
    // Spans have no free text, and the schema bounds their numbers.
    if (message.type !== "spans") {
      try {
        message = clean(message) as Message;
      } catch (error) {
        return this.#refuse((error as Error).message);
      }
    }
    this.#handle(message);
  }

  #handle(message: Message): void {
    const { address, token } = this.#options;
    if (message.type === "welcome") {
      if (this.#welcome !== undefined) return this.#refuse("found a second welcome");
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
        return this.#refuse(`found an ack of ${received} bytes of stream ${stream}, which were not sent`);
      }
      return;
    }
    if (message.type === "error" && message.id === undefined) {
      const error = errorOf(message as unknown as ErrorMessage, address, token);
      this.#farewell = error instanceof RemoteError ? error : remoteError("worker-failed", address, error.message);
      // The worker closes after it; one that does not is not waited for.
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
        return this.#refuse(
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
    call.answered = true;
    const { onQueued, onProgress, onSpans } = call.request.watch ?? {};
    if (message.type === "queued") {
      const place = message.place as number;
      if (place === 0) call.ranSince ??= this.#heard;
      onQueued?.(place);
    } else if (message.type === "progress") {
      onProgress?.(message.done as number, message.total as number, message.note as string | undefined);
    } else if (message.type === "spans") {
      const spans = message.spans as Span[];
      const { ranks = SOME_RANKS } = call.request.params as { ranks?: number };
      const most = mostSpans(ranks);
      if (call.spans.length + spans.length > most) {
        return this.#refuse(`found more than ${most} spans of a run of ${ranks} ranks`);
      }
      for (const span of spans) call.spans.push(span);
      onSpans?.(spans);
    } else if (message.type === "error") {
      this.#settle(call, errorOf(message as unknown as ErrorMessage, address, token));
    } else this.#result(call, message as unknown as { value: CallResult["value"]; tensors: Record<string, TensorRef> });
  }

  #result(
    call: Call,
    { value, tensors }: { readonly value: CallResult["value"]; readonly tensors: Readonly<Record<string, TensorRef>> },
  ): void {
    const { method, shapes = {} } = call.request;
    if (call.result !== undefined) return this.#refuse(`found a second result of call ${call.id}`);
    for (const name of new Set([...Object.keys(shapes), ...Object.keys(tensors)])) {
      const [wanted, found] = [shapes[name], tensors[name]];
      const right = wanted !== undefined && found !== undefined && found.dtype === "f32" &&
        showShape(found.shape) === showShape(wanted) && found.bytes === elements(wanted)! * bytesPer("f32");
      if (!right) {
        return this.#refuse(
          `found ${
            found === undefined ? "no tensor" : `${found.dtype} ${showShape(found.shape)} of ${found.bytes} bytes`
          } as ${name} of ${method}, expected ${wanted === undefined ? "none" : `f32 ${showShape(wanted)}`}`,
        );
      }
    }
    const incoming = this.#expect(tensors);
    if (incoming === undefined) return;
    call.result = { value, tensors: incoming };
    if (call.cancelled !== undefined) this.#settle(call, call.cancelled.reason);
    else this.#complete(call);
  }

  /** The tensors of a result, from now on expected; undefined where the connection ended over them. */
  #expect(tensors: Readonly<Record<string, TensorRef>>): Record<string, Incoming> | undefined {
    const expected: Record<string, Incoming> = {};
    for (const [name, ref] of Object.entries(tensors).sort(([, a], [, b]) => a.stream - b.stream)) {
      const incoming = this.#inbox.name(ref, this.#heard);
      if (incoming === undefined) {
        return void this.#refuse(`found stream ${ref.stream}, expected a number greater than all before`);
      }
      expected[name] = incoming;
    }
    return expected;
  }

  #complete(call: Call): void {
    const { value, tensors } = call.result!;
    if (!Object.values(tensors).every((t) => t.done)) return;
    const values = Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, t.values()]));
    this.#settle(call, undefined, { value, tensors: values, spans: call.spans });
  }

  #hearFrame(bytes: ArrayBuffer): void {
    if (this.#welcome === undefined) return this.#refuse("found a frame before welcome");
    const taken = this.#inbox.take(bytes, this.#heard);
    if (typeof taken === "string") return this.#refuse(taken);
    if (taken === undefined) return;
    const { incoming, received } = taken;
    if (received !== undefined) this.#send({ type: "ack", stream: incoming.ref.stream, received });
    if (!incoming.done) return;
    for (const call of this.#calls.values()) {
      if (call.result !== undefined && Object.values(call.result.tensors).includes(incoming)) this.#complete(call);
    }
  }

  /** Looks after what may hang, while calls are open. */
  #watchClock(): void {
    if (this.#clock !== undefined) return;
    const { idleSeconds } = this.#options;
    const period = Math.min(1, idleSeconds / 10);
    let last = (this.#heard = seconds());
    this.#clock = setInterval(() => {
      const now = seconds();
      // A thread that was held up, or a machine that slept, has heard nobody: that is not the worker's silence.
      const heldUp = now - last > period + idleSeconds / 3;
      last = now;
      if (heldUp) {
        this.#heard = now;
        for (const tensor of this.#inbox.open) tensor.since = now;
        for (const call of this.#calls.values()) {
          call.sentAt = now;
          for (const out of call.outgoing) out.since = now;
        }
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
    const { idleSeconds, address } = this.#options;
    const { method } = call.request;
    const uploading = call.outgoing.find((out) => out.waits);
    const stalled = Object.values(call.result?.tensors ?? {}).some((t) =>
      !t.done &&
      now - Math.max(t.since, ...Object.values(call.result!.tensors).map((other) => other.since)) > idleSeconds
    );
    const fail = (code: RemoteCode, what: string) => {
      this.#send({ type: "cancel", id: call.id });
      if (call.result === undefined) this.#abandoned.add(call.id);
      this.#settle(call, remoteError(code, address, `${method}: ${what}`));
    };
    if (stalled) fail("silent", `the bytes of its result stopped coming for ${idleSeconds} s`);
    else if (uploading !== undefined) {
      call.sentAt = now;
      if (now - uploading.since > idleSeconds) {
        fail("silent", `the worker took no byte of its tensors for ${idleSeconds} s`);
      }
    } else if (!call.answered && now - call.sentAt > idleSeconds) {
      fail("silent", `the worker did not say anything of it for ${idleSeconds} s`);
    } else if (
      call.result === undefined && call.ranSince !== undefined &&
      now - call.ranSince > this.welcome.limits.runSeconds + idleSeconds
    ) {
      fail("time-limit", `the worker's own limit of ${this.welcome.limits.runSeconds} s has passed without an end`);
    }
  }

  /** A health call, as a page's WebSocket cannot ping: the worker answers it at once, whatever runs. */
  #askForLife(): void {
    this.#probe = ++this.#ids;
    this.#send({ type: "call", id: this.#probe, method: "health", params: {} });
  }
}
