/** Query-key pairs between two blocks, counted in closed form; visibility.ts counts them row by row. */
import { CAUSAL, endSeen, firstSeen, type Mask, sinkTokensOf } from "./mask.ts";
import type { Block, Run } from "./shards.ts";

/** Positions of one sequence. */
type Span = Pick<Run, "start" | "length">;

/**
 * Pairs that the queries of `q` see in `kv` under a mask, by absolute position. Takes O(runs x runs) steps whatever the
 * lengths.
 */
export function pairsBetween(q: Block, kv: Block, mask: Mask = CAUSAL): number {
  let sum = 0;
  for (const a of q.runs) for (const b of kv.runs) if (a.sequence === b.sequence) sum += pairsOfRuns(a, b, mask);
  return sum;
}

/** Pairs of two runs of one sequence. */
export function pairsOfRuns(
  a: Pick<Run, "start" | "length">,
  b: Pick<Run, "start" | "length">,
  mask: Mask = CAUSAL,
): number {
  const near = nearPairs(a, b, mask);
  // A sink token that a query sees anyway counts once.
  const sinks = before(b, sinkTokensOf(mask));
  return sinks.length === 0 ? near : near + upTo(a, sinks, 0) - nearPairs(a, sinks, mask);
}

/** Pairs of two runs of one sequence, without those that only the sink tokens add. */
function nearPairs(a: Span, b: Span, mask: Mask): number {
  switch (mask.kind) {
    case "full":
      return a.length * b.length;
    case "causal":
      return upTo(a, b, 0);
    case "window":
      return upTo(a, b, 0) - upTo(a, b, mask.size);
    case "chunk": {
      const C = mask.size;
      const [from, to] = [Math.max(a.start, b.start), Math.min(a.start + a.length, b.start + b.length)];
      const [first, last] = [Math.floor(from / C), Math.floor((to - 1) / C)];
      // Chunks between the first and the last lie whole in both runs.
      let sum = Math.max(0, last - first - 1) * ((C * (C + 1)) / 2);
      for (const c of first < last ? [first, last] : first === last ? [first] : []) {
        sum += upTo(within(a, c * C, (c + 1) * C), within(b, c * C, (c + 1) * C), 0);
      }
      return sum;
    }
  }
}

/** Rows of `kv` that some query of `q` sees. Takes O(runs x runs) steps. */
export function keysSeen(q: Block, kv: Block, mask: Mask): number {
  let rows = 0;
  for (const key of kv.runs) {
    const seen = q.runs.filter((run) => run.sequence === key.sequence && run.length > 0).flatMap(
      ({ start, length }) => {
        const end = endSeen(mask, start + length - 1);
        // Ranges of adjacent queries overlap or touch, so those of a run make one.
        return [[0, Math.min(sinkTokensOf(mask), end)], [firstSeen(mask, start), end]];
      },
    ).sort(([x], [y]) => x - y);
    let at = key.start;
    for (const [from, to] of seen) {
      const next = Math.min(key.start + key.length, to);
      rows += Math.max(0, next - Math.max(at, from));
      at = Math.max(at, next);
    }
  }
  return rows;
}

/** Sum over positions p of a of the positions of b that are at most p - `back`. */
function upTo(a: Span, b: Span, back: number): number {
  const end = a.start + a.length - back;
  // Queries from the last key on see all of b; those between see a staircase.
  const full = Math.max(0, end - Math.max(a.start - back, b.start + b.length - 1));
  const from = Math.max(a.start - back, b.start);
  const to = Math.min(end, b.start + b.length - 1);
  const steps = Math.max(0, to - from);
  return full * b.length + (steps * (from - b.start + 1 + (to - b.start))) / 2;
}

/** The positions of a run from `from` to before `to`. */
function within({ start, length }: Span, from: number, to: number): Span {
  const first = Math.max(start, from);
  return { start: first, length: Math.max(0, Math.min(start + length, to) - first) };
}

function before(run: Span, end: number): Span {
  return within(run, 0, end);
}
