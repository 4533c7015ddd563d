/** A conversation's KV cache on a worker's ranks. It lives as long as its connection. */
import { validateRows, validateSession, validateStep } from "../../engine/cluster/index.ts";
import {
  InputError,
  type Session,
  type SessionOutput,
  type SessionRows,
  type StepOptions,
  type StepReport,
  type StepResult,
} from "../../engine/index.ts";
import { toBytes } from "../../engine/tensor/index.ts";
import type { Caller } from "./caller.ts";
import type { Connection } from "./connection.ts";
import { remoteError } from "./errors.ts";
import { type Asked, askedOf, attentionParams, defined, shapesOf, WORKER } from "./params.ts";
import { stepReportOf } from "./report.ts";
import type { CallOptions, RemoteSessionOptions } from "./types.ts";

/** Tokens that a rank's cache holds by default, like the engine's sessions. */
const DEFAULT_CAPACITY = 16_384;

/** Opens a session. Errors: those of Remote's calls. */
export async function openSession(caller: Caller, options: Options): Promise<RemoteSession> {
  const {
    ranks,
    heads,
    kvHeads,
    headDim,
    scale,
    wireDtype: dtype = "f32",
    capacity = DEFAULT_CAPACITY,
    variant = "auto",
    rates,
    link,
    signal,
  } = options;
  validateSession(options, WORKER);
  const connection = await caller.reach(signal, 0);
  const asked = askedOf(options);
  const shape = { heads, kvHeads, headDim, ...attentionParams(options, asked, caller) };
  const params = defined({ ranks, ...shape, dtype, capacity, variant, scale, link, rates });
  const { value } = await caller.call({ method: "session.open", params, options: { signal } }, connection);
  const { session, capacity: granted } = value as { session?: unknown; capacity?: unknown };
  if (!Number.isSafeInteger(session) || !Number.isSafeInteger(granted)) {
    throw remoteError(
      "bad-reply",
      caller.address,
      `session.open: found ${JSON.stringify(value).slice(0, 60)}, expected a session's number and capacity`,
    );
  }
  const opened = { ...options, wireDtype: dtype, asked };
  return new RemoteSession(caller, connection, session as number, granted as number, opened);
}

/** With the connection's ranks, if the session names none. */
type Options = RemoteSessionOptions & Required<Pick<RemoteSessionOptions, "ranks">>;
type Opened = Options & Required<Pick<Options, "wireDtype">> & { readonly asked: Asked };

/** See Session; pages are one token each here, as the worker counts its room in tokens. */
export class RemoteSession implements Session {
  readonly #caller: Caller;
  readonly #connection: Connection;
  readonly #number: number;
  readonly #room: number;
  readonly #options: Opened;
  #tokens: StepReport["tokens"] = [];
  #steps = 0;
  #disposed = false;

  constructor(caller: Caller, connection: Connection, number: number, room: number, options: Opened) {
    this.#caller = caller;
    this.#connection = connection;
    this.#number = number;
    this.#room = room;
    this.#options = options;
  }

  get capacity() {
    const used = Array.from(
      { length: this.#options.ranks },
      (_, rank) => this.#tokens.reduce((sum, t) => sum + t.perRank[rank], 0),
    );
    return { tokensPerRank: this.#room, pageTokens: 1, pages: this.#room, pagesUsed: used };
  }

  get tokens(): StepReport["tokens"] {
    return this.#tokens;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  get steps(): number {
    return this.#steps;
  }

  async prefill(batch: readonly SessionRows[], options: StepOptions & CallOptions = {}): Promise<StepResult> {
    if (options.variant !== undefined) {
      throw new InputError(
        "prefill: found a variant for one step, expected none: a remote session has one variant for all its steps",
      );
    }
    return await this.#step("session.prefill", batch, options);
  }

  async decode(
    batch: readonly SessionRows[],
    options: Omit<StepOptions, "variant"> & CallOptions = {},
  ): Promise<StepResult> {
    return await this.#step("session.decode", batch, options);
  }

  async drop(sequence: number): Promise<void> {
    const { value } = await this.#call("session.evict", { sequence });
    this.#tokens = Array.isArray(value.tokens)
      ? value.tokens as StepReport["tokens"]
      : this.#tokens.filter((t) => t.sequence !== sequence);
  }

  snapshot(): Promise<Uint8Array> {
    return Promise.reject(
      new InputError(
        "snapshot: found a session on a remote worker, whose cache stays there; expected one on ranks here",
      ),
    );
  }

  restore(): Promise<void> {
    return Promise.reject(
      new InputError(
        "restore: found a session on a remote worker, whose cache can't be set; expected one on ranks here",
      ),
    );
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    const closing = this.#connection.over === undefined ? this.#call("session.close", {}) : undefined;
    this.#disposed = true;
    await closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #step(
    method: "session.prefill" | "session.decode",
    batch: readonly SessionRows[],
    options: StepOptions & CallOptions,
  ): Promise<StepResult> {
    if (options.fault !== undefined) {
      throw new InputError("fault: found one for a remote session, expected none: its ranks don't fail on purpose");
    }
    validateStep(options, undefined, undefined, WORKER);
    const { heads, kvHeads, headDim, wireDtype, asked } = this.#options;
    const { valueDim, valuesInKeys } = asked;
    const lengths = batch.map((rows) => validateRows(rows, this.#options).T);
    const tokens = lengths.reduce((sum, n) => sum + n, 0);
    const tensor = (name: "q" | "k" | "v", h: number, dim: number) => ({
      dtype: wireDtype,
      shape: [tokens, h, dim],
      data: toBytes(joined(batch.map((rows) => rows[name]!)), wireDtype),
    });
    const result = await this.#call(method, {
      batch: batch.map(({ sequence }, i) => ({ sequence, new: lengths[i] })),
      output: "full",
    }, {
      uploads: {
        q: tensor("q", heads, headDim),
        k: tensor("k", kvHeads, headDim),
        ...(!valuesInKeys && { v: tensor("v", kvHeads, valueDim) }),
      },
      shapes: shapesOf("full", tokens, heads, valueDim, 0),
      options,
    });
    const report = stepReportOf(result, asked, this.#caller.address, this.#caller.facts, this.#caller.runtime);
    this.#tokens = report.tokens;
    this.#steps++;
    let at = 0;
    const outputs = batch.map(({ sequence }, i): SessionOutput => {
      const [from, to] = [at * heads, (at += lengths[i]) * heads];
      return {
        sequence,
        out: result.tensors.out.subarray(from * valueDim, to * valueDim),
        lse: result.tensors.lse.subarray(from, to),
      };
    });
    return { outputs, report };
  }

  async #call(
    method: string,
    params: Record<string, unknown>,
    more: Pick<Parameters<Caller["call"]>[0], "uploads" | "shapes" | "options"> = {},
  ) {
    if (this.#disposed) throw new InputError("session: it was disposed, expected an open one");
    const { over } = this.#connection;
    if (over !== undefined) {
      throw remoteError(
        "session-gone",
        this.#caller.address,
        `session ${this.#number} is gone with its connection (${over.what})`,
      );
    }
    return await this.#caller.call({ method, params: { session: this.#number, ...params }, ...more }, this.#connection);
  }
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
