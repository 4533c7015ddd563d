/** The worker for a conversation's long arithmetic: makes the seeded rows of a turn, and compares results with float64. */
import { type CheckInput, loadEngine } from "../../engine/run.ts";
import { judge } from "../../lib/experiment/judge.ts";
import { firstRow, type Request, type Response, type TurnRows } from "./ask.ts";

const reply = (message: Response, transfer: Transferable[] = []) => postMessage(message, { transfer });

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    const { seededRows, checkAsync } = await loadEngine();
    const { seed, N, H, Hkv, D, mask, wire } = data.source;
    if (data.kind === "rows") {
      const rows = data.rows.map(({ sequence, from, rows: n }): TurnRows => {
        const of = (tensor: "q" | "k" | "v", heads: number) =>
          seededRows(seed, tensor, firstRow(sequence) + from, n, heads * D);
        return { sequence, from, rows: n, q: of("q", H), k: of("k", Hkv), v: of("v", Hkv) };
      });
      reply({ kind: "rows", rows }, rows.flatMap(({ q, k, v }) => [q.buffer, k.buffer, v.buffer]));
      return;
    }
    // No query sees a later key: row t of one full prefill sees rows 0..t alone, so later rows don't change it.
    // One sequence per batch entry.
    const { outputs } = data;
    const rowsOf = (tensor: "q" | "k" | "v", heads: number) =>
      joined(outputs.map(({ sequence, from, rows: n }) => {
        const first = firstRow(sequence);
        return tensor === "q"
          ? seededRows(seed, tensor, first + from, n, heads * D)
          : seededRows(seed, tensor, first, from + n, heads * D);
      }));
    const input: CheckInput = {
      q: rowsOf("q", H),
      k: rowsOf("k", Hkv),
      v: rowsOf("v", Hkv),
      sequences: outputs.map(({ from, rows }) => ({ new: rows, cached: from })),
      // A session caches rounded keys and values, and sends queries in some steps.
      heads: H,
      kvHeads: Hkv,
      headDim: D,
      mask,
      variant: "auto",
      wireDtype: wire,
      ranks: N,
      products: data.products,
    };
    let before = 0;
    const rows = outputs.flatMap(({ rows: n }) => {
      const first = before;
      before += n;
      return evenly(n, data.share).map((row) => first + row);
    });
    const result = { out: joined(outputs.map(({ out }) => out)), lse: joined(outputs.map(({ lse }) => lse)) };
    reply({
      kind: "checked",
      check: await judge(checkAsync, input, result, rows, (done, total) => reply({ kind: "progress", done, total })),
    });
  } catch (error) {
    reply({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
});

/** A share of `of` rows, evenly spaced, with the first and the last. */
function evenly(of: number, share: number): number[] {
  const rows = Math.min(of, Math.max(2, Math.floor(of * share)));
  return Array.from({ length: rows }, (_, i) => (rows === of ? i : Math.round((i * (of - 1)) / (rows - 1))));
}

/** All parts, one after the other. */
function joined(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
