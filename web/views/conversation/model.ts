/** A conversation's turns and settings as typed, how they are read, and the draft in an address. */
import { type Conversation, defaults, type Kill, type Part, type Prefills } from "../../lib/address/conversation.ts";
import {
  defaults as labDefaults,
  type Draft as LabDraft,
  draftOf as labDraft,
  type Field as LabField,
  fromQuery as labFromQuery,
  names as labNames,
  read as labRead,
  tidy as labTidy,
} from "../../lib/experiment/experiment.ts";
import { formatCount } from "../../lib/format/format.ts";
import { parseCount } from "../../lib/format/quantity.ts";

const shared = [
  "N",
  "H",
  "Hkv",
  "D",
  "mask",
  "size",
  "sinkTokens",
  "dealing",
  "wire",
  "bandwidth",
  "latency",
  "seed",
  "backend",
] as const satisfies readonly LabField[];
type Shared = (typeof shared)[number];

/** A field of the sentence. */
export type Field = Shared | "sequences" | "prefills" | "capacity" | "kill" | "killHop" | "killMode" | "killTurn";

/** A part as typed. */
export interface PartDraft {
  readonly prompt: string;
  readonly reply: string;
}

/** All settings and turns, as typed. */
export interface ConversationDraft {
  readonly fields: Readonly<Record<Field, string>>;
  readonly turns: readonly (readonly PartDraft[])[];
}

/**
 * What a draft reads as: a conversation, or the problems by place. A part's place is `turn-sequence-prompt` or `-reply`,
 * from 0.
 */
export interface Reading {
  readonly conversation?: Conversation;
  readonly problems: ReadonlyMap<string, string>;
}

/** Names of fields in messages. */
export const names: Readonly<Record<Field, string>> = {
  ...(Object.fromEntries(shared.map((field) => [field, labNames[field]])) as Record<Shared, string>),
  sequences: "Sequences",
  prefills: "Prefills",
  capacity: "Cache of a rank",
  kill: "Rank that dies",
  killHop: "Hop at which it dies",
  killMode: "Step in which it dies",
  killTurn: "Turn in which it dies",
};

/** Values of the fields with a list, and their visible text. */
export const choices = {
  sequences: { "1": "one sequence", "2": "two sequences" },
  prefills: { auto: "as Algorithm 5 chooses", "pass-kv": "by pass-KV", "pass-q": "by pass-Q" },
  killMode: { prefill: "prefill", decode: "reply" },
} as const;

/** Turns to start from. */
export const presets: readonly { readonly id: string; readonly title: string; readonly turns: string }[] = [
  { id: "document", title: "Long document, short questions", turns: "1024.4,32.4,24.4,48.4" },
  { id: "chat", title: "Chat", turns: "48.8,32.8,40.8,24.8" },
  { id: "chunks", title: "One prompt in four chunks", turns: "256.0,256.0,256.0,256.8" },
  { id: "batch", title: "Two conversations in one batch", turns: "512.4_96.4,32.4_64.4,0.0_48.8,24.4_24.4" },
];

const MAX_TURNS = 24;
const MAX_REPLY = 1024;
const MAX_TOKENS = 2 ** 20;
/** The most numbers in one tensor of all rows (256 MiB of f32). */
const MAX_ELEMENTS = 2 ** 26;

/** The letter of a sequence on the page. */
export const letter = (sequence: number): string => String.fromCharCode(65 + sequence);

/** The fields of a conversation, as the page writes them. */
export function draftOf(c: Conversation): ConversationDraft {
  const lab = labDraft({ ...labDefaults, ...c });
  const { kill } = c;
  return {
    fields: {
      ...pick(lab),
      sequences: String(c.sequences),
      prefills: c.prefills,
      capacity: formatCount(c.capacity),
      kill: kill === null ? "none" : String(kill.rank),
      killHop: String(kill?.hop ?? 0),
      killMode: kill?.mode ?? "prefill",
      killTurn: String((kill?.turn ?? 1) + 1),
    },
    turns: c.turns.map((turn) =>
      turn.map(({ prompt, reply }) => ({ prompt: formatCount(prompt), reply: formatCount(reply) }))
    ),
  };
}

function pick(lab: LabDraft): Record<Shared, string> {
  return Object.fromEntries(shared.map((field) => [field, lab[field]])) as Record<Shared, string>;
}

