/** A worker of the page for the long arithmetic: makes the seeded inputs or reads the visitor's, and compares a result with float64 attention. */
import type { Check, Inputs, Request, Response } from "./check.ts";
import { loadEngine } from "./engine.ts";
import { exactHops } from "./exact.ts";
import { type Experiment, OFF_GRID } from "./experiment.ts";
import { type OwnFiles, sayFiles, shapeFields } from "./own/data.ts";
import { readOwn } from "./own/tensors.ts";
import { rowsToCheck } from "./rows.ts";
import { toleranceOf } from "./tolerance.ts";

const reply = (message: Response, transfer: Transferable[] = []) => postMessage(message, { transfer });

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    const { reference, difference, encode, decode, readNpy, readSafetensors, InputError } = await loadEngine();
    if (data.kind === "read") {
      const { facts } = await readOwn(data.files, { readNpy, readSafetensors, InputError });
      reply({ kind: "read", facts });
      return;
    }
    const { T, P, H, Hkv, D, causal, variant, wire } = data.experiment;
    const { q, k, v } = await inputsOf(data.experiment, data.files);
    if (data.kind === "inputs") {
      reply({ kind: "inputs", inputs: { q, k, v } }, [q.buffer, k.buffer, v.buffer]);
      return;
    }
    const input = { q, k, v, sequences: [{ new: T, cached: P }], heads: H, kvHeads: Hkv, headDim: D, causal };
    if (data.kind === "partials") {
      reply({ kind: "partials", hops: exactHops({ ...input, variant, wire }, data.row, data.hops, { reference, encode, decode }) });
      return;
    }
    let tolerance = toleranceOf(wire);
    let lseTolerance = tolerance;
    const rows = rowsToCheck(data.experiment);
    const group = Math.max(1, Math.min(16, Math.ceil(rows.length / 50)));
    const groups = Array.from({ length: Math.ceil(rows.length / group) }, (_, i) => rows.slice(i * group, (i + 1) * group));
    // Own numbers are rounded on a 16-bit wire, where seeded ones are exact unless multiplied: the engine's own bar is twice what one such pass costs, plus 1e-3 (reference/check.ts).
    const rounds = (data.files !== undefined || data.experiment.offGrid === true) && wire !== "f32";
    const progress = (group: number) => reply({ kind: "progress", done: groups.slice(0, group).reduce((sum, some) => sum + some.length, 0), total: rows.length });
    const exacts: ReturnType<typeof reference>[] = [];
    if (rounds) {
      const rounded = (x: Float32Array) => decode(encode(x, wire), wire);
      const sent = variant === "pass-q" ? { ...input, q: rounded(q) } : { ...input, k: rounded(k), v: rounded(v) };
      const cost = { out: 0, lse: 0 };
      groups.forEach((some, i) => {
        progress(i);
        const once = reference(sent, some);
        const exact = (exacts[i] = reference(input, some));
        cost.out = Math.max(cost.out, difference(once.out, exact.out).max);
        cost.lse = Math.max(cost.lse, difference(once.lse, exact.lse).max);
      });
      tolerance = { absolute: 2 * cost.out + tolerance.absolute, relative: 0 };
      lseTolerance = { absolute: 2 * cost.lse + lseTolerance.absolute, relative: 0 };
    }
    const out = { max: 0, squares: 0 };
    const lse = { max: 0 };
    let pass = true;
    groups.forEach((some, i) => {
      if (!rounds) progress(i);
      const exact = exacts[i] ?? reference(input, some);
      const o = difference(gather(data.out, some, H * D), exact.out, tolerance);
      const l = difference(gather(data.lse, some, H), exact.lse, lseTolerance);
      out.max = Math.max(out.max, o.max);
      out.squares += o.rms ** 2 * exact.out.length;
      lse.max = Math.max(lse.max, l.max);
      pass &&= o.within && l.within;
    });
    const check: Check = {
      out: { max: out.max, rms: Math.sqrt(out.squares / (rows.length * H * D)) },
      lse,
      tolerance, ...(rounds ? { lseTolerance } : {}), pass, rows: rows.length, of: T,
    };
    reply({ kind: "checked", check });
  } catch (error) {
    reply({ kind: "failed", name: error instanceof Error ? error.name : "Error", message: error instanceof Error ? error.message : String(error) });
  }
});

/** Q, K and V of an experiment; files are read anew each time, so that the page holds no tensors between runs. */
async function inputsOf(experiment: Experiment, files: OwnFiles | undefined): Promise<Inputs> {
  const { seededRows, readNpy, readSafetensors, InputError } = await loadEngine();
  const { seed, T, P, H, Hkv, D } = experiment;
  if (files === undefined) {
    const rows = (tensor: "q" | "k" | "v", count: number, columns: number) => {
      const values = seededRows(seed, tensor, 0, count, columns);
      return experiment.offGrid ? values.map((x) => x * OFF_GRID) : values;
    };
    return { q: rows("q", T, H * D), k: rows("k", T + P, Hkv * D), v: rows("v", T + P, Hkv * D) };
  }
  const { facts, ...inputs } = await readOwn(files, { readNpy, readSafetensors, InputError });
  const other = shapeFields.filter((field) => facts.shape[field] !== experiment[field]).map((field) => `${field} = ${facts.shape[field]}, expected ${field} = ${experiment[field]}`);
  if (other.length > 0) throw new InputError(`${sayFiles(files)}: found ${other.join("; ")} as when they were chosen; choose them again`);
  return inputs;
}

/** The named rows of a row-major tensor, one after the other. */
function gather(from: Float32Array, rows: readonly number[], columns: number): Float32Array {
  const to = new Float32Array(rows.length * columns);
  rows.forEach((row, i) => to.set(from.subarray(row * columns, (row + 1) * columns), i * columns));
  return to;
}
