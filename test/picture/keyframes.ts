/** CSS animations of one run played again and again: every change at its own moment, all on one clock. */

/** Seconds in which a run is played, and for which its end is held. */
const PLAY = 12, HOLD = 3;

/** A property's value from a moment on, in seconds of the run. */
export type Frame = readonly [at: number, value: string];

/** Collects the animations of a picture. `still` is the moment that is shown where nothing may move. */
export class Keyframes {
  readonly #from: number;
  readonly #end: number;
  readonly #still: number;
  readonly #names = new Map<string, string>();

  constructor(from: number, end: number, still: number) {
    this.#from = from;
    this.#end = end;
    this.#still = still;
  }

  /** An element's attributes: `property` has each frame's value from its moment on. */
  steps(property: string, frames: readonly Frame[]): string {
    return this.#attributes("step", property, frames, this.#at(frames));
  }

  /** An element's attributes, visible from one moment to another; without `to`, to the end. */
  shown(from: number, to?: number): string {
    const frames: Frame[] = [[from, "1"]];
    if (from > this.#from) frames.unshift([this.#from, "0"]);
    if (to !== undefined) frames.push([to, "0"]);
    return this.steps("opacity", frames);
  }

  /** An element's attributes: `property` goes evenly from each frame's value to the next one's. */
  moves(property: string, frames: readonly Frame[], still: (at: number) => string): string {
    return this.#attributes("move", property, frames, still(this.#still));
  }

  /** The style sheet. */
  css(): string {
    const still = ((this.#still - this.#from) / (this.#end - this.#from)) * PLAY;
    return [
      `.step,.move{animation:${PLAY + HOLD}s linear infinite}`,
      `.step{animation-timing-function:step-end}`,
      `@media (prefers-reduced-motion:reduce){.step,.move{animation-play-state:paused;animation-delay:-${
        still.toFixed(2)
      }s}}`,
      ...[...this.#names].map(([body, name]) => `@keyframes ${name}{${body}}`),
    ].join("\n");
  }

  /** The value of stepped frames at the still moment. */
  #at(frames: readonly Frame[]): string {
    return (frames.findLast(([at]) => at <= this.#still) ?? frames[0])[1];
  }

  #attributes(kind: "step" | "move", property: string, frames: readonly Frame[], still: string): string {
    const all: Frame[] = [[this.#from, frames[0][1]], ...frames];
    const body = [...all.map(([at, value]) => [this.#share(at), value]), ["100", all[all.length - 1][1]]]
      .map(([share, value]) => `${share}%{${property}:${value}}`).join("");
    if (!this.#names.has(body)) this.#names.set(body, `k${this.#names.size}`);
    // What has no CSS shows the still moment.
    const fixed = property === "transform" ? still.replaceAll(/px|deg/g, "") : still;
    return `class="${kind}" style="animation-name:${this.#names.get(body)}" ${property}="${fixed}"`;
  }

  /** Percent of the animation that are over at a moment of the run. */
  #share(at: number): string {
    const share = (at - this.#from) / (this.#end - this.#from);
    return String(Number(((100 * PLAY * Math.min(1, Math.max(0, share))) / (PLAY + HOLD)).toFixed(2)));
  }
}