/** Reads a draft. Each problem names its place, what was found and what is expected. */
export function read({ fields, turns }: ConversationDraft): Reading {
  const lab = labRead({
    ...labDraft({ ...labDefaults, T: 1, P: 0 }),
    ...Object.fromEntries(shared.map((field) => [field, fields[field]])),
  });
  const problems = new Map<string, string>(lab.problems);
  const wrong = (place: string, name: string, found: string, expected: string) => {
    if (!problems.has(place)) {
      problems.set(place, `${name}: found ${found.trim() === "" ? "nothing" : found}, expected ${expected}.`);
    }
  };
  const whole = (place: string, name: string, text: string, least: number, most: number) => {
    const value = parseCount(text);
    if (!(value >= least && value <= most)) {
      wrong(place, name, text, `a whole number from ${formatCount(least)} to ${formatCount(most)}`);
    }
    return value;
  };
  if (fields.mask === "full") {
    wrong(
      "mask",
      names.mask,
      fields.mask,
      "causal, window or chunk, because a session's later tokens aren't there yet",
    );
  }
  for (const field of ["sequences", "prefills", "killMode"] as const) {
    if (!Object.hasOwn(choices[field], fields[field])) {
      wrong(field, names[field], fields[field], Object.keys(choices[field]).join(" or "));
    }
  }
  const sequences = Number(fields.sequences);
  const capacity = whole("capacity", names.capacity, fields.capacity, 1, MAX_TOKENS);
  if (turns.length < 1 || turns.length > MAX_TURNS) wrong("turns", "Turns", String(turns.length), `1 to ${MAX_TURNS}`);
  const held = new Array<number>(sequences).fill(0);
  const parts = turns.map((turn, t) => {
    const out = turn.map(({ prompt, reply }, s): Part => {
      const name = `Turn ${t + 1}${turn.length > 1 ? `, ${letter(s)}` : ""}`;
      const part = {
        prompt: whole(place(t, s, "prompt"), `${name}, prompt`, prompt, 0, MAX_TOKENS),
        reply: whole(place(t, s, "reply"), `${name}, reply`, reply, 0, MAX_REPLY),
      };
      if (part.reply > 0 && part.prompt + held[s] === 0) {
        wrong(
          place(t, s, "prompt"),
          `${name}, prompt`,
          prompt,
          "at least 1 token for the reply to attend to",
        );
      }
      held[s] += part.prompt + part.reply;
      return part;
    });
    if (out.every(({ prompt, reply }) => prompt + reply === 0)) {
      wrong(place(t, 0, "prompt"), `Turn ${t + 1}`, "no token", "at least one, in the prompt or the reply");
    }
    return out;
  });
  const { experiment } = lab;
  let kill: Kill | null = null;
  if (fields.kill !== "none") {
    const most = experiment?.N ?? 64;
    kill = {
      rank: whole("kill", names.kill, fields.kill, 0, most - 1),
      turn: whole("killTurn", names.killTurn, fields.killTurn, 1, Math.max(1, turns.length)) - 1,
      mode: fields.killMode as Kill["mode"],
      hop: whole("killHop", names.killHop, fields.killHop, 0, Math.max(0, most - 2)),
    };
    if (experiment?.N === 1) {
      wrong("kill", names.kill, fields.kill, "none: one rank has no hop to die at");
    }
    const what = kill.mode === "prefill" ? "prompt" : "reply";
    if (problems.size === 0 && parts[kill.turn].every((part) => part[what] === 0)) {
      wrong("killMode", names.killMode, choices.killMode[kill.mode], `a step of turn ${kill.turn + 1}`);
    }
  }
  if (experiment !== undefined && problems.size === 0) {
    const rows = held.reduce((sum, n) => sum + n, 0);
    const most = Math.floor(MAX_ELEMENTS / (experiment.H * experiment.D));
    if (rows > most) {
      wrong(
        place(0, 0, "prompt"),
        "All turns together",
        `${formatCount(rows)} tokens`,
        `at most ${
          formatCount(most)
        } of ${experiment.H} × ${experiment.D} (a tensor of this page has at most 67,108,864 numbers here)`,
      );
    }
  }
  if (problems.size > 0 || experiment === undefined) return { problems };
  const { seed, H, Hkv, D, N, mask, dealing, wire, link, backend } = experiment;
  return {
    problems,
    conversation: {
      seed,
      H,
      Hkv,
      D,
      N,
      mask,
      dealing,
      wire,
      link,
      backend,
      sequences,
      turns: parts,
      prefills: fields.prefills as Prefills,
      capacity,
      kill,
    },
  };
}

/** The place of a part's field. */
export function place(turn: number, sequence: number, what: "prompt" | "reply"): string {
  return `${turn}-${sequence}-${what}`;
}

/** The drafts of turns as the address writes them. Missing parts are empty; unreadable ones stay in their fields. */
export function turnsOf(text: string): PartDraft[][] {
  const turns = text.split(",").filter((turn) => turn !== "").map((turn) =>
    turn.split("_").map((part) => {
      const [prompt = "0", reply = "0"] = part.split(".");
      return { prompt: tidyCount(prompt), reply: tidyCount(reply) };
    })
  );
  const sequences = Math.max(1, ...turns.map((turn) => turn.length));
  return turns.map((turn) => Array.from({ length: sequences }, (_, s) => turn[s] ?? { prompt: "0", reply: "0" }));
}

/** The draft of an address. Missing fields are as in `otherwise`. */
export function fromQuery(query: string, otherwise: ConversationDraft = draftOf(defaults)): ConversationDraft {
  const given = new URLSearchParams(query);
  const lab = pick(labFromQuery(query));
  const turns = given.has("turns") ? turnsOf(given.get("turns")!) : otherwise.turns;
  const fields = { ...otherwise.fields, ...lab, sequences: String(turns[0]?.length ?? 1) };
  if (given.has("turns")) fields.kill = "none";
  if (given.has("prefills")) fields.prefills = given.get("prefills")!;
  if (given.has("capacity")) fields.capacity = tidyCount(given.get("capacity")!);
  if (given.has("kill")) {
    const [kill = "none", turn = "1", mode = "prefill", hop = "0"] = given.get("kill")!.split(",");
    Object.assign(fields, { kill, killTurn: turn, killMode: mode, killHop: hop });
  }
  return { fields, turns: turns.length > 0 ? turns : otherwise.turns };
}

function tidyCount(text: string): string {
  const count = parseCount(text);
  return Number.isFinite(count) ? formatCount(count) : text;
}

/** A draft with every field as the page writes it. */
export function tidied({ fields, turns }: ConversationDraft): ConversationDraft {
  const texts = Object.entries(fields).map((
    [field, text],
  ) => [
    field,
    (shared as readonly string[]).includes(field)
      ? labTidy(field as LabField, text)
      : field === "capacity"
      ? tidyCount(text.trim())
      : text.trim(),
  ]);
  return {
    fields: Object.fromEntries(texts),
    turns: turns.map((turn) =>
      turn.map(({ prompt, reply }) => ({ prompt: tidyCount(prompt.trim()), reply: tidyCount(reply.trim()) }))
    ),
  };
}
