/**
 * Writes the figures of docs/figures-*.md from the results that ship: `node dist/engine/bench/docs.js`, or `deno run -A
 * engine/bench/docs.ts`. A block between `<!-- figures: NAME -->` and `<!-- end -->` shows
 * engine/bench/results/NAME.json. A block of `timings: NAME` shows engine/bench/timings/NAME.json. A test holds pages
 * and results together.
 */
import { realpathSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { KernelName } from "../gpu/kernels.ts";
import type { BenchDocument } from "./document.ts";
import type { KernelCheck } from "./grid.ts";
import type { KernelFigures } from "./measure-kernels.ts";
import { projectRoot } from "./peers.ts";
import { allFigures, circumstances, type Figures } from "./tables.ts";

const BLOCK = /^<!-- figures: ([\w-]+) -->\n[\s\S]*?^<!-- end -->$/gm;
const TIMINGS = /^<!-- timings: ([\w-]+) -->\n[\s\S]*?^<!-- end -->$/gm;

/** A file of engine/bench/timings: kernels timed one by one on a GPU. Seconds, FLOP/s, bytes/s. */
interface Timings {
  readonly what: string;
  readonly date: string;
  readonly gpu: string;
  readonly driver: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly clock: string;
  readonly notes: readonly string[];
  readonly ceilings: {
    readonly f32FlopsPerSecond: number;
    readonly f16FlopsPerSecond: number;
    readonly matrixFlopsPerSecond: number;
    readonly copyBytesPerSecond: number;
  };
  /** All passed. */
  readonly checks: readonly Pick<KernelCheck, "kernel" | "kv" | "cases" | "worst">[];
  readonly times: readonly {
    readonly kernel: KernelName;
    readonly form: string;
    readonly shape: KernelFigures["shape"];
    readonly seconds: number;
    readonly flops: number;
    readonly bytes: number;
  }[];
}

/** A page of figures: its file, its text, and the names of the results and of the timings that it shows. */
export interface FiguresPage {
  readonly file: string;
  readonly text: string;
  readonly results: readonly string[];
  readonly timings: readonly string[];
}

/** The pages docs/figures-*.md. */
export async function readFiguresPages(): Promise<FiguresPage[]> {
  const folder = path.join(projectRoot(), "docs");
  const names = (await readdir(folder)).filter((name) => /^figures-[\w-]+\.md$/.test(name)).sort();
  return await Promise.all(names.map(async (name) => {
    const file = path.join(folder, name);
    const text = await readFile(file, "utf8");
    const shown = (block: RegExp) => [...text.matchAll(block)].map(([, of]) => of);
    return { file, text, results: shown(BLOCK), timings: shown(TIMINGS) };
  }));
}

/** A page's text with every block made anew from its results. */
export async function withFigures(text: string): Promise<string> {
  const blocks = new Map<string, string>();
  for (const [, name] of text.matchAll(BLOCK)) {
    const file = path.join(projectRoot(), "engine", "bench", "results", `${name}.json`);
    blocks.set(name, markdown(JSON.parse(await readFile(file, "utf8")) as BenchDocument));
  }
  const timings = new Map<string, string>();
  for (const [, name] of text.matchAll(TIMINGS)) timings.set(name, timingsMarkdown(await readTimings(name)));
  return text
    .replace(BLOCK, (_, name: string) => `<!-- figures: ${name} -->\n\n${blocks.get(name)}\n\n<!-- end -->`)
    .replace(TIMINGS, (_, name: string) => `<!-- timings: ${name} -->\n\n${timings.get(name)}\n\n<!-- end -->`);
}

/** engine/bench/timings/NAME.json. */
async function readTimings(name: string): Promise<Timings> {
  return JSON.parse(
    await readFile(path.join(projectRoot(), "engine", "bench", "timings", `${name}.json`), "utf8"),
  ) as Timings;
}

/** Kernels timed one by one, in Markdown. */
function timingsMarkdown(
  { what, date, gpu, driver, versions, clock, notes, ceilings, checks, times }: Timings,
): string {
  const share = (a: number, b: number) => `${((100 * a) / b).toFixed(1)} %`;
  const facts = [
    `${gpu}, driver ${driver}; ${Object.entries(versions).map((v) => v.join(" ")).join(", ")}; ${date}: ${what}`,
    `clock: ${clock}`,
    `ceilings: f32 ${(ceilings.f32FlopsPerSecond / 1e12).toFixed(1)}, f16 ${
      (ceilings.f16FlopsPerSecond / 1e12).toFixed(1)
    }, matrix products ${(ceilings.matrixFlopsPerSecond / 1e12).toFixed(0)} TFLOP/s; copy by a kernel ${
      (ceilings.copyBytesPerSecond / 1e12).toFixed(2)
    } TB/s`,
    ...notes,
  ];
  const timed: Figures = {
    title: "Times",
    header: ["kernel", "form", "mask", "T", "P", "H/Hkv, D", "K, V", "ms", "TFLOP/s", "GB/s", "of its ceiling"],
    rows: times.map((
      { kernel, form, shape: { mask, tokens, cached, heads, kvHeads, headDim, dtype }, seconds, flops, bytes },
    ) => [
      kernel,
      form,
      mask,
      String(tokens),
      String(cached),
      `${heads}/${kvHeads}, ${headDim}`,
      dtype,
      (seconds * 1e3).toPrecision(3),
      (flops / seconds / 1e12).toPrecision(3),
      (bytes / seconds / 1e9).toFixed(0),
      mask === "decode" ? `${share(bytes / seconds, ceilings.copyBytesPerSecond)} of the copy` : `${
        share(
          flops / seconds,
          kernel === "attend-matrix" ? ceilings.matrixFlopsPerSecond : ceilings.f32FlopsPerSecond,
        )
      } of ${kernel === "attend-matrix" ? "matrix products" : "f32"}`,
    ]),
  };
  const checked: Figures = {
    title: "Checks",
    header: ["kernel", "K, V", "cases", "largest error of O"],
    rows: checks.map((c) => [c.kernel, c.kv, String(c.cases), c.worst.out.toExponential(1)]),
  };
  return [
    facts.map((line) => `- ${line}`).join("\n"),
    tableOf(timed),
    `**${checked.title}**, all passed`,
    tableOf(checked),
  ].join("\n\n");
}

/** One run in Markdown. */
export function markdown(document: BenchDocument): string {
  const facts = circumstances(document).map((line) => `- ${line}`).join("\n");
  return [facts, ...allFigures(document).map((figures) => `**${figures.title}**\n\n${tableOf(figures)}`)].join("\n\n");
}

function tableOf({ header, rows }: Figures): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll("*", "\\*")).join(" | ")} |`;
  return [line(header), `|${header.map(() => "---|").join("")}`, ...rows.map(line)].join("\n");
}

if (realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  for (const { file, text } of await readFiguresPages()) await writeFile(file, await withFigures(text));
}
