/** A conversation and its form in the page's address. */
import { sayMask } from "../../engine/run.ts";
import { defaults as labDefaults, type Experiment } from "../experiment/experiment.ts";

/** The variant of prefills. Decode is always pass-Q. */
export type Prefills = "auto" | "pass-kv" | "pass-q";

/** One sequence's part in a turn: a prompt to prefill, then a reply to decode token by token. */
export interface Part {
  /** Tokens. */
  readonly prompt: number;
  /** Tokens, each a decode step. */
  readonly reply: number;
}

/** One part per sequence. */
export type Turn = readonly Part[];

/** A rank that dies on purpose. */
export interface Kill {
  readonly rank: number;
  /** From 0. */
  readonly turn: number;
  /** In the turn's prefill, or in the first step of its reply. */
  readonly mode: "prefill" | "decode";
  readonly hop: number;
}

/** The settings that the Lab has too. Both views share them in the address. */
export type Settings = Pick<
  Experiment,
  "seed" | "H" | "Hkv" | "D" | "N" | "mask" | "dealing" | "wire" | "link" | "backend"
>;

/** A conversation that can run. */
export interface Conversation extends Settings {
  readonly sequences: number;
  readonly turns: readonly Turn[];
  readonly prefills: Prefills;
  /** Tokens that each rank's cache must hold. */
  readonly capacity: number;
  readonly kill: Kill | null;
}

/** The conversation with which the view opens. */
export const defaults: Conversation = {
  seed: labDefaults.seed,
  H: labDefaults.H,
  Hkv: labDefaults.Hkv,
  D: labDefaults.D,
  N: labDefaults.N,
  mask: labDefaults.mask,
  dealing: labDefaults.dealing,
  wire: labDefaults.wire,
  link: labDefaults.link,
  backend: labDefaults.backend,
  sequences: 1,
  turns: [[{ prompt: 1024, reply: 4 }], [{ prompt: 32, reply: 4 }], [{ prompt: 24, reply: 4 }], [{
    prompt: 48,
    reply: 4,
  }]],
  prefills: "auto",
  capacity: 1024,
  kill: null,
};

/**
 * Turns as the address writes them: `1024.4_96.4,32.4_0.0` is prompt.reply, `_` between sequences, `,` between turns.
 */
export function turnsText(turns: readonly Turn[]): string {
  return turns.map((turn) => turn.map(({ prompt, reply }) => `${prompt}.${reply}`).join("_")).join(",");
}

/** A conversation in an address. Other parts of the address stay. */
export function toQuery(c: Conversation, kept = ""): string {
  const query = new URLSearchParams(kept);
  const { kill, link } = c;
  for (const key of ["seed", "H", "Hkv", "D", "N", "wire", "backend"] as const) query.set(key, String(c[key]));
  query.set("mask", sayMask(c.mask));
  if (c.dealing === labDefaults.dealing) query.delete("dealing");
  else query.set("dealing", c.dealing);
  query.set("link", link === null ? "off" : `${link.bandwidth},${link.latency}`);
  query.set("turns", turnsText(c.turns));
  query.set("prefills", c.prefills);
  query.set("capacity", String(c.capacity));
  if (kill === null) query.delete("kill");
  else query.set("kill", `${kill.rank},${kill.turn + 1},${kill.mode},${kill.hop}`);
  return query.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
}
