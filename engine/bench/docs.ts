/**
 * Writes the figures of docs/speed.md from the results that ship: `node dist/engine/bench/docs.js`, or `deno run -A engine/bench/docs.ts`.
 * A block of that page between `<!-- figures: NAME -->` and `<!-- end -->` shows engine/bench/results/NAME.json; a test holds the two together.
 */
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { BenchDocument } from "./document.ts";
import { projectRoot } from "./peers.ts";
import { allFigures, circumstances, type Figures } from "./tables.ts";

const BLOCK = /^<!-- figures: ([\w-]+) -->\n[\s\S]*?^<!-- end -->$/gm;

/** The page, and the names of the results that it shows. */
export async function readSpeedPage(): Promise<{ readonly file: string; readonly text: string; readonly shown: readonly string[] }> {
  const file = path.join(projectRoot(), "docs", "speed.md");
  const text = await readFile(file, "utf8");
  return { file, text, shown: [...text.matchAll(BLOCK)].map(([, name]) => name) };
}

/** The page's text with every block made anew from its results. */
export async function withFigures(text: string): Promise<string> {
  const blocks = new Map<string, string>();
  for (const [, name] of text.matchAll(BLOCK)) {
    const file = path.join(projectRoot(), "engine", "bench", "results", `${name}.json`);
    blocks.set(name, markdown(JSON.parse(await readFile(file, "utf8")) as BenchDocument));
  }
  return text.replace(BLOCK, (_, name: string) => `<!-- figures: ${name} -->\n\n${blocks.get(name)}\n\n<!-- end -->`);
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

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { file, text } = await readSpeedPage();
  await writeFile(file, await withFigures(text));
}
