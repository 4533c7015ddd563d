/** What the planner gives away as files: plans as JSON and CSV, charts as SVG. */
import type { Plan } from "../../../engine/plan/index.ts";
import type { Planned } from "./requests.ts";
import type { Question } from "./state.ts";

/** A table as CSV, quoted where it must be. */
export function csv(rows: readonly (readonly (string | number | boolean)[])[]): string {
  const cell = (value: string | number | boolean) => (/[",\n]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  return `${rows.map((row) => row.map(cell).join(",")).join("\n")}\n`;
}

/** The plan as the engine gives it, with the question, both variants and the address that reproduces it. */
export function planJson(question: Question, { plan, both }: Planned, address: string): string {
  return JSON.stringify({ address, question, ...plan, variants: Object.fromEntries(both.map((one) => [one.variant, one.plan])) }, null, 2);
}

/** The plan and both variants as columns: one row a figure, units in the names. */
export function planCsv({ plan, both }: Planned): string {
  const columns: readonly Plan[] = [plan, ...both.map((one) => one.plan)];
  const row = (name: string, of: (p: Plan) => string | number | boolean) => [name, ...columns.map(of)];
  return csv([
    ["figure", "plan", ...both.map((one) => one.variant)],
    ...(["model", "cluster", "mode", "cp", "tp", "gpus", "hosts", "new", "cached", "batch", "missRate", "variant", "seconds"] as const).map((key) => row(key, (p) => p[key])),
    ...(["gemm", "attention", "exposed", "all2all", "allreduce", "launch"] as const).map((key) => row(`${key} (s)`, (p) => p.breakdown[key])),
    ...(["capacity", "weights", "kv", "activations", "ring", "reserve", "total"] as const).map((key) => row(`memory ${key} (B a GPU)`, (p) => p.memory[key])),
    row("fits", (p) => p.memory.fits), row("room for KV (tokens)", (p) => p.memory.kvCapacityTokens),
    row("FLOP/s a GPU", (p) => p.flopsPerGpu), row("share of the bf16 peak", (p) => p.utilization), row("parallel efficiency", (p) => p.parallelEfficiency),
  ]);
}

const kept = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-opacity", "stroke-dasharray", "stroke-linejoin", "stroke-linecap", "paint-order", "font-size", "font-weight", "text-anchor", "opacity"] as const;

/** A chart as a file of its own: what the page's styles say is written into each element, on the page's ground, with a caption below. */
export function svgText(chart: SVGSVGElement, title: string, caption: readonly string[]): string {
  const copy = chart.cloneNode(true) as SVGSVGElement;
  const from = [chart, ...chart.querySelectorAll<SVGElement>("*")];
  const to = [copy, ...copy.querySelectorAll<SVGElement>("*")];
  from.forEach((element, i) => {
    const style = getComputedStyle(element);
    for (const name of kept) to[i].style.setProperty(name, style.getPropertyValue(name));
    for (const name of ["class", "tabindex", "role", "aria-hidden"]) to[i].removeAttribute(name);
  });
  from.forEach((element, i) => element.matches(".hit, .focus") && to[i].remove());
  const { width, height } = chart.getBoundingClientRect();
  const page = getComputedStyle(document.documentElement);
  copy.setAttribute("xmlns", "http://www.w3.org/2000/svg");
  copy.setAttribute("viewBox", `0 0 ${width} ${height + 32}`);
  copy.setAttribute("height", String(height + 32));
  copy.setAttribute("font-family", page.fontFamily);
  copy.insertAdjacentHTML("afterbegin", `<title></title><rect width="100%" height="100%"></rect>`);
  copy.querySelector("title")!.textContent = title;
  caption.forEach((line, i) => {
    copy.insertAdjacentHTML("beforeend", `<text x="8" y="${height + 8 + 16 * i}" font-size="11" fill="${getComputedStyle(chart.querySelector("text")!).fill}"></text>`);
    copy.lastElementChild!.textContent = line;
  });
  copy.querySelector("rect")!.setAttribute("fill", page.backgroundColor);
  return new XMLSerializer().serializeToString(copy).replaceAll(/<!--.*?-->/g, "");
}
