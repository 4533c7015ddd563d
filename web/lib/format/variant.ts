/** The variants as people write them. */
import type { Variant } from "../../engine/run.ts";

/** "pass-KV" or "pass-Q". */
export function sayVariant(variant: Variant): string {
  return variant === "pass-kv" ? "pass-KV" : "pass-Q";
}
