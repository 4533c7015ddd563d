/** A worker of the page for the long arithmetic: makes the seeded inputs, and compares a result with float64 attention. */
import type { Check, Request, Response } from "./check.ts";
import { loadEngine } from "./engine.ts";
import { rowsToCheck } from "./rows.ts";
import { toleranceOf } from "./tolerance.ts";

const reply = (message: Response, transfer: Transferable[] = []) => postMessage(message, { transfer });

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    const { seededRows, reference, difference } = await loadEngine();
    const { seed, T, P, H, Hkv, D, causal, wire } = data.experiment;
    const q = seededRows(seed, "q", 0, T, H * D);
    const k = seededRows(seed, "k", 0, T + P, Hkv * D);
    const v = seededRows(seed, "v", 0, T + P, Hkv * D);
    if (data.kind === "inputs") {
      reply({ kind: "inputs", inputs: { q, k, v } }, [q.buffer, k.buffer, v.buffer]);
      return;
    }
    const input = { q, k, v, sequences: [{ new: T, cached: P }], heads: H, kvHeads: Hkv, headDim: D, causal };
    const tolerance = toleranceOf(wire);
    const rows = rowsToCheck(data.experiment);
    const group = Math.max(1, Math.min(16, Math.ceil(rows.length / 50)));
    const out = { max: 0, squares: 0 };
    const lse = { max: 0 };
    let pass = true;
    for (let at = 0; at < rows.length; at += group) {
      reply({ kind: "progress", done: at, total: rows.length });
      const some = rows.slice(at, at + group);
      const exact = reference(input, some);
      const o = difference(gather(data.out, some, H * D), exact.out, tolerance);
      const l = difference(gather(data.lse, some, H), exact.lse, tolerance);
      out.max = Math.max(out.max, o.max);
      out.squares += o.rms ** 2 * exact.out.length;
      lse.max = Math.max(lse.max, l.max);
      pass &&= o.within && l.within;
    }
    const check: Check = {
      out: { max: out.max, rms: Math.sqrt(out.squares / (rows.length * H * D)) },
      lse,
      tolerance, pass, rows: rows.length, of: T,
    };
    reply({ kind: "checked", check });
  } catch (error) {
    reply({ kind: "failed", message: error instanceof Error ? error.message : String(error) });
  }
});

/** The named rows of a row-major tensor, one after the other. */
function gather(from: Float32Array, rows: readonly number[], columns: number): Float32Array {
  const to = new Float32Array(rows.length * columns);
  rows.forEach((row, i) => to.set(from.subarray(row * columns, (row + 1) * columns), i * columns));
  return to;
}
