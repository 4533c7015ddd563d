/** The playback's controls: play, pause, steps, a slider and the speed. */
import { html, LitElement, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import { follow } from "../elements/follow.ts";
import { shared } from "../elements/style.ts";
import { formatTime } from "../format/format.ts";
import { timeKinds } from "../format/kinds.ts";
import { doingAt, type Motion } from "./motion.ts";
import { type Player, speeds } from "./player.ts";
import type { Selection } from "./selection.ts";
import { transportStyle } from "./style.ts";

/** Positions of the slider. */
const FINE = 1000;

/** `<ringside-transport .player .selection .motion>`: fires "step" with 1 or -1, and "moved" after any other move. */
export class RingsideTransport extends LitElement {
  static override properties = {
    player: { attribute: false },
    selection: { attribute: false },
    motion: { attribute: false },
  };

  declare player: Player;
  declare selection: Selection;
  /** The run whose hops are named. */
  declare motion: Motion;

  constructor() {
    super();
    follow(this, () => this.player, ["change"]);
    follow(this, () => this.selection, ["time"]);
  }

  #scrub(event: Event): void {
    const { player } = this;
    player.seek(player.from + (Number((event.target as HTMLInputElement).value) / FINE) * (player.end - player.from));
    this.dispatchEvent(new CustomEvent("moved"));
  }

  #step(way: 1 | -1): void {
    this.dispatchEvent(new CustomEvent("step", { detail: way }));
  }

  protected override render(): TemplateResult {
    const { player } = this;
    const { time, from, end, moment } = player;
    const share = end > from ? (time - from) / (end - from) : 0;
    const where = moment?.name ?? sayHops(this.motion, time);
    return html`
      <div class="buttons" role="group" aria-label="Play the run">
        <button class="button square" aria-label="Step back" title="Step back to the previous hop (←)"
          aria-disabled=${String(!player.goes(-1))}
          @click=${() => this.#step(-1)}>${icon("M15 5l-8 7 8 7zM6 5v14")}</button>
        <button class="button square" aria-label=${player.playing ? "Pause" : "Play"} title="${player.playing
          ? "Pause"
          : "Play"} (space)"
          @click=${() => {
            player.toggle();
            this.dispatchEvent(new CustomEvent("moved"));
          }}>${icon(player.playing ? "M8 5v14M16 5v14" : "M8 5l10 7-10 7z")}</button>
        <button class="button square" aria-label="Step forward" title="Step to the next hop (→)" aria-disabled=${String(
          !player.goes(1),
        )}
          @click=${() => this.#step(1)}>${icon("M9 5l8 7-8 7zM18 5v14")}</button>
      </div>
      <label
        class="slider"><span class="unseen">Moment of the run</span><span class="stops" aria-hidden="true">${player
          .moments.map(({ at }) =>
            html`<i style="left:${end > from ? (100 * (at - from)) / (end - from) : 0}%"></i>`
          )}</span>
              <input type="range" min="0" max=${FINE} step="1" .value=${live(
                String(Math.round(share * FINE)),
              )} aria-valuetext="${formatTime(time)}, ${where}" @input=${this.#scrub} /></label>
      <p class="time"><b>${formatTime(time)}</b> <span>${where}</span></p>
      <label class="speed"><span class="unseen">Speed</span><select aria-label="Speed" .value=${live(
        String(player.speed),
      )} @change=${(event: Event) => (player.speed = Number((event.target as HTMLSelectElement).value))}>
              ${speeds.map((speed) =>
                html`<option value=${speed} ?selected=${speed === player.speed}>${speed} ×</option>`
              )}</select></label>
    `;
  }

  static override styles = [shared, transportStyle];
}

/** The hops of all ranks: "hop 2", "hops 1–2", or what else they do. */
export function sayHops(motion: Motion, time: number): string {
  const doing = doingAt(motion, time);
  const hops = doing.flatMap(({ hop }) => (hop === undefined ? [] : [hop]));
  if (hops.length > 0) {
    const [least, most] = [Math.min(...hops), Math.max(...hops)];
    return least === most ? `hop ${least}` : `hops ${least}–${most}`;
  }
  if (doing.some(({ kind }) => kind === "merge")) return "merge";
  if (doing.some(({ kind }) => kind === "all2all")) return "All2All";
  return doing.some(({ kind }) => kind !== "idle" && timeKinds[kind].leans !== undefined)
    ? "all wait"
    : time >= motion.end
    ? "end"
    : "between hops";
}

const icon = (path: string): TemplateResult =>
  html`
    <svg viewBox="0 0 24 24" width="16" height="16" aria-hidden="true">
      <path d=${path} />
    </svg>
  `;

customElements.define("ringside-transport", RingsideTransport);
