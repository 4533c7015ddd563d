/** Rows of a seeded attention on threads beside the caller's. */
import { seenBy } from "../attention.ts";
import type { VerifyPlatform } from "./platform.ts";
import type { Answer, Request } from "./thread.ts";
import type { IndexedRows, Row, SeededBatch, Sink, VerifyInput } from "./types.ts";

/** Most threads by default. */
const MOST_THREADS = 4;

/**
 * Computes the rows, those of one KV head on one thread as they share its keys. Each thread ends with its work, or at
 * the signal. Errors: Error if a thread breaks; the signal's reason.
 */
export async function onThreads(
  platform: VerifyPlatform,
  { seed, sequences, heads, kvHeads, headDim, causal, mask, valueDim, v, sinks, scale, threads, rows: { length } }:
    VerifyInput,
  rows: IndexedRows,
  sink: Sink,
  signal: AbortSignal | undefined,
): Promise<void> {
  const batch = { seed, sequences, heads, kvHeads, headDim, causal, mask, valueDim, v, sinks, scale };
  const count = Math.max(1, Math.min(threads ?? Math.min(MOST_THREADS, platform.processors), length));
  const ends: (() => void)[] = [];
  try {
    await Promise.all(
      shares(batch, rows, count).map((share) =>
        new Promise<void>((resolve, reject) => {
          const thread = platform.startThread();
          const abort = () => reject(signal!.reason);
          signal?.addEventListener("abort", abort, { once: true });
          ends.push(() => {
            signal?.removeEventListener("abort", abort);
            thread.terminate();
          });
          thread.onDeath((how) => reject(new Error(`verification: a thread broke: ${how}`)));
          thread.onMessage((message) => {
            const answer = message as Answer;
            if (answer.kind === "failed") return reject(new Error(`verification: ${answer.message}`));
            if (answer.kind === "done") return resolve();
            sink.pairs(answer.pairs);
            answer.rows.forEach(sink.row);
          });
          thread.post({ batch, rows: share } satisfies Request);
        })
      ),
    );
  } finally {
    for (const end of ends) end();
  }
}

/** Rows by thread: sorted by KV head, and cut so that each part has its share of the keys. */
function shares(batch: SeededBatch, rows: IndexedRows, count: number): IndexedRows[] {
  const group = batch.heads / batch.kvHeads;
  const costs = new Map(rows.map(([index, [token]]) => [index, seenBy(batch, token).keys]));
  const all = [...costs.values()].reduce((sum, n) => sum + n, 0);
  const sorted = rows.toSorted(([, a], [, b]) => Math.floor(a[1] / group) - Math.floor(b[1] / group) || a[0] - b[0]);
  const parts: (readonly [number, Row])[][] = Array.from({ length: count }, () => []);
  let before = 0;
  for (const row of sorted) {
    const cost = costs.get(row[0])!;
    parts[Math.min(count - 1, Math.floor(((before + cost / 2) / all) * count))].push(row);
    before += cost;
  }
  return parts.filter((part) => part.length > 0);
}
