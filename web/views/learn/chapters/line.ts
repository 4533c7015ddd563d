/** A line of values on a logarithmic scale, with borders and the reader's own place on it. */
import { html, type TemplateResult } from "lit";
import { type LogScale, place } from "../../../lib/elements/plot.ts";

/** A border on the line. */
export interface Border {
  readonly key: string;
  readonly value: number;
  readonly text: string;
}

/**
 * A border, before which the line has the accent colour, and the reader’s place. What lies off the line stands at its
 * end.
 */
export function line(name: string, from: number, to: number, border: Border, you: Border): TemplateResult {
  const scale: LogScale = { from, to, start: 0, end: 100 };
  const at = (value: number) => Math.min(100, Math.max(0, place(scale, Math.max(value, from / 2))));
  const align = (x: number) => (x < 25 ? "start" : x > 75 ? "end" : "");
  const [b, y] = [at(border.value), at(you.value)];
  return html`
    <div
      class="named"><span>${name}</span><div class="line" role="img" aria-label="${name}: ${you.text}; ${border.text}.">
        <div class="axis"><b style="width:${b}%"></b></div>
        <i class="at" data-v=${border.key} style="left:${b}%"></i><span class="under ${align(
          b,
        )}" style="left:${b}%" data-v=${border.key}>${border.text}</span>
        <i class="at you" data-v=${you.key} style="left:${y}%"></i><span class=${align(
          y,
        )} style="left:${y}%" data-v=${you.key}>${you.text}</span>
      </div></div>
  `;
}
