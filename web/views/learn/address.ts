/** The state of Learn in the page's address: `learn=ring`, and `ring.ranks=4` for each control that was moved. */
import { type AnyState, type Chapter, settled } from "./chapter.ts";

/** The open chapter, and the states of all chapters. */
export interface Place {
  readonly chapter: number;
  readonly states: readonly AnyState[];
}

/** The place that an address names. What the address omits has its initial value; a wrong value becomes a valid one. */
export function readPlace(query: string, chapters: readonly Chapter[]): Place {
  const given = new URLSearchParams(query);
  const states = chapters.map(({ id, controls }) => {
    const wanted: Record<string, number | string> = {};
    for (const [name, { initial }] of Object.entries(controls)) {
      const text = given.get(`${id}.${name}`);
      if (text !== null) wanted[name] = typeof initial === "number" ? Number(text) : text;
    }
    return settled(controls, wanted);
  });
  return { chapter: Math.max(0, chapters.findIndex(({ id }) => id === given.get("learn"))), states };
}

/** The query for a place. It keeps what other views wrote into `before`. */
export function writePlace(place: Place, chapters: readonly Chapter[], before = ""): string {
  const query = new URLSearchParams(before);
  query.set("learn", chapters[place.chapter].id);
  chapters.forEach(({ id, controls }, i) => {
    for (const [name, { initial }] of Object.entries(controls)) {
      const value = place.states[i][name];
      if (value === initial) query.delete(`${id}.${name}`);
      else query.set(`${id}.${name}`, String(value));
    }
  });
  return query.toString().replaceAll("%2C", ",");
}
