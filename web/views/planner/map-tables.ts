/** The policy map as tables: the borders of the rules, and Table 4 beside the rules. */
import { html, nothing, type TemplateResult } from "lit";
import type { TABLE_4 } from "../../engine/plan.ts";
import type { Question } from "../../lib/address/plan.ts";
import "../../lib/elements/scroll.ts";
import { formatCount, formatShare, formatTime } from "../../lib/format/format.ts";
import { sayVariant } from "../../lib/format/variant.ts";
import { ruleNames, saysAt } from "./borders.ts";
import { missOf, nearest, winner } from "./map-words.ts";
import type { Grid } from "./requests.ts";

/** Both tables; `rows` of Table 4 if it has the question's layout, or else none. */
export function mapTables(question: Question, grid: Grid, rows: typeof TABLE_4): TemplateResult {
  const rules = Object.values(ruleNames).map((name) => html`<th scope="col">${name}</th>`);
  return html`
    <ringside-scroll label="Borders of the rules">
      <table>
        <caption>Borders <small>each rule chooses pass-KV from this miss rate on</small></caption>
        <thead>
          <tr><th scope="col">New tokens T</th>${rules}<th scope="col">Simulated</th></tr>
        </thead>
        <tbody>
          ${[512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072].map((T) =>
            html`
              <tr>
                <th scope="row">${formatCount(T)}</th>
                ${bordersAt(question, grid, T).map((miss) => html`<td>${miss}</td>`)}
              </tr>
            `
          )}
        </tbody>
      </table>
    </ringside-scroll>
    ${rows.length === 0 ? nothing : html`
      <ringside-scroll label="Table 4 and the rules">
        <table>
          <caption>Table 4 and the rules</caption>
          <thead>
            <tr>
              <th scope="col">T</th>
              <th scope="col">Miss rate</th>
              <th scope="col">pass-KV</th>
              <th scope="col">pass-Q</th>
              <th scope="col">Measured</th>
              ${rules}
            </tr>
          </thead>
          <tbody>
            ${rows.map((row) =>
              html`
                <tr>
                  <th scope="row">${formatCount(row.new)}</th>
                  <td>${formatShare(missOf(row))}</td>
                  <td>${formatTime(row.passKv / 1e3)}</td>
                  <td>${formatTime(row.passQ / 1e3)}</td>
                  <td>${sayVariant(winner(row))}</td>
                  ${saysAt(question, row.new, row.cached).map(({ variant }) =>
                    html`<td>${sayVariant(variant)}${variant === winner(row) ? "" : " ✗"}</td>`
                  )}
                </tr>
              `
            )}
          </tbody>
        </table>
      </ringside-scroll>
      <p class="details">✗ differs from the measurement</p>
    `}
  `;
}

/** For a T, the miss rate from which each rule chooses pass-KV, and above which the simulation always does. */
function bordersAt(question: Question, { tokens, misses, lead }: Grid, T: number): string[] {
  const rules = saysAt(question, T, 0);
  const { missEq1, missEq5, newEq2 } = rules[0].terms;
  const hidden = T >= newEq2;
  const [fitted, refitted] = rules.slice(2).map(({ terms }) => terms.missFitted!);
  const column = nearest(tokens, T);
  const last = misses.findLastIndex((_, r) => lead[r * tokens.length + column] < 0);
  return [
    hidden ? "always" : say(missEq1),
    hidden ? "always" : say(missEq5),
    say(fitted),
    say(refitted),
    last === -1 ? "always" : last === misses.length - 1 ? "never" : say(Math.sqrt(misses[last] * misses[last + 1])),
  ];
}

function say(miss: number): string {
  return miss > 1 ? "never" : miss <= 0 ? "always" : formatShare(Number(miss.toPrecision(3)));
}
