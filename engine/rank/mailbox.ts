/** Matches arrived messages with awaited ones, by sender, kind and hop. */
import type { Mail } from "./job.ts";

interface Waiting<M> {
  readonly mail: Mail;
  readonly since: number;
  readonly resolve: (message: M) => void;
  readonly reject: (reason: unknown) => void;
}

/** One job's mailbox. */
export class Mailbox<M> {
  readonly #arrived = new Map<string, M>();
  readonly #waiting = new Map<string, Waiting<M>>();
  #failed: { readonly reason: unknown } | undefined;

  /** The messages awaited now. */
  get awaiting(): (Mail & { since: number })[] {
    return [...this.#waiting.values()].map(({ mail, since }) => ({ ...mail, since }));
  }

  put(mail: Mail, message: M): void {
    const key = keyOf(mail);
    const waiting = this.#waiting.get(key);
    if (waiting === undefined) {
      this.#arrived.set(key, message);
      return;
    }
    this.#waiting.delete(key);
    waiting.resolve(message);
  }

  take(mail: Mail, since: number): Promise<M> {
    const key = keyOf(mail);
    const message = this.#arrived.get(key);
    if (message !== undefined) {
      this.#arrived.delete(key);
      return Promise.resolve(message);
    }
    if (this.#failed !== undefined) return Promise.reject(this.#failed.reason);
    return new Promise((resolve, reject) => this.#waiting.set(key, { mail, since, resolve, reject }));
  }

  /** Rejects every wait, now and later. */
  fail(reason: unknown): void {
    this.#failed ??= { reason };
    for (const waiting of this.#waiting.values()) waiting.reject(reason);
    this.#waiting.clear();
    this.#arrived.clear();
  }
}

function keyOf({ kind, hop, peer }: Mail): string {
  return `${kind} ${hop} ${peer}`;
}
