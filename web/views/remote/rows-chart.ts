/** The rows that the page has recomputed so far: their places in the sequence, and their errors against float64. */
import { html, nothing, svg, type TemplateResult } from "lit";
import "../../lib/elements/scroll.ts";
import { formatCount, formatError } from "../../lib/format/format.ts";
import { decades, type Verification, worstOf } from "./verification.ts";

const height = 128;
const width = 560;
const left = 44;
const right = 12;
const top = 10;
const bottom = 22;
const x = (token: number, tokens: number) => left + ((width - left - right) * (token + 0.5)) / tokens;

/** Dots over the sequence on a logarithmic scale of error; a line shows the bound. `name` distinguishes two charts. */
export function rowsChart(name: string, { rows, of }: Verification, tokens: number): TemplateResult {
  const worst = worstOf(rows);
  const said = rows.length === 0
    ? `None of ${of} rows verified yet`
    : `${rows.length} of ${of} rows verified; worst: error of O ${formatError(worst!.out)} at token ${
      formatCount(worst!.token)
    }, head ${worst!.head}`;
  const allowed = worst?.allowed;
  const [floor, ceiling] = decades(worst);
  const y = (error: number) => {
    const power = Math.min(ceiling, Math.max(floor, error > 0 ? Math.log10(error) : floor));
    return top + ((height - top - bottom) * (ceiling - power)) / (ceiling - floor);
  };
  const powers = [0, 1, 2, 3, 4, 5].map((down) => ceiling - down);
  return html`
    <figure aria-label="Verified rows of ${name}: ${said}">
      <svg viewBox="0 0 ${width} ${height}" role="img" aria-label=${said}>
          ${powers.map((power) =>
            svg`
              <line class="grid" x1=${left} x2=${width - right} y1=${y(10 ** power)} y2=${y(10 ** power)} />
              <text class="tick" x=${left - 6} y=${y(10 ** power) + 4} text-anchor="end">${power === floor
                ? "≤"
                : ""}${power === 0 ? "1" : `1e${power}`}</text>
            `
          )}
          ${allowed === undefined ? nothing : svg`
            <line class="bar-line" x1=${left} x2=${width - right} y1=${y(allowed)} y2=${y(allowed)} />
            <text class="bar-name" x=${width - right} y=${y(allowed) -
              4} text-anchor="end">allowed in the worst row ${formatError(allowed)}</text>
          `}
          ${rows.map((row) =>
            svg`
              <circle class=${row.pass ? "row" : "row off"} cx=${x(row.token, tokens)} cy=${y(
                row.out,
              )} r=${row === worst ? 4 : 3}>
                <title>token ${row.token}, head ${row.head}: O ${formatError(row.out)}, LSE ${formatError(
                  row.lse,
                )}</title>
              </circle>
            `
          )}
          ${worst === undefined
            ? nothing
            : svg`<circle class="worst" cx=${x(worst.token, tokens)} cy=${y(worst.out)} r="7" />`}
          <text class="tick" x=${left} y=${height - 6}>token 0</text><text class="tick" x=${width - right} y=${height -
            6} text-anchor="end">${formatCount(tokens - 1)}</text>
        </svg>
      <details>
        <summary>The same as a table: ${rows.length} ${rows.length === 1 ? "row" : "rows"}</summary>
        <ringside-scroll label="Verified rows of ${name}">
          <table>
            <caption class="unseen">Verified rows of ${name}</caption>
            <thead>
              <tr>
                <th scope="col">Token</th>
                <th scope="col">Head</th>
                <th scope="col">Keys</th>
                <th scope="col">Error of O</th>
                <th scope="col">Allowed</th>
                <th scope="col">Error of LSE</th>
                <th scope="col">Within</th>
              </tr>
            </thead>
            <tbody>${[...rows].sort((a, b) => b.out - a.out).map((row) =>
              html`
                <tr>
                  <th scope="row">${formatCount(row.token)}</th>
                  <td>${row.head}</td>
                  <td>${formatCount(row.keys)}</td>
                  <td>${formatError(row.out)}</td>
                  <td>${formatError(row.allowed)}</td>
                  <td>${formatError(row.lse)}</td>
                  <td>${row.pass ? "yes" : html`<b class="wrong">no</b>`}</td>
                </tr>
              `
            )}</tbody>
          </table>
        </ringside-scroll>
      </details>
    </figure>
  `;
}
