/** A call's options, and how they become its parameters and the shapes of its result. */
import type { Elsewhere } from "../../engine/cluster/index.ts";
import { type AttendInput, type Dealing, InputError, type Mask, type PrefixOfK, sayMask } from "../../engine/index.ts";
import type { Caller } from "./caller.ts";

/** What a worker takes besides the options of ranks here. */
export const WORKER: Elsewhere = {
  attend: ["ranks", "link", "onQueued", "onSpans"],
  session: ["ranks", "link", "signal"],
  step: ["onQueued", "onSpans"],
};

/** The tensors of a result by name, as `output` asks for them. */
export function shapesOf(
  output: "rows" | "full" | "none",
  tokens: number,
  heads: number,
  valueDim: number,
  rows: number,
): Record<string, readonly number[]> {
  if (output === "none") return {};
  return output === "full"
    ? { out: [tokens, heads, valueDim], lse: [tokens, heads] }
    : { out: [rows, valueDim], lse: [rows] };
}

/** The options that make an attention other than causal GQA with one head size. */
export type AttentionOptions =
  & Pick<AttendInput, "headDim" | "valueDim" | "mask" | "causal" | "sinks" | "dealing">
  & { readonly v?: Float32Array | PrefixOfK };

/** What a call asks for, as the worker's report must repeat it. */
export interface Asked {
  readonly mask: Mask;
  /** Does each head have a learned logit? */
  readonly sinks: boolean;
  readonly dealing: Dealing;
  /** Dv. */
  readonly valueDim: number;
  /** Is V part of K? */
  readonly valuesInKeys: boolean;
}

/** Validated options, with their defaults. */
export function askedOf({ headDim, valueDim, mask, causal, sinks, dealing, v }: AttentionOptions): Asked {
  const prefix = v === undefined || v instanceof Float32Array ? undefined : v.prefixOfK;
  return {
    mask: mask ?? { kind: causal === false ? "full" : "causal" },
    sinks: sinks !== undefined,
    dealing: dealing ?? "head-tail",
    valueDim: prefix ?? valueDim ?? headDim,
    valuesInKeys: prefix !== undefined,
  };
}

/** What a worker without the capability "masks" takes. */
const OLDER = {
  "head dimension": "at most 256",
  mask: "causal or full",
  sinks: "none",
  dealing: "head-tail",
  valueDim: "D",
  v: "a tensor",
};

/**
 * The parameters of these options. We leave out defaults, because a worker without the capability "masks" refuses
 * fields that it doesn't know. Errors: InputError if an option needs a newer worker.
 */
export function attentionParams(
  { headDim, sinks }: AttentionOptions,
  { mask, dealing, valueDim, valuesInKeys }: Asked,
  { address, facts, capabilities }: Pick<Caller, "address" | "facts" | "capabilities">,
): Record<string, unknown> {
  const local = mask.kind === "window" || mask.kind === "chunk";
  const beyond: readonly (readonly [keyof typeof OLDER, string] | false)[] = [
    headDim > 256 && ["head dimension", `D = ${headDim}`],
    local && ["mask", sayMask(mask)],
    sinks !== undefined && ["sinks", "some"],
    dealing !== "head-tail" && ["dealing", dealing],
    valuesInKeys && ["v", `{ prefixOfK: ${valueDim} }`],
    !valuesInKeys && valueDim !== headDim && ["valueDim", `${valueDim}`],
  ];
  const first = beyond.find((one) => one !== false);
  if (first && !capabilities.includes("masks")) {
    const [name, found] = first;
    throw new InputError(
      `${name}: found ${found}, expected ${
        OLDER[name]
      }: the worker at ${address} (${facts.worker}) is too old for it; ` +
        "install cuda-bridge/worker of this version there",
    );
  }
  return defined({
    mask: local ? mask : undefined,
    sinks: sinks === undefined ? undefined : [...sinks],
    dealing: dealing === "head-tail" ? undefined : dealing,
    valueDim: valueDim === headDim && !valuesInKeys ? undefined : valueDim,
    valuesInKeys: valuesInKeys || undefined,
  });
}

/** The fields that have a value: JSON has no undefined, and the schema no null. */
export function defined(params: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
}
