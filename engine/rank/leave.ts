/** The port over which a halted rank asks for leave, and its messages. */
import type { Fault, HaltState, MailState } from "./job.ts";

/** The answer to a halted rank: leave for that halt, or a fault that strikes it. */
export interface Leave {
  /** Number of the halt, from 1. */
  readonly halt: number;
  readonly strike?: Fault["kind"];
}

/** A halted rank's post: its halt, or its messages if they changed since. */
export type HaltPost = { readonly halt: number; readonly state: HaltState } | {
  readonly halt: number;
  readonly mail: MailState;
};

/** A rank's end of the port over which it asks for leave. */
export class LeavePort {
  readonly #port: MessagePort;
  #halts = 0;
  #waiting: { readonly resolve: () => void; readonly reject: (reason: unknown) => void } | undefined;
  #failed: { readonly reason: unknown } | undefined;

  constructor(port: MessagePort, strike: (kind: Fault["kind"]) => void) {
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<Leave>) => {
      if (data.halt !== this.#halts || this.#waiting === undefined) return;
      if (data.strike !== undefined) return strike(data.strike);
      this.#waiting.resolve();
      this.#waiting = undefined;
    };
  }

  /** Posts a halt and waits for leave. Takes ownership of the state's buffers. */
  ask(state: HaltState): Promise<void> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed.reason);
    const waits = new Promise<void>((resolve, reject) => (this.#waiting = { resolve, reject }));
    this.#port.postMessage(
      { halt: ++this.#halts, state } satisfies HaltPost,
      state.made === undefined ? [] : [state.made.data],
    );
    return waits;
  }

  /** Posts the state of the messages if the rank is halted. */
  tell(mail: MailState): void {
    if (this.#waiting !== undefined) this.#port.postMessage({ halt: this.#halts, mail } satisfies HaltPost);
  }

  /** Rejects a wait for leave, now and later. */
  fail(reason: unknown): void {
    this.#failed ??= { reason };
    this.#waiting?.reject(reason);
    this.#waiting = undefined;
  }

  close(): void {
    this.#port.close();
  }
}
