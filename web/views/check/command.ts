/** The same check as a command line. */
import { sayMask } from "../../engine/run.ts";
import type { Sorted } from "./names.ts";
import type { Settings } from "./state.ts";

/** The command; undefined if the files' names don't allow one. */
export function commandOf({ options }: Pick<Sorted, "options">, settings: Settings): string | undefined {
  if (options === undefined) return undefined;
  const { layout, ranks, variant, mask, dtype } = settings;
  const words = [
    ...["npx", "ringside-cp", "compare", ...options],
    ...(layout === undefined ? [] : ["--layout", layout, "--ranks", String(ranks)]),
    ...(layout === undefined || variant === "pass-kv" ? [] : ["--variant", variant]),
    ...(mask.kind === "causal" ? [] : ["--mask", sayMask(mask)]),
    ...(dtype === undefined ? [] : ["--dtype", dtype]),
  ];
  return words.map(quoted).join(" ");
}

/** A word as a shell takes it. */
export function quoted(word: string): string {
  return /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
