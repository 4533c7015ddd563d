/** Masks: which keys a query sees, by absolute positions in its sequence (cached tokens first). */
import { InputError } from "../errors.ts";
import { refuseUnknown, sayValue } from "../options.ts";

/**
 * A query at position p sees the keys at these positions:
 * - `causal`: 0 to p
 * - `full`: all of its sequence
 * - `window` of W = `size`: p-W+1 to p, so W keys with its own
 * - `chunk` of C = `size`: those with the same floor(position / C), up to p
 *
 * `sinkTokens` (StreamingLLM) adds the first S positions, up to p.
 */
export type Mask = { readonly kind: "causal" | "full" } | LocalMask;

/** A mask under which a query sees no more than the keys near it, and the sink tokens. */
export interface LocalMask {
  /** See Mask. */
  readonly kind: "window" | "chunk";
  /** W or C: tokens, a whole number of at least 1. */
  readonly size: number;
  /** S: positions that every later query sees; default 0. */
  readonly sinkTokens?: number;
}

/** The default mask. */
export const CAUSAL: Mask = { kind: "causal" };

/** Whether queries see only keys near them: then most ranks need only some of a message. */
export function isLocal(mask: Mask): mask is LocalMask {
  return mask.kind === "window" || mask.kind === "chunk";
}

/** The first position that a query at `position` sees beside sink tokens. It never falls as `position` rises. */
export function firstSeen(mask: Mask, position: number): number {
  if (mask.kind === "window") return Math.max(0, position - mask.size + 1);
  return mask.kind === "chunk" ? Math.floor(position / mask.size) * mask.size : 0;
}

/** One past the last position that a query at `position` sees. */
export function endSeen(mask: Mask, position: number): number {
  return mask.kind === "full" ? Infinity : position + 1;
}

/** S: positions from 0 that every query at or after them sees. */
export function sinkTokensOf(mask: Mask): number {
  return isLocal(mask) ? mask.sinkTokens ?? 0 : 0;
}

/** Whether two masks let every query see the same keys. */
export function sameMask(a: Mask, b: Mask): boolean {
  return sayMask(a) === sayMask(b);
}

/** A mask as the command line and links write it: `causal`, `full`, `window:1024`, `chunk:8192`, `window:1024+4`. */
export function sayMask(mask: Mask): string {
  if (!isLocal(mask)) return mask.kind;
  const sinks = sinkTokensOf(mask);
  return `${mask.kind}:${mask.size}${sinks > 0 ? `+${sinks}` : ""}`;
}

/** The mask that a text writes; undefined if it writes none. */
export function readMask(text: string): Mask | undefined {
  if (text === "causal" || text === "full") return { kind: text };
  const [, kind, size, sinks] = /^(window|chunk):(\d+)(?:\+(\d+))?$/.exec(text) ?? [];
  if (kind === undefined || !isCount(Number(size)) || !Number.isSafeInteger(Number(sinks ?? 0))) return undefined;
  const mask = { kind: kind as LocalMask["kind"], size: Number(size) };
  return Number(sinks ?? 0) > 0 ? { ...mask, sinkTokens: Number(sinks) } : mask;
}

/**
 * The mask of a call: the given one, else causal. `causal: false` is the older way to ask for `full`. Errors:
 * InputError.
 */
export function maskFrom({ mask, causal }: { readonly mask?: Mask; readonly causal?: boolean }): Mask {
  if (causal !== undefined && typeof causal !== "boolean") {
    throw new InputError(`causal: found ${sayValue(causal)}, expected true or false`);
  }
  if (mask === undefined) return causal === false ? { kind: "full" } : CAUSAL;
  validateMask(mask);
  if (causal !== undefined && causal === (mask.kind === "full")) {
    throw new InputError(`causal: found ${causal} beside the mask "${sayMask(mask)}", expected the mask alone`);
  }
  return mask;
}

/** Throws InputError unless `mask` is one. */
export function validateMask(mask: unknown): asserts mask is Mask {
  const expected = 'expected { kind: "causal" | "full" } or { kind: "window" | "chunk", size }';
  const { kind, size, sinkTokens } = (mask ?? {}) as { kind?: unknown; size?: unknown; sinkTokens?: unknown };
  if (kind === "causal" || kind === "full") {
    refuseUnknown(`mask "${kind}"`, mask, ["kind"]);
  } else if (kind === "window" || kind === "chunk") {
    refuseUnknown(`mask "${kind}"`, mask, ["kind", "size", "sinkTokens"]);
    if (!isCount(size)) {
      throw new InputError(`mask: found size ${sayValue(size)}, expected tokens, a whole number of at least 1`);
    }
    if (sinkTokens !== undefined && !(Number.isSafeInteger(sinkTokens) && (sinkTokens as number) >= 0)) {
      throw new InputError(
        `mask: found sinkTokens ${sayValue(sinkTokens)}, expected tokens, a whole number of at least 0`,
      );
    }
  } else {
    const found = typeof mask === "object" && mask !== null ? `kind ${sayValue(kind)}` : sayValue(mask);
    throw new InputError(`mask: found ${found}, ${expected}`);
  }
}

const isCount = (n: unknown): n is number => Number.isSafeInteger(n) && (n as number) >= 1;
