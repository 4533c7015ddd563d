/**
 * The worker for long arithmetic: makes seeded inputs or reads the visitor's files, and compares a result with float64
 * attention.
 */
import type { Inputs, Request, Response } from "./check.ts";
import { loadEngine } from "../../engine/run.ts";
import { exactHops } from "./exact.ts";
import { type Experiment, OFF_GRID } from "./experiment.ts";
import { judge } from "./judge.ts";
import { type OwnFiles, sayFiles, shapeFields } from "../own/data.ts";
import { readOwn } from "../own/tensors.ts";
import { rowsToCheck } from "./rows.ts";

const reply = (message: Response, transfer: Transferable[] = []) => postMessage(message, { transfer });

addEventListener("message", async ({ data }: MessageEvent<Request>) => {
  try {
    const { reference, checkAsync, sayUnderflow, toBytes, fromBytes, readNpy, readSafetensors, InputError } =
      await loadEngine();
    if (data.kind === "read") {
      const { facts } = await readOwn(data.files, { readNpy, readSafetensors, InputError });
      reply({ kind: "read", facts });
      return;
    }
    const { T, P, H, Hkv, D, Dv, mask, variant, wire } = data.experiment;
    const { q, k, v, sinks } = await inputsOf(data.experiment, data.files);
    if (data.kind === "inputs") {
      const stored = variant === "pass-q" ? { q } : { k, v };
      // Seeded values never underflow.
      const said = () => Object.entries(stored).flatMap(([name, values]) => sayUnderflow(name, values, wire, D) ?? []);
      const underflows = data.files === undefined ? [] : said();
      reply({ kind: "inputs", inputs: { q, k, v, sinks }, underflows }, [q.buffer, k.buffer, v.buffer]);
      return;
    }
    const input = {
      q,
      k,
      v,
      sinks,
      sequences: [{ new: T, cached: P }],
      heads: H,
      kvHeads: Hkv,
      headDim: D,
      valueDim: Dv,
      mask,
    };
    if (data.kind === "partials") {
      reply({
        kind: "partials",
        hops: exactHops({ ...input, variant, wire }, data.row, data.hops, { reference, toBytes, fromBytes }),
      });
      return;
    }
    const progress = (done: number, total: number) => reply({ kind: "progress", done, total });
    const judged = { ...input, variant, wireDtype: wire, ranks: data.experiment.N, products: data.products };
    const check = await judge(checkAsync, judged, data, rowsToCheck(data.experiment), progress);
    reply({ kind: "checked", check });
  } catch (error) {
    reply({
      kind: "failed",
      name: error instanceof Error ? error.name : "Error",
      message: error instanceof Error ? error.message : String(error),
    });
  }
});

/** Q, K and V of an experiment. Files are read each time, so that the page holds no tensors between runs. */
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
  const [found, asked] = [{ ...facts.shape, Dv: facts.valueDim }, experiment];
  const other = ([...shapeFields, "Dv"] as const).filter((field) => found[field] !== asked[field]).map((field) =>
    `${field} = ${found[field] ?? found.D}, expected ${field} = ${asked[field] ?? asked.D}`
  );
  if (other.length > 0) {
    throw new InputError(
      `${sayFiles(files)}: found ${other.join("; ")}, as when you chose the files; choose them again`,
    );
  }
  return inputs;
}
