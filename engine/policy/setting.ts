/** The inputs of a choice: the step (T, P), the model's heads, the ranks and their rates. */
import { InputError } from "../errors.ts";

/**
 * A step on a cluster, in the paper's letters. C and BW may be those of one GPU or of a whole rank of TP GPUs. Each GPU
 * has H/TP query heads and Hkv/TP KV heads, so FLOPs and bytes shrink alike, and TP cancels in every rule (Eq. 1, 2, 3
 * and 5). Only the absolute times of `exposure` scale: for one GPU's times, give its C and BW and its heads.
 */
export interface Setting {
  /** T, new tokens of the step, all sequences together; at least 1. */
  readonly new: number;
  /** P, cached tokens. */
  readonly cached: number;
  /** N, context-parallel ranks. */
  readonly ranks: number;
  /** N_H, query heads. */
  readonly heads: number;
  /** N_KV, KV heads. */
  readonly kvHeads: number;
  /** D_H, default 128. No rule depends on it, but message sizes and times do. */
  readonly headDim?: number;
  /** e, bytes an element, default 2. */
  readonly bytes?: number;
  /** C, FLOP/s. */
  readonly flops: number;
  /** BW, bytes/s sent. */
  readonly bandwidth: number;
}

/**
 * Checks a setting and fills in its defaults. Errors: InputError with the field, what was found and what was expected.
 */
export function checkSetting(setting: Setting): Required<Setting> {
  const full = { ...setting, headDim: setting.headDim ?? 128, bytes: setting.bytes ?? 2 };
  const whole: readonly (keyof Setting & string)[] = ["new", "ranks", "heads", "kvHeads", "headDim"];
  for (const name of whole) {
    if (!Number.isInteger(full[name]) || full[name] < 1) fail(name, full[name], "a whole number of at least 1");
  }
  if (!Number.isInteger(full.cached) || full.cached < 0) fail("cached", full.cached, "a whole number of at least 0");
  if (full.heads % full.kvHeads !== 0) fail("kvHeads", full.kvHeads, `a divisor of the ${full.heads} query heads`);
  for (const name of ["bytes", "flops", "bandwidth"] as const) {
    if (!(full[name] > 0 && Number.isFinite(full[name]))) fail(name, full[name], "a positive number");
  }
  return full;
}

/** T/(T+P), the miss rate of the KV cache. */
export function missRate(setting: Pick<Setting, "new" | "cached">): number {
  return setting.new / (setting.new + setting.cached);
}

function fail(name: string, found: number, expected: string): never {
  throw new InputError(`policy: ${name}: found ${found}, expected ${expected}`);
}
