/** A worker and the way to it: makes calls on a connection, and a new connection when the old one is lost. */
import { InputError, RemoteError } from "../../engine/errors.ts";
import type { AttendResult } from "../../engine/cluster/types.ts";
import { validateAttend, validateSeeded } from "../../engine/cluster/validate.ts";
import { encode } from "../../engine/tensor/dtype.ts";
import { checkOptions, readAddress } from "./address.ts";
import { type CallRequest, type CallResult, Connection } from "./connection.ts";
import { remoteError } from "./errors.ts";
import type { ClientPlatform } from "./platform.ts";
import { reportOf } from "./report.ts";
import { type Complaint, readSchema } from "./schema.ts";
import { openSession } from "./session.ts";
import type {
  Facts,
  LayerInput,
  Limits,
  Remote,
  RemoteAttendInput,
  RemoteOptions,
  RemoteReport,
  RemoteSessionOptions,
  RemoteState,
  RemoteValue,
  SeededInput,
  SeededResult,
  Watch,
} from "./types.ts";

const CONNECT_SECONDS = 10;
const IDLE_SECONDS = 30;
const RETRY_SECONDS = 15;
/** Milliseconds before a second attempt; each further pause is twice as long, up to the longest. */
const FIRST_PAUSE = 250;
const LONGEST_PAUSE = 4000;
/** What another attempt cannot mend. */
const FINAL = new Set(["bad-token", "bad-version", "bad-origin", "bad-reply", "closed"]);

/** Reaches a worker. Errors: InputError for bad options; RemoteError; the signal's reason. */
export async function connect(platform: ClientPlatform, options: RemoteOptions): Promise<RemoteClient> {
  const address = readAddress(options.url);
  checkOptions(options);
  const client = new RemoteClient(platform, address, options, await readSchema(platform.read));
  await client.reach(options.signal, 0);
  return client;
}

/** See Remote. */
export class RemoteClient implements Remote {
  readonly address: string;
  readonly platform: ClientPlatform;
  readonly #options: RemoteOptions;
  readonly #complaint: Complaint;
  #connection: Connection | undefined;
  #opening: Promise<Connection> | undefined;
  #closed = false;

  constructor(platform: ClientPlatform, address: string, options: RemoteOptions, complaint: Complaint) {
    this.platform = platform;
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

  async attendSeeded(input: SeededInput): Promise<SeededResult> {
    const {
      seed,
      sequences,
      heads,
      kvHeads,
      headDim,
      ranks,
      rows,
      output = rows === undefined ? "none" : "rows",
      dtype = "f32",
      causal = true,
      variant = "pass-kv",
      scale,
      link,
      rates,
    } = input;
    validateSeeded(input);
    if ((output === "rows") !== (rows !== undefined)) {
      throw new InputError(
        `output: found ${JSON.stringify(output)} ${
          rows === undefined ? "without" : "with"
        } rows, expected rows named where "rows" are asked for, and only there`,
      );
    }
    const shapes = shapesOf(output, sequences.reduce((sum, s) => sum + s.new, 0), heads, headDim, rows?.length ?? 0);
    const params = defined({
      seed,
      sequences,
      heads,
      kvHeads,
      headDim,
      ranks,
      output,
      rows,
      dtype,
      causal,
      variant,
      scale,
      link,
      rates,
    });
    const result = await this.call({ method: "attend", params, shapes, watch: input });
    const { out = new Float32Array(0), lse = new Float32Array(0) } = result.tensors;
    return { out, lse, report: this.report(result) };
  }

  async attend(input: RemoteAttendInput): Promise<AttendResult & { readonly report: RemoteReport }> {
    validateAttend(input, "remote");
    const {
      sequences,
      heads,
      kvHeads,
      headDim,
      ranks,
      wireDtype: dtype = "f32",
      causal = true,
      variant = "pass-kv",
      scale,
      link,
      rates,
    } = input;
    const shapes = shapesOf("full", input.q.length / (heads * headDim), heads, headDim, 0);
    const params = defined({
      sequences,
      heads,
      kvHeads,
      headDim,
      ranks,
      output: "full",
      dtype,
      causal,
      variant,
      scale,
      link,
      rates,
    });
    const tensor = (x: Float32Array, h: number) => ({
      dtype,
      shape: [x.length / (h * headDim), h, headDim],
      data: encode(x, dtype),
    });
    const uploads = { q: tensor(input.q, heads), k: tensor(input.k, kvHeads), v: tensor(input.v, kvHeads) };
    const result = await this.call({ method: "attend", params, uploads, shapes, watch: input });
    return { out: result.tensors.out, lse: result.tensors.lse, report: this.report(result) };
  }

  async session(options: RemoteSessionOptions) {
    return await openSession(this, options);
  }

  async layer(input: LayerInput): Promise<RemoteValue> {
    const { tokens, cached, ranks, variant = "pass-kv", dtype = "bf16", tp, link, seed, model } = input;
    const { value, spans } = await this.call({
      method: "layer",
      params: defined({ tokens, cached, ranks, variant, dtype, tp, link, seed, model }),
      watch: input,
    });
    return { value, spans };
  }

  async bench(input: Watch & { readonly quick?: boolean } = {}): Promise<RemoteValue> {
    const { value, spans } = await this.call({
      method: "bench",
      params: defined({ quick: input.quick }),
      watch: input,
    });
    return { value, spans };
  }

  async health(watch?: Watch): Promise<CallResult["value"]> {
    return (await this.call({ method: "health", params: {}, watch })).value;
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
    const connection = on ?? await this.reach(request.watch?.signal, this.#options.retrySeconds ?? RETRY_SECONDS);
    const complaint = this.#complaint("clientMessage", {
      type: "call",
      id: 1,
      method: request.method,
      params: { ...request.params, ...sample(request) },
    });
    if (complaint !== undefined) throw new InputError(`${request.method}: ${complaint}`);
    return await connection.call(request);
  }

  report(result: CallResult): RemoteReport {
    return reportOf(result, this.address, this.facts, this.platform.runtime);
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
          platform: this.platform,
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

/** The tensors of a result, by what is asked for. */
export function shapesOf(
  output: "rows" | "full" | "none",
  tokens: number,
  heads: number,
  headDim: number,
  rows: number,
): Record<string, readonly number[]> {
  if (output === "none") return {};
  return output === "full"
    ? { out: [tokens, heads, headDim], lse: [tokens, heads] }
    : { out: [rows, headDim], lse: [rows] };
}

/** The fields that have a value: JSON has no undefined, and the schema no null. */
export function defined(params: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
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
