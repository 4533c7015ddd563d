/** The marks of a kind of time: its swatch in legends and tables, its fill and hatching in pictures. */
import { html, svg, type SVGTemplateResult, type TemplateResult } from "lit";
import { hatched, type TimeKind, timeKinds } from "../format/kinds.ts";

/** Class and colour of a swatch, for elements that set their own size. */
export function swatchOf(kind: TimeKind): { readonly names: string; readonly style: string } {
  const { colour, leans } = timeKinds[kind];
  if (leans === undefined) return { names: "swatch", style: `--of:var(${colour})` };
  // A gradient's angle points across its stripes.
  return { names: "swatch hatched", style: `--of:var(${colour});--across:${leans - 90}deg` };
}

/** A small square of the kind's colour, hatched if a device waits in that time. */
export function swatch(kind: TimeKind): TemplateResult {
  const { names, style } = swatchOf(kind);
  return html`<span class=${names} style=${style}></span>`;
}

/** The fill of a shape of this kind, in a picture that has `hatchings`. */
export function fillOf(kind: TimeKind): string {
  const { colour, leans } = timeKinds[kind];
  return leans !== undefined ? `fill:url(#hatch-${kind});stroke:var(${colour});stroke-width:1` : `fill:var(${colour})`;
}

/** The hatchings of all kinds of waiting, for a picture's `defs`. */
export function hatchings(): SVGTemplateResult[] {
  return hatched.map((kind) =>
    svg`
      <pattern id="hatch-${kind}" width="4" height="4" patternUnits="userSpaceOnUse"
        patternTransform="rotate(${timeKinds[kind].leans!})">
        <rect width="1.6" height="4" style="fill:var(${timeKinds[kind].colour})" />
      </pattern>
    `
  );
}
