/** The merge inspector: one token and head from hop to hop, beside float64, and the error from the wire's type. */
import { html, nothing, type TemplateResult } from "lit";
import { disc } from "../../lib/elements/disc.ts";
import { formatCount, formatError, formatShare } from "../../lib/format/format.ts";
import { mergeFigure } from "./figure.ts";
import { type MergeHop, mergeStory, sayF32, sayF64, type Walk } from "./model.ts";
import { DIMS } from "./rank.ts";
import type { Stepper } from "./stepper.ts";

/** The inspector. `offGrid` multiplies the inputs and runs. */
export function mergeInspector(stepper: Stepper, walk: Walk, offGrid: () => void): TemplateResult {
  const { experiment } = walk;
  const { token, head, dim } = stepper.selection;
  const { hops: exact, problem } = stepper.exact;
  const story = mergeStory(walk, token, head, exact);
  const { T, H, D, Dv = D, P, N } = experiment;
  const number = (label: string, value: number, most: number, set: (value: number) => void) =>
    html`<label>${label} <input type="number" min="0" max=${most} .value=${
      String(value)
    } aria-label="${label}, 0 to ${most}"
    @change=${({ target }: Event & { target: HTMLInputElement }) => {
      const within = Math.max(0, Math.min(most, Math.floor(Number(target.value)) || 0));
      // Reports of ranks don't disturb the typing: the field is read when it is complete.
      target.value = String(within);
      set(within);
    }} /></label>`;
  return html`<section class="merge" aria-labelledby="merge">
    <div class="bar-top"><h2 id="merge" class="title">Merge inspector</h2>
      <div class="choose" role="group" aria-label="What to look at">
        ${number("Token", token, T - 1, (value) => stepper.select({ token: value }))}
        ${number("Head", head, H - 1, (value) => stepper.select({ head: value }))}
        ${number("Dimension", dim, Dv - DIMS, (value) => stepper.select({ dim: value }))}
      </div>
    </div>
    ${
    story === undefined ? html`<p class="quiet">It fills once every rank has halted.</p>` : html`
      <p class="quiet">Token ${formatCount(token)} is at position ${formatCount(
        P + token,
      )}; its query lives on rank ${disc(story.home, N)}. ${exact === undefined
        ? (problem === undefined ? "Float64 is under way." : "")
        : nothing}</p>
      ${stepper.page.state.own?.facts.sinks === undefined
        ? nothing
        : html`<p class="quiet">Your sinks are merged once, after the last hop: these partial results are without them.</p>`}
      ${problem === undefined ? nothing : html`<p class="stale" role="alert">Float64 failed: ${problem}</p>`}
      ${walk.watch !== undefined && !walk.watch.includes(token)
        ? html`
          <p class="stale">
            This run reported only the partial results of token ${formatCount(walk.watch[0])}.
            Run again to follow token ${formatCount(token)}.
          </p>
        `
        : nothing}
      ${mergeFigure(story, N, dim)}
      ${convergence(walk, story, dim)}
      ${wire(walk, story.hops, offGrid, stepper.page.running)}
    `
  }
  </section>`;
}

const dash = "–";

