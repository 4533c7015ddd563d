/** Splits a model's heads over the GPUs of a tensor-parallel group, and knows the possible group sizes. */
import { InputError } from "../errors.ts";
import { elementsOf } from "../policy/setting.ts";
import type { Model } from "./models.ts";

/** Heads of one GPU. */
export interface GpuHeads {
  readonly queries: number;
  /** At least 1. Beyond N_KV GPUs, each KV head is replicated over TP / N_KV of them (section 1.3). */
  readonly kv: number;
  /** GPUs that hold the same KV head. */
  readonly replicas: number;
}

/** The heads of one GPU at tensor parallelism `tp`. Errors: InputError if tp does not fit the query or KV heads. */
export function headsPerGpu(m: Model, tp: number): GpuHeads {
  const why = refusal(m, tp);
  if (why !== undefined) throw new InputError(why);
  return { queries: m.heads / tp, kv: Math.max(1, m.kvHeads / tp), replicas: Math.max(1, tp / m.kvHeads) };
}

/** Elements of one token on a GPU: of Q, of K and V together as they are held and sent, and of O. */
export function elementsPerGpu(m: Model, heads: GpuHeads): ReturnType<typeof elementsOf> {
  const { headDim, valueDim, valuesInKeys } = m;
  return elementsOf({ heads: heads.queries, kvHeads: heads.kv, headDim, valueDim, valuesInKeys });
}

/** Why `tp` cannot split this model, or undefined if it can. */
export function refusal(m: Model, tp: number): string | undefined {
  if (!Number.isInteger(tp) || tp < 1) return `tp: found ${tp}, expected a whole number of at least 1`;
  if (m.heads % tp !== 0) return `tp ${tp} does not divide the ${m.heads} query heads of ${m.name}; ${possible(m)} do`;
  if (m.kvHeads % tp !== 0 && tp % m.kvHeads !== 0) {
    return `tp ${tp} neither divides the ${m.kvHeads} KV heads of ${m.name} nor is a multiple of them; ${
      possible(m)
    } fit`;
  }
  return undefined;
}

/** The sizes of a tensor-parallel group that split the model's heads evenly, ascending. */
export function tpSizes(m: Model, largest = m.heads): number[] {
  return Array.from({ length: largest }, (_, i) => i + 1).filter((tp) =>
    m.heads % tp === 0 && (m.kvHeads % tp === 0 || tp % m.kvHeads === 0)
  );
}

function possible(m: Model): string {
  return tpSizes(m).join(", ");
}
