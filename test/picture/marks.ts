/** The marks of a kind of time in the picture, as the page has them: its colour, or its hatching if a rank waits. */
import { hatched, type TimeKind, timeKinds } from "../../web/lib/format/kinds.ts";

/** The hatchings of the kinds that wait. */
export function hatchings(): string {
  return hatched.map((kind) =>
    `<pattern id="hatch-${kind}" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(${
      timeKinds[kind].leans
    })"><rect width="1.6" height="4" fill="var(${timeKinds[kind].colour})"/></pattern>`
  ).join("");
}

/** The colour of a kind of time, or its hatching. */
export const fillOf = (kind: TimeKind) =>
  timeKinds[kind].leans === undefined ? `var(${timeKinds[kind].colour})` : `url(#hatch-${kind})`;