/** LSE, weight and O after each hop, at the run's end, and in float64. */
function convergence(
  { experiment }: Walk,
  { hops, final, exact }: NonNullable<ReturnType<typeof mergeStory>>,
  dim: number,
): TemplateResult {
  const passQ = experiment.variant === "pass-q";
  const dims = Array.from({ length: DIMS }, (_, i) => dim + i);
  // In pass-Q the page merges in float64: show as many digits as f32 has.
  const say = passQ ? (x: number) => sayF32(Math.fround(x)) : sayF32;
  return html`
    <ringside-scroll label="After each hop">
      <table class="story">
        <caption>After each hop <small>${passQ
          ? "the ranks’ partials, merged so far by Eq. 4"
          : "the running partial on the token’s rank"}; weight: share of the final sum of exponentials</small></caption>
        <thead>
          <tr><th scope="col">Hop</th><th scope="col">Keys of</th><th scope="col">Seen</th><th scope="col">Weight</th>${passQ
            ? html`<th scope="col">LSE of hop</th>`
            : nothing}<th scope="col">LSE</th>${dims.map((d) =>
              html`<th scope="col">O[${d}]</th>`
            )}<th scope="col">‖O − O₆₄‖</th></tr>
        </thead>
        <tbody>
          ${hops.map(({ hop, owner, seen, partial, soFar, weight, away }) =>
            html`<tr class=${soFar === undefined ? "later" : ""}><th scope="row">${hop}</th><td>${
              disc(owner, experiment.N)
            }</td><td>${formatCount(seen)}</td>
        <td>${weight === undefined ? dash : formatShare(Math.round(1e4 * Math.max(0, weight)) / 1e4)}</td>${
              passQ ? html`<td>${partial === undefined ? dash : sayF32(partial.lse)}</td>` : nothing
            }<td>${soFar === undefined ? dash : say(soFar.lse)}</td>${
              dims.map((d) => html`<td>${soFar === undefined ? dash : say(soFar.out[d])}</td>`)
            }<td>${away === undefined ? dash : formatError(away)}</td></tr>`
          )}
          ${!passQ || experiment.N === 1 ? nothing : html`
            <tr
              class="sum ${final === undefined
                ? "later"
                : ""}"><th scope="row" colspan="4">Merged on its rank</th><td></td><td>${final === undefined
                ? dash
                : sayF32(final.lse)}</td>${dims.map((d) =>
                  html`<td>${final === undefined ? dash : sayF32(final.out[d])}</td>`
                )}<td>${final === undefined || exact === undefined
                ? dash
                : formatError(Math.hypot(...Array.from(final.out, (x, d) => x - exact.out[d])))}</td></tr>
          `}
          <tr class="sum"><th scope="row" colspan="4">float64, all keys</th>${passQ
            ? html`<td></td>`
            : nothing}<td>${exact === undefined ? dash : sayF64(exact.lse)}</td>${dims.map((d) =>
              html`<td>${exact === undefined ? dash : sayF64(exact.out[d])}</td>`
            )}<td></td></tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

/** Each hop's partial against float64 over the same keys, and the part of its error that the wire's rounding adds. */
function wire(
  { experiment: { wire: type, variant, offGrid: multiplied, N } }: Walk,
  hops: readonly MergeHop[],
  offGrid: () => void,
  running: boolean,
): TemplateResult {
  const known = hops.filter(({ error }) => error !== undefined);
  const travels = variant === "pass-q" ? "Q" : "K and V";
  const rounds = known.some(({ error }) => error!.wire.out > 0 || error!.wire.lse > 0);
  return html`
    <ringside-scroll label="What the wire costs">
      <table class="wire">
        <caption>
          What the wire costs
          <small>largest error of each hop’s partial against float64 over the same keys; ${travels} in ${type}</small>
        </caption>
        <thead>
          <tr>
            <td></td>
            <td></td>
            <th scope="colgroup" colspan="3">Error of O</th>
            <th scope="colgroup" colspan="3">Error of LSE</th>
          </tr>
          <tr><th scope="col">Hop</th><th scope="col">Keys of</th>${["O", "LSE"].map((of) =>
            html`
              <th scope="col"><span class="unseen">${of}: </span>in all</th>
              <th scope="col"><span class="unseen">${of}: </span>the wire</th>
              <th scope="col"><span class="unseen">${of}: </span>the rest</th>
            `
          )}</tr>
        </thead>
        <tbody>${hops.map(({ hop, owner, error }) =>
          html`<tr class=${error === undefined ? "later" : ""}><th scope="row">${hop}</th><td>${disc(owner, N)}</td>
      ${
            (["out", "lse"] as const).map((part) =>
              (["all", "wire", "rest"] as const).map((which) =>
                html`<td>${error === undefined ? dash : formatError(error[which][part])}</td>`
              )
            )
          }</tr>`
        )}</tbody>
      </table>
    </ringside-scroll>
    <p class="quiet">
        The wire’s part compares float64 of ${travels} rounded to ${type} with float64 of the true values.
        The rest comes from f32 arithmetic.
        ${type === "f32"
          ? "f32 rounds nothing. Choose f16 or bf16 in the sentence to see their error."
          : rounds || multiplied
          ? nothing
          : known.length > 0
          ? html`
            These values are whole 32nds, exact in ${type}: this wire added no error. <button class="button small"
              ?disabled=${running} @click=${offGrid}>Multiply them by 1.1 and run</button>
          `
          : nothing}</p>
  `;
}
