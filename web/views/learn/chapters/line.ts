/** A line of values on a logarithmic scale, with a border and the reader's own place on it. */
import { html, type TemplateResult } from "lit";
import { type LogScale, place } from "../../../lib/elements/plot.ts";

/** A place on the line; hovering it lights up its `key`. */
export interface Place {
  readonly key: string;
  readonly value: number;
  readonly text: string;
}

/**
 * The line has the accent colour before `border`; `you` is the reader’s place. A value beyond an end is drawn at that
 * end.
 */
export function line(name: string, from: number, to: number, border: Place, you: Place): TemplateResult {
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
