/** All ranks at a glance: one row per rank, one column per halt. A mark shows whose chunk visits there. */
import { html, nothing, type TemplateResult } from "lit";
import { disc } from "../../lib/elements/disc.ts";
import "../../lib/elements/scroll.ts";
import { type Held, isLocal } from "../../engine/run.ts";
import { standing, waitsFor, type Walk } from "./model.ts";
import type { Stepper } from "./stepper.ts";

/** What visits at a halt before an attention: keys in pass-KV, queries in pass-Q. */
function visits(walk: Walk, rank: number, point: number): Held | undefined {
  const halt = walk.log[rank][point];
  return walk.experiment.variant === "pass-q" ? halt?.queries : halt?.keys;
}

/** Whether nothing visits, because no later rank needs it. */
const nothingVisits = (held: Held | undefined): boolean => held !== undefined && held.runs.length === 0;

/** A cell in words, for screen readers. */
function say(walk: Walk, rank: number, point: number): string {
  const { log, points, experiment } = walk;
  const reached = log[rank].length - 1;
  const held = visits(walk, rank, point);
  const chunk = held === undefined
    ? ""
    : nothingVisits(held)
    ? `, nothing of rank ${held.owner} came`
    : `, ${experiment.variant === "pass-q" ? "queries" : "keys"} of rank ${held.owner}`;
  const where = `rank ${rank}, ${points[point].name}`;
  if (point > reached) return `${where}: not there yet`;
  if (point < reached) return `${where}: passed${chunk}`;
  const how = standing(walk, rank);
  const wait = waitsFor(walk, rank);
  return `${where}: ${
    how === "halted" ? "halted" : how === "end" ? "done" : wait === undefined ? "under way" : `waits for rank ${wait}`
  }${chunk}`;
}

/** The table. Arrow keys move through it. `live`: ranks can continue. */
export function rankTable(stepper: Stepper, walk: Walk, live: boolean): TemplateResult {
  const { rank: chosen, point: at } = stepper.selection;
  const { experiment: { N, variant, mask }, points, log } = walk;
  const cell = (rank: number, point: number) => {
    const reached = log[rank].length - 1;
    const how = point === reached ? standing(walk, rank) : point < reached ? "passed" : "ahead";
    const held = visits(walk, rank, point);
    const picked = rank === chosen && point === at;
    return html`<td><button class="cell ${how} ${live ? "live" : ""}" id="cell-${rank}-${point}" tabindex=${
      picked ? 0 : -1
    } aria-pressed=${picked ? "true" : "false"} aria-label=${say(walk, rank, point)} title=${say(walk, rank, point)}
      @click=${() => stepper.select({ rank, hop: point === reached ? undefined : points[point].id })}>${
      how === "ahead"
        ? html`<i></i>`
        : held === undefined
        ? html`<b>✓</b>`
        : nothingVisits(held)
        ? html`<b>–</b>`
        : disc(held.owner, N)
    }</button></td>`;
  };
  return html`
    <ringside-scroll label="Ranks and hops">
      <table class="ranks" @keydown=${(event: KeyboardEvent) => keys(stepper, walk, live, event)}>
        <caption>Ranks <small>each rank’s halts; the disc shows whose ${variant === "pass-q"
          ? "queries"
          : "keys"} visit${isLocal(mask) ? "; – none, because no later rank needs them" : ""}</small></caption>
        <thead>
          <tr><th scope="col">Rank</th><th scope="col" class="now">Now</th>${points.map(({ name, next, hop }) =>
            html`<th scope="col">${
              next === "attend" && hop > 0 ? html`<span class="unseen">hop </span>${hop}` : name
            }</th>`
          )}</tr>
        </thead>
        <tbody>${log.map((_, rank) =>
          html`<tr><th scope="row">${disc(rank, N)}</th><td class="now">${nowOf(walk, rank, live)}</td>${
            points.map((_, point) => cell(rank, point))
          }</tr>`
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}

/** A rank's state, in a few words. */
function nowOf(walk: Walk, rank: number, live: boolean): string | TemplateResult {
  const how = standing(walk, rank);
  if (how === "end") return "done";
  if (!live) return "ended";
  if (how === "unheard") return "starting";
  if (how === "halted") return "halted";
  const wait = waitsFor(walk, rank);
  return wait === undefined ? "under way" : html`waits for ${disc(wait, walk.experiment.N)}`;
}

function keys(stepper: Stepper, walk: Walk, live: boolean, event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { rank, point } = stepper.selection;
  const { points, log } = walk;
  const moves: Readonly<Record<string, readonly [number, number]>> = {
    ArrowUp: [-1, 0],
    ArrowDown: [1, 0],
    ArrowLeft: [0, -1],
    ArrowRight: [0, 1],
    Home: [0, -point],
    End: [0, points.length - 1 - point],
  };
  const acts: Readonly<Record<string, () => void>> = {
    s: () => stepper.stepAll(),
    r: () => stepper.stepRank(rank),
    h: () => stepper.runTo(point),
    e: () => stepper.runToEnd(),
  };
  const move = moves[event.key];
  if (move !== undefined) {
    const to = {
      rank: Math.max(0, Math.min(log.length - 1, rank + move[0])),
      point: Math.max(0, Math.min(points.length - 1, point + move[1])),
    };
    stepper.select({ rank: to.rank, hop: to.point === log[to.rank].length - 1 ? undefined : points[to.point].id });
    const root = (event.currentTarget as HTMLElement).getRootNode() as ShadowRoot;
    // The cell can have the focus after the next update.
    requestAnimationFrame(() => root.querySelector<HTMLElement>(`#cell-${to.rank}-${to.point}`)?.focus());
  } else if (live && Object.hasOwn(acts, event.key)) acts[event.key]();
  else return;
  event.preventDefault();
}

/** The buttons that let ranks continue. */
export function controls(stepper: Stepper, walk: Walk, live: boolean, webgpu: boolean): TemplateResult {
  const { rank, point } = stepper.selection;
  const halted = walk.log.some((_, k) => standing(walk, k) === "halted");
  const ahead = point > walk.log[rank].length - 1;
  const own = standing(walk, rank) === "halted";
  // A button that can't act now keeps its place for the keyboard.
  const button = (can: boolean, act: () => void, label: string, kind = "") =>
    html`<button class="button ${kind}" aria-disabled=${can ? nothing : "true"} @click=${() =>
      can && act()}>${label}</button>`;
  return html`<div class="controls" role="group" aria-label="Let ranks continue">
    ${button(live && halted, () => stepper.stepAll(), "Step one hop", "primary")}
    ${button(live && own, () => stepper.stepRank(rank), `Step rank ${rank} only`)}
    ${button(live && ahead, () => stepper.runTo(point), `Run to ${ahead ? walk.points[point].name : "chosen hop"}`)}
    ${button(live && halted, () => stepper.runToEnd(), "Run to the end")}
    ${
    !live ? nothing : html`
      <details class="break">
        <summary class="button">Break it</summary>
        <div>
            ${button(own, () => stepper.strike(rank, "exit"), `Kill the worker of rank ${rank}`)}
            ${webgpu
              ? button(own, () => stepper.strike(rank, "lose-device"), `Lose the device of rank ${rank}`)
              : nothing}
          </div>
      </details>
    `
  }
  </div>`;
}
