/** The inputs of a choice: the step (T, P), the model's heads, the ranks and their rates. */
import { InputError } from "../errors.ts";
import { CAUSAL, isLocal, type Mask, validateMask } from "../layout/mask.ts";
import { type Dealing, DEALINGS, type Sequence } from "../layout/shards.ts";

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
  /** D_H of Q and K, default 128. If V has as many elements, no rule depends on it, but message sizes and times do. */
  readonly headDim?: number;
  /** Dv, elements of V and O a head; default D_H. */
  readonly valueDim?: number;
  /** V is the first Dv elements of each row of K (MLA's absorbed form), so only K travels; default false. */
  readonly valuesInKeys?: boolean;
  /** e, bytes an element, default 2. */
  readonly bytes?: number;
  /** C, FLOP/s. */
  readonly flops: number;
  /** BW, bytes/s sent. */
  readonly bandwidth: number;
  /** Default causal. Under a window or chunk mask, the bytes sent decide instead of a rule. */
  readonly mask?: Mask;
  /** How ranks got the tokens, default head-tail. Only the bytes under a window or chunk mask depend on it. */
  readonly dealing?: Dealing;
  /** The sequences of the step, for the same; default one of T and P. */
  readonly sequences?: readonly Sequence[];
}

/** The part of a setting that gives the elements of a token. */
export type Elements = Pick<Setting, "heads" | "kvHeads" | "headDim" | "valueDim" | "valuesInKeys">;

/** Elements of one token: of Q, of K and V together as they travel, and of O. */
export function elementsOf(s: Elements): { readonly q: number; readonly kv: number; readonly o: number } {
  const { headDim = 128, valueDim = headDim, valuesInKeys = false } = s;
  return {
    q: s.heads * headDim,
    kv: s.kvHeads * (valuesInKeys ? headDim : headDim + valueDim),
    o: s.heads * valueDim,
  };
}

/** Under a local mask every message is counted, N x N of them. */
const MOST_RANKS = 1024;

/**
 * Checks a setting and fills in its defaults. Errors: InputError with the field, what was found and what was expected.
 */
export function checkSetting(setting: Setting): Required<Setting> {
  const headDim = setting.headDim ?? 128;
  const full = {
    ...setting,
    headDim,
    valueDim: setting.valueDim ?? headDim,
    valuesInKeys: setting.valuesInKeys ?? false,
    bytes: setting.bytes ?? 2,
    mask: setting.mask ?? CAUSAL,
    dealing: setting.dealing ?? "head-tail",
    sequences: setting.sequences ?? [{ new: setting.new, cached: setting.cached }],
  };
  const whole = ["new", "ranks", "heads", "kvHeads", "headDim", "valueDim"] as const;
  for (const name of whole) {
    if (!Number.isInteger(full[name]) || full[name] < 1) fail(name, full[name], "a whole number of at least 1");
  }
  if (!Number.isInteger(full.cached) || full.cached < 0) fail("cached", full.cached, "a whole number of at least 0");
  if (full.heads % full.kvHeads !== 0) fail("kvHeads", full.kvHeads, `a divisor of the ${full.heads} query heads`);
  if (full.valuesInKeys && full.valueDim > full.headDim) {
    fail("valueDim", full.valueDim, `at most the ${full.headDim} elements of K, because V is a part of it`);
  }
  validateMask(full.mask);
  if (isLocal(full.mask) && full.ranks > MOST_RANKS) {
    fail("ranks", full.ranks, `at most ${MOST_RANKS} under a window or chunk mask, where each rank sends other bytes`);
  }
  if (!DEALINGS.includes(full.dealing)) {
    throw new InputError(
      `policy: dealing: found ${JSON.stringify(full.dealing)}, expected ${DEALINGS.join(" or ")}`,
    );
  }
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
