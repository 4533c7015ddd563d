/** Two layouts over one batch: as typed, as read, and in the page's address. */
import { layoutOf } from "../../../engine/compare.ts";
import { type Mask, readMask } from "../../../engine/run.ts";
import { parseCount } from "../../../lib/format/quantity.ts";
import { layoutNames } from "../state.ts";

/** The question as typed. */
export interface Draft {
  readonly left: string;
  readonly leftRanks: string;
  readonly right: string;
  readonly rightRanks: string;
  readonly tokens: string;
  readonly mask: string;
}

/** A part of the question. */
export type Field = keyof Draft;

/** A question that can be answered. */
export interface Question {
  readonly left: { readonly layout: string; readonly ranks: number };
  readonly right: { readonly layout: string; readonly ranks: number };
  /** New tokens of each sequence. */
  readonly sequences: readonly number[];
  readonly mask: Mask;
}

/** Names of the parts. */
export const names: Readonly<Record<Field, string>> = {
  left: "First layout",
  leftRanks: "Ranks of the first layout",
  right: "Second layout",
  rightRanks: "Ranks of the second layout",
  tokens: "Tokens of each sequence",
  mask: "Mask",
};

/** Keys in the address. The mask is that of Check. */
export const keys: Readonly<Record<Field, string>> = {
  left: "left",
  leftRanks: "leftranks",
  right: "right",
  rightRanks: "rightranks",
  tokens: "lengths",
  mask: "sees",
};

/** From prefill to decode. */
export const defaults: Draft = {
  left: "te",
  leftRanks: "4",
  right: "vllm-dcp:16",
  rightRanks: "4",
  tokens: "1024",
  mask: "causal",
};

/** The most that the page deals. */
export const MOST = { tokens: 262_144, ranks: 64 };

const fields = Object.keys(names) as Field[];

/** The question of an address. */
export function fromQuery(query: string): Draft {
  const given = new URLSearchParams(query);
  return Object.fromEntries(
    fields.map((field) => [field, given.get(keys[field])?.replace(" ", "+") ?? defaults[field]]),
  ) as unknown as Draft;
}

/** A question in an address. Other parts of the address stay. */
export function toQuery(draft: Draft, before: string): string {
  const query = new URLSearchParams(before);
  for (const field of fields) {
    if (field === "mask" && draft.mask === defaults.mask) query.delete(keys.mask);
    else query.set(keys[field], draft[field]);
  }
  return query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}

/** Reads what was typed. */
export function read(draft: Draft): { readonly question?: Question; readonly problems: ReadonlyMap<Field, string> } {
  const problems = new Map<Field, string>();
  const wrong = (field: Field, expected: string) =>
    problems.set(field, `${names[field]}: found ${draft[field] || "nothing"}, expected ${expected}.`);
  const side = (layout: "left" | "right", ranks: "leftRanks" | "rightRanks") => {
    try {
      layoutOf(draft[layout]);
    } catch {
      wrong(layout, layoutNames().join(", "));
    }
    const count = parseCount(draft[ranks]);
    if (!(count >= 1 && count <= MOST.ranks)) wrong(ranks, `a whole number from 1 to ${MOST.ranks}`);
    return { layout: draft[layout], ranks: count };
  };
  const [left, right] = [side("left", "leftRanks"), side("right", "rightRanks")];
  const sequences = draft.tokens.split(/[,\s]+/).filter((part) => part !== "").map(parseCount);
  const all = sequences.reduce((sum, length) => sum + length, 0);
  if (sequences.length === 0 || !sequences.every((length) => length >= 1) || !(all <= MOST.tokens)) {
    wrong("tokens", `tokens of each sequence such as 4096,300, at most ${MOST.tokens.toLocaleString("en-US")} in all`);
  }
  const mask = readMask(draft.mask);
  if (mask === undefined) wrong("mask", "causal, full, window:W or chunk:C, with +S for sink tokens");
  return problems.size > 0 ? { problems } : { problems, question: { left, right, sequences, mask: mask! } };
}
