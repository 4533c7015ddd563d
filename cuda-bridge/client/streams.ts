/** Tensors on their way: what has come, what may go. */
import type { DType } from "../../engine/tensor/dtype.ts";

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
  /** Where they go; undefined once nobody wants them any more. */
  #data: Uint8Array<ArrayBuffer> | undefined;
  #acknowledged = 0;
  readonly #window: number;

  constructor(ref: TensorRef, window: number, since: number) {
    this.ref = ref;
    this.since = since;
    this.#window = window;
    this.#data = new Uint8Array(ref.bytes);
  }

  /** Takes a frame; returns what to acknowledge, if anything, or in words what is wrong with it. */
  take(offset: number, payload: Uint8Array, now: number): number | undefined | string {
    if (offset !== this.at) return `stream ${this.ref.stream}: found a frame at byte ${offset}, expected byte ${this.at}`;
    if (offset + payload.length > this.ref.bytes) return `stream ${this.ref.stream}: found ${payload.length} bytes at byte ${offset}, beyond the tensor's ${this.ref.bytes}`;
    this.#data?.set(payload, offset);
    this.at += payload.length;
    this.since = now;
    if (this.at < this.ref.bytes && this.at - this.#acknowledged < this.#window / 4) return undefined;
    return (this.#acknowledged = this.at);
  }

  get done(): boolean {
    return this.at === this.ref.bytes;
  }

  /** The values; f32, as all results are. */
  values(): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#data!.buffer);
  }

  /** Lets the bytes go; what still comes is counted and dropped. */
  discard(): void {
    this.#data = undefined;
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
