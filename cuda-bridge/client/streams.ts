/** Tensors on their way between client and worker, with flow control. */
import type { DType } from "../../engine/index.ts";
import { readFrame } from "./frames.ts";

/** A tensor as messages describe it. */
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

/** A tensor being received: frames in order without gaps, acknowledged at every quarter of the window and at the end. */
export class Incoming {
  /** Bytes received. */
  at = 0;
  /** When the last of them came, in seconds. */
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

  /** The values; all results are f32. */
  values(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#data.buffer);
  }

  /** Takes the next bytes. Returns the number to acknowledge, if any. */
  put(payload: Uint8Array, now: number, window: number): number | undefined {
    this.#data.set(payload, this.at);
    this.at += payload.length;
    this.since = now;
    if (!this.done && this.at - this.#acknowledged < window / 4) return undefined;
    return (this.#acknowledged = this.at);
  }
}

/** An accepted frame: its tensor, and the number to acknowledge, if any. */
export interface Taken {
  readonly incoming: Incoming;
  readonly received: number | undefined;
}

/**
 * All tensors that come on one connection. Stream numbers grow: that tells a stream that never existed from one that has
 * ended.
 */
export class Inbox {
  readonly #open = new Map<number, Incoming>();
  /** Streams that nobody wants any more: their frames are ignored. */
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

  /** Expects a tensor. Undefined if its number is not greater than all before. */
  name(ref: TensorRef, now: number): Incoming | undefined {
    if (ref.stream <= this.#highest) return undefined;
    this.#highest = ref.stream;
    const incoming = new Incoming(ref, now);
    if (ref.bytes > 0) this.#open.set(ref.stream, incoming);
    return incoming;
  }

  /** Ignores the rest of a tensor. */
  drop({ ref: { stream } }: Incoming): void {
    if (this.#open.delete(stream)) this.#dropped.add(stream);
  }

  /** Takes a frame. Undefined if nobody wants it; a text says what is wrong with it. */
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
          stream > 0 && stream <= this.#highest ? "is complete" : "no result has named"
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

/** A tensor being sent: never more than `window` bytes unacknowledged. */
export class Outgoing {
  sent = 0;
  /** When the worker last acknowledged some, in seconds. */
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

  /** Bytes that may be sent now. */
  get leave(): number {
    return Math.min(this.bytes - this.sent, this.#acknowledged + this.#window - this.sent);
  }

  /** Whether some bytes sent are not acknowledged. */
  get waits(): boolean {
    return this.#acknowledged < this.sent;
  }

  /** Takes an acknowledgement. False if it is impossible. */
  acknowledge(received: number, now: number): boolean {
    if (received < this.#acknowledged || received > this.sent) return false;
    if (received > this.#acknowledged) this.since = now;
    this.#acknowledged = received;
    this.wake();
    return true;
  }

  /** Resolves at the next acknowledgement, or when the call ends. */
  more(): Promise<void> {
    return new Promise((resolve) => (this.#more = resolve));
  }

  wake(): void {
    this.#more?.();
    this.#more = undefined;
  }
}
