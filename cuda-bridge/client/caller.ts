/** Makes calls to a worker: on one connection while it lasts, then on a new one. */
import { InputError } from "../../engine/index.ts";
import type { CallRequest, CallResult } from "./call.ts";
import { Connection } from "./connection.ts";
import { RemoteError, remoteError } from "./errors.ts";
import type { ClientPlatform } from "./platform.ts";
import type { Complaint } from "./schema.ts";
import type { Facts, Limits, RemoteOptions, RemoteState } from "./types.ts";

const CONNECT_SECONDS = 10;
const IDLE_SECONDS = 30;
const RETRY_SECONDS = 15;
/** Milliseconds before a second attempt; each further pause is twice as long, up to the longest. */
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 4000;
/** Errors that another attempt cannot mend. */
const FINAL = new Set(["bad-token", "bad-version", "bad-origin", "bad-reply", "closed"]);

/** A worker at an address. Once `reach` has resolved, the worker's facts are known. */
export class Caller {
  readonly address: string;
  readonly runtime: ClientPlatform["runtime"];
  readonly #platform: ClientPlatform;
  readonly #options: RemoteOptions;
  readonly #complaint: Complaint;
  #connection: Connection | undefined;
  #opening: Promise<Connection> | undefined;
  #closed = false;

  constructor(platform: ClientPlatform, address: string, options: RemoteOptions, complaint: Complaint) {
    this.#platform = platform;
    this.runtime = platform.runtime;
    this.address = address;
    this.#options = options;
    this.#complaint = complaint;
  }

  get facts(): Facts {
    return this.#connection!.welcome.facts;
  }

  get limits(): Limits {
    return this.#connection!.welcome.limits;
  }

  get capabilities(): readonly string[] {
    return this.#connection!.welcome.capabilities;
  }

  get state(): RemoteState {
    return this.#closed ? "closed" : this.#connection!.over === undefined ? "open" : "lost";
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#connection?.close();
    this.#options.onState?.("closed");
  }

  /**
   * One call, on a connection that is made again if it was lost. `on`: only on this connection, as what it needs is
   * gone with it.
   */
  async call(request: CallRequest, on?: Connection): Promise<CallResult> {
    const connection = on ?? await this.reach(request.options?.signal, this.#options.retrySeconds ?? RETRY_SECONDS);
    const complaint = this.#complaint("clientMessage", {
      type: "call",
      id: 1,
      method: request.method,
      params: { ...request.params, ...sample(request) },
    });
    if (complaint !== undefined) throw new InputError(`${request.method}: ${complaint}`);
    return await connection.call(request);
  }

  /** The open connection, or a new one: attempts with growing pauses for `retrySeconds`. */
  async reach(signal: AbortSignal | undefined, retrySeconds: number): Promise<Connection> {
    if (this.#closed) throw remoteError("closed", this.address, "this connection was closed here");
    if (this.#connection?.over === undefined && this.#connection !== undefined) return this.#connection;
    // Two calls that find it lost share the attempts; either may stop waiting.
    this.#opening ??= this.#attempts(this.#connection === undefined ? signal : undefined, retrySeconds).finally(
      () => (this.#opening = undefined),
    );
    return await unless(signal, this.#opening);
  }

  async #attempts(signal: AbortSignal | undefined, retrySeconds: number): Promise<Connection> {
    const { token, connectSeconds = CONNECT_SECONDS, idleSeconds = IDLE_SECONDS } = this.#options;
    const until = performance.now() + retrySeconds * 1000;
    for (let pause = FIRST_PAUSE;; pause = Math.min(2 * pause, LONGEST_PAUSE)) {
      try {
        const connection = await Connection.open({
          platform: this.#platform,
          complaint: this.#complaint,
          address: this.address,
          token,
          connectSeconds,
          idleSeconds,
          signal,
        });
        if (this.#closed) await connection.close();
        else this.#take(connection);
        return connection;
      } catch (error) {
        if (
          !(error instanceof RemoteError) || FINAL.has(error.code) || this.#closed || performance.now() + pause > until
        ) throw error;
        await new Promise((resolve) => setTimeout(resolve, pause));
      }
    }
  }

  #take(connection: Connection): void {
    const again = this.#connection !== undefined;
    this.#connection = connection;
    if (again) this.#options.onState?.("open");
    void connection.ended.then((why) => {
      if (!this.#closed) this.#options.onState?.("lost", why.message);
    });
  }
}

/** The tensors of a call as the schema wants them, before they have streams. */
function sample({ uploads }: CallRequest): Record<string, unknown> {
  if (uploads === undefined) return {};
  return {
    tensors: Object.fromEntries(
      Object.entries(uploads).map((
        [name, { dtype, shape, data }],
      ) => [name, { stream: 1, dtype, shape, bytes: data.byteLength }]),
    ),
  };
}

/** What `promise` resolves to, unless the signal comes first. */
function unless<T>(signal: AbortSignal | undefined, promise: Promise<T>): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
