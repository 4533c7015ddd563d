/** What is pointed at or chosen, and the moment shown. Stage, mask, links and timeline highlight the same thing by it. */
import { ownerAt, type Span } from "../../engine/run.ts";

/** What a thing on the page is about. Parts that don't apply are absent. */
export interface Subject {
  readonly rank?: number;
  /** Ring step; N is the All2All after the last. */
  readonly hop?: number;
  /** The rank that first owned the chunk, or the queries that a partial result answers. */
  readonly owner?: number;
  /** The rank that sends over a link of the ring. */
  readonly link?: number;
}

const parts = ["rank", "hop", "owner", "link"] as const;

/** True if two things are about the same: they share parts, and agree in all of them. */
export function touches(a: Subject | undefined, b: Subject): boolean {
  if (a === undefined) return false;
  const shared = parts.filter((part) => a[part] !== undefined && b[part] !== undefined);
  return shared.length > 0 && shared.every((part) => a[part] === b[part]);
}

/** What a span of a run on N ranks is about. */
export function subjectOf(
  { rank, kind, lane, hop, peer }: Pick<Span, "rank" | "kind" | "lane" | "hop" | "peer">,
  ranks: number,
): Subject {
  if (kind === "attend") return { rank, hop, owner: peer };
  if (kind === "send") return { rank, hop, owner: ownerAt(rank, hop, ranks), link: rank };
  if (kind === "receive" && peer !== undefined) return { rank, hop, owner: ownerAt(peer, hop, ranks), link: peer };
  if (kind === "all2all") return { rank, hop: ranks, owner: lane === "send" ? peer : rank };
  return { rank, hop };
}

/** Fires "pick" when the highlighted thing changes, "time" when the moment does. */
export class Selection extends EventTarget {
  #hovered: Subject | undefined;
  #chosen: Subject | undefined;
  #time: number | undefined;

  /** What to highlight: what is pointed at, or else what was chosen. */
  get subject(): Subject | undefined {
    return this.#hovered ?? this.#chosen;
  }

  /** What stays highlighted when the pointer leaves. */
  get chosen(): Subject | undefined {
    return this.#chosen;
  }

  /** Seconds since the run began, or undefined if there is nothing to show. */
  get time(): number | undefined {
    return this.#time;
  }

  lights(subject: Subject): boolean {
    return touches(this.subject, subject);
  }

  /** Points at a thing; undefined when the pointer leaves. */
  point(subject: Subject | undefined): void {
    if (alike(subject, this.#hovered)) return;
    this.#hovered = subject;
    this.dispatchEvent(new Event("pick"));
  }

  /** Chooses a thing, or releases it if it was chosen before. */
  choose(subject: Subject | undefined): void {
    this.#chosen = alike(subject, this.#chosen) ? undefined : subject;
    this.dispatchEvent(new Event("pick"));
  }

  /** Goes to a moment. */
  seek(time: number | undefined): void {
    if (time === this.#time) return;
    this.#time = time;
    this.dispatchEvent(new Event("time"));
  }

  /** Forgets everything, for another run. */
  clear(): void {
    this.point(undefined);
    if (this.#chosen !== undefined) this.choose(undefined);
    this.seek(undefined);
  }
}

function alike(a: Subject | undefined, b: Subject | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && parts.every((part) => a[part] === b[part]));
}
