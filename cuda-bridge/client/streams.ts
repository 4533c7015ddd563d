/** Tensors on their way: what has come, what may go. */
import type { DType } from "../../engine/index.ts";
import { readFrame } from "./frames.ts";

/** A tensor as messages name it. */
export interface TensorRef {
  readonly stream: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** A tensor to send. */
export interface Upload {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: ArrayBuffer;
}

/** A tensor that comes: frames in order without gaps, acknowledged at every quarter of the window and at the end. */
export class Incoming {
  /** Bytes that came. */
  at = 0;
  /** When the last of them did, in seconds. */
  since: number;
  readonly ref: TensorRef;
  readonly #data: Uint8Array<ArrayBuffer>;
  #acknowledged = 0;

  constructor(ref: TensorRef, since: number) {
    this.ref = ref;
    this.since = since;
    this.#data = new Uint8Array(ref.bytes);
  }

  get done(): boolean {
    return this.at === this.ref.bytes;
  }

  /** The values; f32, as all results are. */
  values(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#data.buffer);
  }

  /** Takes the next bytes; returns what to acknowledge, if anything. */
  put(payload: Uint8Array, now: number, window: number): number | undefined {
    this.#data.set(payload, this.at);
    this.at += payload.length;
    this.since = now;
    if (!this.done && this.at - this.#acknowledged < window / 4) return undefined;
    return (this.#acknowledged = this.at);
  }
}

/** A frame that was taken: its tensor, and what to acknowledge, if anything. */
export interface Taken {
  readonly incoming: Incoming;
  readonly received: number | undefined;
}

/**
 * All tensors that come on one connection. Stream numbers grow, so that what was never named is known from what has
 * ended.
 */
export class Inbox {
  readonly #open = new Map<number, Incoming>();
  /** Streams that nobody wants any more: what still comes is dropped. */
  readonly #dropped = new Set<number>();
  #highest = 0;
  readonly #frameBytes: number;
  readonly #window: number;

  constructor(frameBytes: number, window: number) {
    this.#frameBytes = frameBytes;
    this.#window = window;
  }

  get open(): Iterable<Incoming> {
    return this.#open.values();
  }

  /** Expects a tensor; undefined where its number is not greater than all before. */
  name(ref: TensorRef, now: number): Incoming | undefined {
    if (ref.stream <= this.#highest) return undefined;
    this.#highest = ref.stream;
    const incoming = new Incoming(ref, now);
    if (ref.bytes > 0) this.#open.set(ref.stream, incoming);
    return incoming;
  }

  /** Lets what has not come yet go unheard. */
  drop({ ref: { stream } }: Incoming): void {
    if (this.#open.delete(stream)) this.#dropped.add(stream);
  }

  /** Takes a frame: undefined where nobody wants it, or in words what is wrong with it. */
  take(bytes: ArrayBuffer, now: number): Taken | undefined | string {
    if (bytes.byteLength > this.#frameBytes) {
      return `found a frame of ${bytes.byteLength} bytes, expected at most ${this.#frameBytes}`;
    }
    const frame = readFrame(bytes);
    if (typeof frame === "string") return frame;
    const { stream, offset, payload } = frame;
    const incoming = this.#open.get(stream);
    if (incoming === undefined) {
      return this.#dropped.has(stream)
        ? undefined
        : `found a frame of stream ${stream}, which ${
          stream > 0 && stream <= this.#highest ? "has come whole" : "no result has named"
        }`;
    }
    const { at, ref } = incoming;
    if (offset !== at) return `stream ${stream}: found a frame at byte ${offset}, expected byte ${at}`;
    if (offset + payload.length > ref.bytes) {
      return `stream ${stream}: found ${payload.length} bytes at byte ${offset}, beyond the tensor's ${ref.bytes}`;
    }
    const received = incoming.put(payload, now, this.#window);
    if (incoming.done) this.#open.delete(stream);
    return { incoming, received };
  }
}

/** Leave to send: never more than `window` bytes unacknowledged. */
export class Outgoing {
  sent = 0;
  /** When the worker last took some, in seconds. */
  since: number;
  #acknowledged = 0;
  #more: (() => void) | undefined;
  readonly bytes: number;
  readonly #window: number;

  constructor(bytes: number, window: number, since: number) {
    this.bytes = bytes;
    this.#window = window;
    this.since = since;
  }

  /** Bytes that may go now. */
  get leave(): number {
    return Math.min(this.bytes - this.sent, this.#acknowledged + this.#window - this.sent);
  }

  /** Whether bytes are out that were not acknowledged. */
  get waits(): boolean {
    return this.#acknowledged < this.sent;
  }

  /** Takes an acknowledgement; false where it cannot be one. */
  acknowledge(received: number, now: number): boolean {
    if (received < this.#acknowledged || received > this.sent) return false;
    if (received > this.#acknowledged) this.since = now;
    this.#acknowledged = received;
    this.wake();
    return true;
  }

  /** Resolves at the next acknowledgement, or when the call has ended. */
  more(): Promise<void> {
    return new Promise((resolve) => (this.#more = resolve));
  }

  wake(): void {
    this.#more?.();
    this.#more = undefined;
  }
}
