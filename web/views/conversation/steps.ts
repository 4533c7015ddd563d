/** The steps of a conversation: the rows of each sequence that each one appends. */
import { type Conversation, type Part, turnsText } from "../../lib/address/conversation.ts";

/** Rows of one sequence in a step: rows `from .. from + rows` of it. */
export interface Rows {
  readonly sequence: number;
  readonly from: number;
  readonly rows: number;
}

/** One step of the session. */
export interface SessionStep {
  readonly turn: number;
  /** From 0 within the turn. */
  readonly index: number;
  readonly mode: "prefill" | "decode";
  readonly rows: readonly Rows[];
}

/** The steps of all turns: one fused prefill of the prompts, then one decode step per token of the longest reply. */
export function stepsOf({ turns, sequences }: Pick<Conversation, "turns" | "sequences">): SessionStep[] {
  const held = new Array<number>(sequences).fill(0);
  return turns.flatMap((parts, turn) => {
    const steps: SessionStep[] = [];
    const add = (mode: SessionStep["mode"], count: (part: Part) => number) => {
      const rows = parts.flatMap((
        part,
        sequence,
      ): Rows[] => (count(part) === 0 ? [] : [{ sequence, from: held[sequence], rows: count(part) }]));
      for (const { sequence, rows: n } of rows) held[sequence] += n;
      if (rows.length > 0) steps.push({ turn, index: steps.length, mode, rows });
    };
    add("prefill", (part) => part.prompt);
    for (let j = 0, longest = Math.max(...parts.map((part) => part.reply)); j < longest; j++) {
      add("decode", (part) => (part.reply > j ? 1 : 0));
    }
    return steps;
  });
}

/** The rows that a turn appends to each sequence. */
export function rowsOfTurn(c: Pick<Conversation, "turns">, turn: number): Rows[] {
  return c.turns[turn].flatMap(({ prompt, reply }, sequence): Rows[] => {
    const from = c.turns.slice(0, turn).reduce((sum, parts) => sum + parts[sequence].prompt + parts[sequence].reply, 0);
    return prompt + reply === 0 ? [] : [{ sequence, from, rows: prompt + reply }];
  });
}

/** Tokens of each sequence after all turns. */
export function lengthsOf({ turns, sequences }: Pick<Conversation, "turns" | "sequences">): number[] {
  return Array.from(
    { length: sequences },
    (_, s) => turns.reduce((sum, parts) => sum + parts[s].prompt + parts[s].reply, 0),
  );
}

/**
 * True if `next` continues what has run: the first `turns` turns and the settings are the same. The variant of prefills
 * and the rank that dies may change.
 */
export function continues(ran: Conversation, next: Conversation, turns: number): boolean {
  const settings = ({ seed, H, Hkv, D, N, mask, dealing, wire, link, backend, sequences, capacity }: Conversation) =>
    JSON.stringify([seed, H, Hkv, D, N, mask, dealing, wire, link, backend, sequences, capacity]);
  return settings(ran) === settings(next) && next.turns.length >= turns &&
    turnsText(ran.turns.slice(0, turns)) === turnsText(next.turns.slice(0, turns));
}
