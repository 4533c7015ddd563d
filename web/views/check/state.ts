/** The settings of a check: as typed, as read, and in the page's address. Files are not in the address. */
import { LAYOUT_NAMES, layoutOf } from "../../engine/compare.ts";
import { type Mask, readMask, type Variant } from "../../engine/run.ts";
import { parseCount } from "../../lib/format/quantity.ts";

/** Settings as typed. */
export interface Draft {
  readonly layout: string;
  readonly ranks: string;
  readonly variant: string;
  readonly mask: string;
  readonly dtype: string;
}

/** A setting. */
export type Field = keyof Draft;

/** Settings that can be checked with. */
export interface Settings {
  /** Undefined: a whole result without ranks. */
  readonly layout: string | undefined;
  readonly ranks: number;
  readonly variant: Variant;
  readonly mask: Mask;
  /** Undefined: the narrowest type of the files. */
  readonly dtype: "f32" | "f16" | "bf16" | undefined;
}

/** Names of the settings. */
export const names: Readonly<Record<Field, string>> = {
  layout: "Layout",
  ranks: "Ranks N",
  variant: "Variant",
  mask: "Mask",
  dtype: "Type",
};

/** Keys in the address. They differ from those of other views, so that one address can hold the state of all. */
export const keys: Readonly<Record<Field, string>> = {
  layout: "layout",
  ranks: "ranks",
  variant: "partials",
  mask: "sees",
  dtype: "rounded",
};

/** What the view opens with. */
export const defaults: Draft = { layout: "none", ranks: "4", variant: "pass-kv", mask: "causal", dtype: "auto" };

/** Lists to choose from. */
export const choices: Readonly<Record<"layout" | "variant" | "dtype", Readonly<Record<string, string>>>> = {
  layout: {
    none: "no layout",
    ...Object.fromEntries(layoutNames().map((name) => [name, name])),
  },
  variant: { "pass-kv": "pass-KV", "pass-q": "pass-Q" },
  dtype: { auto: "the files’ narrowest type", f32: "f32", f16: "f16", bf16: "bf16" },
};

/** Every layout, with an interleave of 16 where one is needed. */
export function layoutNames(): string[] {
  return LAYOUT_NAMES.map((name) => name.replace("INTERLEAVE", "16"));
}

const fields = Object.keys(names) as Field[];

/** The settings of an address. */
export function fromQuery(query: string): Draft {
  const given = new URLSearchParams(query);
  return Object.fromEntries(
    fields.map((field) => [field, given.get(keys[field])?.replace(" ", "+") ?? defaults[field]]),
  ) as unknown as Draft;
}

/** Settings in an address, without those at their defaults. Other parts of the address stay. */
export function toQuery(draft: Draft, before: string): string {
  const query = new URLSearchParams(before);
  for (const field of fields) {
    if (draft[field] === defaults[field]) query.delete(keys[field]);
    else query.set(keys[field], draft[field]);
  }
  return query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}

/** Reads what was typed. */
export function read(draft: Draft): { readonly settings?: Settings; readonly problems: ReadonlyMap<Field, string> } {
  const problems = new Map<Field, string>();
  const wrong = (field: Field, expected: string) =>
    problems.set(field, `${names[field]}: found ${draft[field] || "nothing"}, expected ${expected}.`);
  const { layout, variant, dtype } = draft;
  if (layout !== "none") {
    try {
      layoutOf(layout);
    } catch {
      wrong("layout", `none or ${LAYOUT_NAMES.join(", ")}`);
    }
  }
  const ranks = parseCount(draft.ranks);
  if (!(ranks >= 1 && ranks <= 1024)) wrong("ranks", "a whole number from 1 to 1,024");
  if (!Object.hasOwn(choices.variant, variant)) wrong("variant", "pass-kv or pass-q");
  const mask = readMask(draft.mask);
  if (mask === undefined) wrong("mask", "causal, full, window:W or chunk:C, with +S for sink tokens");
  if (!Object.hasOwn(choices.dtype, dtype)) wrong("dtype", "auto, f32, f16 or bf16");
  if (problems.size > 0) return { problems };
  return {
    problems,
    settings: {
      layout: layout === "none" ? undefined : layout,
      ranks,
      variant: variant as Variant,
      mask: mask!,
      dtype: dtype === "auto" ? undefined : dtype as Settings["dtype"],
    },
  };
}
