/** What a mask lets a query see, in words. */
import { isLocal, type Mask, sinkTokensOf } from "../../engine/run.ts";
import { formatCount } from "./format.ts";

/** "A query at position p sees p−255 to p": where a window begins is what people get wrong. */
export function saySeen(mask: Mask): string {
  if (!isLocal(mask)) return `A query at position p sees ${mask.kind === "full" ? "every key" : "0 to p"}`;
  const sinks = sinkTokensOf(mask);
  const near = mask.kind === "chunk"
    ? `${formatCount(mask.size)} ⌊p / ${formatCount(mask.size)}⌋ to p`
    : mask.size === 1
    ? "itself alone"
    : `p−${formatCount(mask.size - 1)} to p`;
  return `A query at position p sees ${near}${
    sinks === 0 ? "" : sinks === 1 ? ", and position 0" : `, and up to p the positions 0 to ${formatCount(sinks - 1)}`
  }`;
}
