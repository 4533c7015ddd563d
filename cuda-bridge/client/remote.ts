/** A worker with the face of a cluster: the ranks are elsewhere. */
import { validateAttend, validateSeeded } from "../../engine/cluster/index.ts";
import { type AdapterFacts, InputError, type Session } from "../../engine/index.ts";
import { toBytes } from "../../engine/tensor/index.ts";
import { checkOptions, readAddress } from "./address.ts";
import { Caller } from "./caller.ts";
import type { CallResult } from "./call.ts";
import { type Asked, askedOf, attentionParams, defined, shapesOf, WORKER } from "./params.ts";
import type { ClientPlatform } from "./platform.ts";
import { adapterOf, reportOf } from "./report.ts";
import { readSchema } from "./schema.ts";
import { openSession } from "./session.ts";
import type {
  CallOptions,
  Facts,
  LayerInput,
  Limits,
  RemoteAttendInput,
  RemoteFace,
  RemoteOptions,
  RemoteReport,
  RemoteResult,
  RemoteSessionOptions,
  RemoteState,
  RemoteValue,
  SeededInput,
  SeededResult,
} from "./types.ts";

/** Reaches a worker. Errors: InputError for a bad address or option; RemoteError; the signal's reason. */
export async function connect(platform: ClientPlatform, url: string, options: RemoteOptions): Promise<RemoteFace> {
  const address = readAddress(url);
  checkOptions(options);
  const caller = new Caller(platform, address, options, await readSchema(platform.read));
  await caller.reach(options.signal, 0);
  return new RemoteClient(caller, options);
}

/** See RemoteFace. */
class RemoteClient implements RemoteFace {
  readonly #caller: Caller;
  readonly #options: RemoteOptions;

  constructor(caller: Caller, options: RemoteOptions) {
    this.#caller = caller;
    this.#options = options;
  }

  get address(): string {
    return this.#caller.address;
  }

  get facts(): Facts {
    return this.#caller.facts;
  }

  get limits(): Limits {
    return this.#caller.limits;
  }

  get capabilities(): readonly string[] {
    return this.#caller.capabilities;
  }

  get state(): RemoteState {
    return this.#caller.state;
  }

  get size(): number {
    return this.#options.ranks ?? this.facts.processes;
  }

  get adapter(): AdapterFacts {
    return adapterOf(this.facts);
  }

  async attendSeeded(input: SeededInput): Promise<SeededResult> {
    const {
      seed,
      sequences,
      heads,
      kvHeads,
      headDim,
      ranks = this.size,
      rows,
      output = rows === undefined ? "none" : "rows",
      dtype = "f32",
      variant = "pass-kv",
      scale,
      link = this.#options.link,
      rates,
    } = input;
    validateSeeded(input, WORKER);
    const asked = askedOf(input);
    if ((output === "rows") !== (rows !== undefined)) {
      throw new InputError(
        `output: found ${JSON.stringify(output)} ${
          rows === undefined ? "without" : "with"
        } rows, expected rows if output is "rows", and only then`,
      );
    }
    const tokens = sequences.reduce((sum, s) => sum + s.new, 0);
    const shapes = shapesOf(output, tokens, heads, asked.valueDim, rows?.length ?? 0);
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
      causal: asked.mask.kind !== "full",
      ...attentionParams(input, asked, this.#caller),
      variant,
      scale,
      link,
      rates,
    });
    const result = await this.#caller.call({ method: "attend", params, shapes, options: input });
    const { out = new Float32Array(0), lse = new Float32Array(0) } = result.tensors;
    return { out, lse, report: this.#report(result, asked) };
  }

  async attend(input: RemoteAttendInput): Promise<RemoteResult> {
    validateAttend(input, WORKER);
    const {
      sequences,
      heads,
      kvHeads,
      headDim,
      ranks = this.size,
      wireDtype: dtype = "f32",
      variant = "pass-kv",
      scale,
      link = this.#options.link,
      rates,
      v,
    } = input;
    const asked = askedOf(input);
    const shapes = shapesOf("full", input.q.length / (heads * headDim), heads, asked.valueDim, 0);
    const params = defined({
      sequences,
      heads,
      kvHeads,
      headDim,
      ranks,
      output: "full",
      dtype,
      causal: asked.mask.kind !== "full",
      ...attentionParams(input, asked, this.#caller),
      variant,
      scale,
      link,
      rates,
    });
    const tensor = (x: Float32Array, h: number, dim: number) => ({
      dtype,
      shape: [x.length / (h * dim), h, dim],
      data: toBytes(x, dtype),
    });
    const uploads = {
      q: tensor(input.q, heads, headDim),
      k: tensor(input.k, kvHeads, headDim),
      ...(v instanceof Float32Array && { v: tensor(v, kvHeads, asked.valueDim) }),
    };
    const result = await this.#caller.call({ method: "attend", params, uploads, shapes, options: input });
    return { out: result.tensors.out, lse: result.tensors.lse, report: this.#report(result, asked) };
  }

  async session(options: RemoteSessionOptions): Promise<Session> {
    return await openSession(this.#caller, {
      ...options,
      ranks: options.ranks ?? this.size,
      link: options.link ?? this.#options.link,
    });
  }

  async layer(input: LayerInput): Promise<RemoteValue> {
    const { tokens, cached, ranks = this.size, variant = "pass-kv", dtype = "bf16", tp, seed, model } = input;
    const { link = this.#options.link } = input;
    const { value, spans } = await this.#caller.call({
      method: "layer",
      params: defined({ tokens, cached, ranks, variant, dtype, tp, link, seed, model }),
      options: input,
    });
    return { value, spans };
  }

  async bench(input: CallOptions & { readonly quick?: boolean } = {}): Promise<RemoteValue> {
    const { value, spans } = await this.#caller.call({
      method: "bench",
      params: defined({ quick: input.quick }),
      options: input,
    });
    return { value, spans };
  }

  async health(options?: CallOptions): Promise<CallResult["value"]> {
    return (await this.#caller.call({ method: "health", params: {}, options })).value;
  }

  repair(): Promise<number[]> {
    return Promise.reject(
      new InputError(
        "repair: found ranks on a remote worker, expected ranks here: if a worker lost a rank, start it again there",
      ),
    );
  }

  async dispose(): Promise<void> {
    await this.#caller.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #report(result: CallResult, asked: Asked): RemoteReport {
    const { address, facts, runtime } = this.#caller;
    return reportOf(result, asked, address, facts, runtime);
  }
}
