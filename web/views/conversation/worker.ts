/** A worker for the long arithmetic of a conversation: makes the seeded rows of a turn, and compares what came of them with float64. */
import type { Check } from "../../check.ts";
import { loadEngine } from "../../engine.ts";
import { toleranceOf } from "../../tolerance.ts";
import { firstRow, type Request, type Response, type TurnOutput, type TurnRows } from "./ask.ts";

const reply = (message: Response, transfer: Transferable[] = []) => postMessage(message, { transfer });

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    const { seededRows, reference, difference } = await loadEngine();
    const { seed, H, Hkv, D, wire } = data.source;
    if (data.kind === "rows") {
      const rows = data.rows.map(({ sequence, from, rows: n }): TurnRows => {
        const of = (tensor: "q" | "k" | "v", heads: number) => seededRows(seed, tensor, firstRow(sequence) + from, n, heads * D);
        return { sequence, from, rows: n, q: of("q", H), k: of("k", Hkv), v: of("v", Hkv) };
      });
      reply({ kind: "rows", rows }, rows.flatMap(({ q, k, v }) => [q.buffer, k.buffer, v.buffer]));
      return;
    }
    const tolerance = toleranceOf(wire);
    const chosen = data.outputs.map(({ rows }) => evenly(rows, data.share));
    const total = chosen.reduce((sum, rows) => sum + rows.length, 0);
    const [out, lse] = [{ max: 0, squares: 0 }, { max: 0 }];
    let pass = true;
    let done = 0;
    const check = (output: TurnOutput, rows: readonly number[]) => {
      // Attention is causal: row t of one full prefill sees rows 0..t alone, so the rows that came later change nothing of it.
      const keys = output.from + output.rows;
      const k = seededRows(seed, "k", firstRow(output.sequence), keys, Hkv * D);
      const v = seededRows(seed, "v", firstRow(output.sequence), keys, Hkv * D);
      const q = seededRows(seed, "q", firstRow(output.sequence) + output.from, output.rows, H * D);
      const input = { q, k, v, sequences: [{ new: output.rows, cached: output.from }], heads: H, kvHeads: Hkv, headDim: D, causal: true };
      for (let at = 0; at < rows.length; at += 16) {
        reply({ kind: "progress", done, total });
        const some = rows.slice(at, at + 16);
        const exact = reference(input, some);
        const o = difference(gather(output.out, some, H * D), exact.out, tolerance);
        const l = difference(gather(output.lse, some, H), exact.lse, tolerance);
        out.max = Math.max(out.max, o.max);
        out.squares += o.rms ** 2 * exact.out.length;
        lse.max = Math.max(lse.max, l.max);
        pass &&= o.within && l.within;
        done += some.length;
      }
    };
    data.outputs.forEach((output, i) => check(output, chosen[i]));
    const answer: Check = { out: { max: out.max, rms: Math.sqrt(out.squares / Math.max(1, total * H * D)) }, lse, tolerance, pass, rows: total, of: data.outputs.reduce((sum, { rows }) => sum + rows, 0) };
    reply({ kind: "checked", check: answer });
  } catch (error) {
    reply({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
});

/** A share of `of` rows at even distances, the first and the last among them. */
function evenly(of: number, share: number): number[] {
  const rows = Math.min(of, Math.max(2, Math.floor(of * share)));
  return Array.from({ length: rows }, (_, i) => (rows === of ? i : Math.round((i * (of - 1)) / (rows - 1))));
}

/** The named rows of a row-major tensor, one after the other. */
function gather(from: Float32Array, rows: readonly number[], columns: number): Float32Array {
  const to = new Float32Array(rows.length * columns);
  rows.forEach((row, i) => to.set(from.subarray(row * columns, (row + 1) * columns), i * columns));
  return to;
}
