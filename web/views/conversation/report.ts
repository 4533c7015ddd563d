/** The view's files: the report of every step, and all spans as one trace. */
import type { Span } from "../../engine/run.ts";
import { overall, type TalkState } from "./talk.ts";
import type { Conversation } from "../../lib/address/conversation.ts";

/** The conversation, every step's report, incidents, checks, and the address that reproduces them. */
export function reportJson({ conversation, backend, entries, checks }: TalkState, address: string): string {
  const steps = entries.flatMap((
    entry,
  ) => (entry.kind === "step" ? [{ turn: entry.step.turn, ...entry.report, capacity: entry.capacity }] : []));
  const incidents = entries.flatMap((
    entry,
  ) => (entry.kind === "step" ? [] : [{ ...entry, step: undefined, turn: entry.step.turn, mode: entry.step.mode }]));
  return JSON.stringify(
    {
      address,
      conversation,
      backend,
      steps,
      incidents,
      checks: [...checks].map(([turn, check]) => ({ turn, ...check })),
      check: overall(checks) ?? null,
    },
    null,
    2,
  );
}

/** The spans of all steps, one after the other. */
export function allSpans({ entries }: TalkState): Span[] {
  let at = 0;
  return entries.flatMap((entry) => {
    if (entry.kind !== "step") return [];
    const begin = at;
    at += entry.report.times.total;
    return entry.report.spans.map((span) => ({ ...span, start: span.start + begin }));
  });
}

/** Title of the trace. */
export function traceTitle({ N, H, Hkv, D, turns }: Conversation): string {
  return `Ringside conversation of ${turns.length} turns, N=${N}, H=${H}/${Hkv}, D=${D}`;
}
