/** Links from a chapter to its experiment, in the views that run it. */
import { defaults, type Experiment, toQuery } from "../../lib/experiment/experiment.ts";
import { formatCount, formatRate } from "../../lib/format/format.ts";
import { defaults as talk, toQuery as talkQuery, type Turn } from "../../lib/address/conversation.ts";
import { defaults as question, type Question, toQuery as planQuery } from "../../lib/address/plan.ts";
import type { Onward } from "./chapter.ts";
import { plural } from "./say.ts";

/** Opens an experiment in the Lab. What `part` omits is as in a fresh Lab, but with f32 on the wire and no link model. */
export function inLab(part: Partial<Experiment>, why: string): Onward {
  const e: Experiment = { ...defaults, wire: "f32", link: null, ...part };
  const link = e.link === null || e.N === 1 ? "" : `, ${formatRate(e.link.bandwidth)} links`;
  return {
    href: `?${toQuery(e)}#lab`,
    label: "Open this in the Lab",
    words: `${plural(e.N, "rank")}, ${formatCount(e.T)} new and ${
      formatCount(e.P)
    } cached tokens, ${e.H}/${e.Hkv} heads of ${e.D}${
      e.N === 1 ? "" : `, ${e.variant === "pass-kv" ? "pass-KV" : "pass-Q"}`
    }${link}. ${why}`,
  };
}

/** Opens a step in the Planner. */
export function inPlanner(part: Partial<Question>, why: string): Onward {
  return { href: `?${planQuery({ ...question, ...part })}#planner`, label: "Open this in the Planner", words: why };
}

/** Opens turns in the Conversation view. */
export function inConversation(N: number, turns: readonly Turn[], why: string): Onward {
  return {
    href: `?${talkQuery({ ...talk, N, turns, link: null, wire: "f32" })}#conversation`,
    label: "Open this in Conversation",
    words: why,
  };
}
