/** What a run's mask, sinks and dealing were, and what the mask saved, as lines for people. */
import type { Report } from "../cluster/types.ts";
import { isLocal, type Mask, sinkTokensOf } from "../layout/mask.ts";
import { countText } from "../policy/units.ts";

/** What a query sees, in words. */
export function maskText(mask: Mask): string {
  if (!isLocal(mask)) {
    return mask.kind === "full" ? "full: a query sees its whole sequence" : "causal: a query at position p sees 0 to p";
  }
  const size = countText(mask.size);
  const near = mask.kind === "chunk"
    ? `chunks of ${size}: a query at position p sees its chunk up to p`
    : `window of ${size}: a query at position p sees ${
      mask.size === 1 ? "only p" : `p-${countText(mask.size - 1)} to p`
    }`;
  const sinks = sinkTokensOf(mask);
  return sinks === 0 ? near : `${near}, and ${sinks === 1 ? "position 0" : `positions 0 to ${countText(sinks - 1)}`}`;
}

/** Lines about the mask, sinks and dealing of a run, or of all steps of a session. None for what is as in the paper. */
export function maskLines(reports: readonly Report[]): string[] {
  const { mask, sinks, dealing } = reports[0];
  return [
    ...(mask.kind === "causal" ? [] : [`mask:    ${maskText(mask)}`]),
    ...(sinks ? ["sinks:   one logit for each head; LSE includes the sinks"] : []),
    ...(dealing === "head-tail" ? [] : [`dealing: ${dealing}`]),
    ...(isLocal(mask) ? [`skipped: ${skippedText(reports)}`] : []),
  ];
}

/** What the mask made needless, of what the ring would do without it. */
function skippedText(reports: readonly Report[]): string {
  const sum = (of: (report: Report) => number) => reports.reduce((all, report) => all + of(report), 0);
  const sent = (of: "messages" | "bytesSent") => sum(({ perRank }) => perRank.reduce((all, rank) => all + rank[of], 0));
  const [hops, messages, bytes] = (["hops", "messages", "bytes"] as const).map((of) => sum((r) => r.skipped[of]));
  const all = sent("bytesSent") + bytes;
  return `${countText(hops)} of ${countText(sum(({ ranks }) => ranks ** 2))} hops, ${countText(messages)} of ${
    countText(sent("messages") + messages)
  } messages and ${countText(bytes)} of ${countText(all)} bytes${
    all === 0 ? "" : ` (${(100 * bytes / all).toFixed(1)} %)`
  }: no query needs them`;
}
