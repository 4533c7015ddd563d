/** One call to a worker: its request, what the worker has said of it so far, and whether the client should give up. */
import type { Span } from "../../engine/index.ts";
import { bytesPer, elements, showShape } from "../../engine/tensor/index.ts";
import type { RemoteCode } from "./errors.ts";
import type { Incoming, Outgoing, TensorRef, Upload } from "./streams.ts";
import type { CallOptions } from "./types.ts";

/** What a call asks for. */
export interface CallRequest {
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  /** Its tensors by name: `params.tensors`. */
  readonly uploads?: Readonly<Record<string, Upload>>;
  /** Shapes of the tensors that the result must bring, by name. */
  readonly shapes?: Readonly<Record<string, readonly number[]>>;
  readonly options?: CallOptions;
}

/** The result of a call. */
export interface CallResult {
  readonly value: Readonly<Record<string, unknown>>;
  readonly tensors: Readonly<Record<string, Float32Array<ArrayBuffer>>>;
  readonly spans: readonly Span[];
}

/** A message of the worker about a call. */
export type Message = { readonly type: string; readonly id?: number } & Readonly<Record<string, unknown>>;

/** Ranks of a run whose request names none: a session's step, a bench. */
const SOME_RANKS = 64;

/** Most spans of a run of N ranks: some for each of its N² hops, and one for each slice of a long hop. */
export function mostSpans(ranks: number): number {
  return 200_000 + 8 * ranks ** 2 + 4096 * ranks;
}

/** A call under way. */
export class Call {
  readonly id: number;
  readonly request: CallRequest;
  readonly outgoing: Outgoing[] = [];
  /** The reason, once the caller has cancelled it. */
  cancelled: { readonly reason: unknown } | undefined;
  /** The result, once its message has come; its tensors may follow. */
  result: { readonly value: CallResult["value"]; readonly tensors: Readonly<Record<string, Incoming>> } | undefined;
  readonly #spans: Span[] = [];
  readonly #resolve: (result: CallResult) => void;
  readonly #reject: (error: unknown) => void;
  /** When it was sent, or when the worker last took some of its tensors. */
  #sentAt: number;
  /** Whether the worker has said anything about it. */
  #answered = false;
  #ranSince: number | undefined;

  constructor(
    id: number,
    request: CallRequest,
    now: number,
    resolve: (result: CallResult) => void,
    reject: (error: unknown) => void,
  ) {
    this.id = id;
    this.request = request;
    this.#sentAt = now;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** Takes a message about its progress. Returns what is wrong with it, if anything. */
  take(message: Message, now: number): string | undefined {
    this.#answered = true;
    const { onQueued, onProgress, onSpans } = this.request.options ?? {};
    if (message.type === "queued") {
      const place = message.place as number;
      if (place === 0) this.#ranSince ??= now;
      onQueued?.(place);
    } else if (message.type === "progress") {
      onProgress?.(message.done as number, message.total as number, message.note as string | undefined);
    } else if (message.type === "spans") {
      const spans = message.spans as Span[];
      const { ranks = SOME_RANKS } = this.request.params as { ranks?: number };
      const most = mostSpans(ranks);
      if (this.#spans.length + spans.length > most) return `found more than ${most} spans of a run of ${ranks} ranks`;
      for (const span of spans) this.#spans.push(span);
      onSpans?.(spans);
    }
    return undefined;
  }

  /** What is wrong with the tensors that its result names, if anything. */
  complaint(tensors: Readonly<Record<string, TensorRef>>): string | undefined {
    const { method, shapes = {} } = this.request;
    if (this.result !== undefined) return `found a second result of call ${this.id}`;
    for (const name of new Set([...Object.keys(shapes), ...Object.keys(tensors)])) {
      const [wanted, found] = [shapes[name], tensors[name]];
      const right = wanted !== undefined && found !== undefined && found.dtype === "f32" &&
        showShape(found.shape) === showShape(wanted) && found.bytes === elements(wanted)! * bytesPer("f32");
      if (right) continue;
      const what = found === undefined
        ? "no tensor"
        : `${found.dtype} ${showShape(found.shape)} of ${found.bytes} bytes`;
      const expected = wanted === undefined ? "none" : `f32 ${showShape(wanted)}`;
      return `found ${what} as ${name} of ${method}, expected ${expected}`;
    }
    return undefined;
  }

  /** Whether every tensor of its result has come whole. */
  get whole(): boolean {
    return this.result !== undefined && Object.values(this.result.tensors).every((t) => t.done);
  }

  /** Settles it: with `error`, or with its whole result. A cancelled call rejects with its reason. */
  settle(error?: unknown): void {
    if (this.cancelled !== undefined) return this.#reject(this.cancelled.reason);
    if (error !== undefined) return this.#reject(error);
    const { value, tensors } = this.result!;
    const values = Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, t.values()]));
    this.#resolve({ value, tensors: values, spans: this.#spans });
  }

  /** Starts its waits again: this thread was held up. */
  wait(now: number): void {
    this.#sentAt = now;
    for (const out of this.outgoing) out.since = now;
  }

  /** Why it has hung for too long, if so. `runSeconds`: the worker's own limit of a run. */
  overdue(now: number, idleSeconds: number, runSeconds: number): { code: RemoteCode; what: string } | undefined {
    const incoming = Object.values(this.result?.tensors ?? {});
    const latest = Math.max(...incoming.map((t) => t.since));
    if (incoming.some((t) => !t.done) && now - latest > idleSeconds) {
      return { code: "silent", what: `the bytes of its result stopped coming for ${idleSeconds} s` };
    }
    const uploading = this.outgoing.find((out) => out.waits);
    if (uploading !== undefined) {
      this.#sentAt = now;
      return now - uploading.since > idleSeconds
        ? { code: "silent", what: `the worker took no byte of its tensors for ${idleSeconds} s` }
        : undefined;
    }
    if (!this.#answered && now - this.#sentAt > idleSeconds) {
      return { code: "silent", what: `the worker said nothing about it for ${idleSeconds} s` };
    }
    const ran = this.#ranSince !== undefined && this.result === undefined ? now - this.#ranSince : 0;
    return ran > runSeconds + idleSeconds
      ? { code: "time-limit", what: `the worker's own limit of ${runSeconds} s has passed without an end` }
      : undefined;
  }
}
