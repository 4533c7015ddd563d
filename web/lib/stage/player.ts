/** Plays a run: moves the selection's moment from the run's start to its end, slowed down by a known factor. */
import { formatCount } from "../format/format.ts";
import { type Moment, type Motion, watchSeconds } from "./motion.ts";
import type { Selection } from "./selection.ts";

/** Speeds to choose from. At 1 the playback lasts `watchSeconds`. */
export const speeds = [0.25, 0.5, 1, 2, 4] as const;

/** Seconds at each stop if the visitor wants no motion. */
const STILL = 1.2;

/** Fires "change" when it starts, stops or changes speed. All `motions` play on one clock. */
export class Player extends EventTarget {
  readonly #selection: Selection;
  readonly #still: () => boolean;
  #motions: readonly Motion[] = [];
  #frame = 0;
  #last = 0;
  #speed = 1;

  /** `still`: whether the visitor wants no motion. The playback then jumps from stop to stop. */
  constructor(selection: Selection, still: () => boolean) {
    super();
    this.#selection = selection;
    this.#still = still;
  }

  /** Takes the runs that are shown. The stops are the hops of the first. */
  take(motions: readonly Motion[]): void {
    this.#motions = motions;
  }

  /** The moment at which the ring began, in seconds of the run. */
  get from(): number {
    return Math.min(...this.#motions.map(({ from }) => from));
  }

  /** The moment at which the ring ended, in seconds of the run. */
  get end(): number {
    return Math.max(...this.#motions.map(({ end }) => end));
  }

  get time(): number {
    return this.#selection.time ?? this.from;
  }

  get playing(): boolean {
    return this.#frame !== 0;
  }

  get speed(): number {
    return this.#speed;
  }

  set speed(speed: number) {
    this.#speed = speed;
    this.#changed();
  }

  /** Seconds of playback per second of the run. */
  get slowness(): number {
    return watchSeconds(this.#motions[0].ranks) / Math.max(1e-9, this.end - this.from) / this.#speed;
  }

  /** The playback beside the real run: "54 times slower". */
  get pace(): string {
    const { slowness } = this;
    const say = (value: number) => formatCount(Number(value.toPrecision(2)));
    return slowness >= 1
      ? `${slowness < 10 ? Number(slowness.toPrecision(2)) : say(slowness)} times slower`
      : `${Number((1 / slowness).toPrecision(2))} times faster`;
  }

  /** Stops in order: those of the first run, and the end of the last. */
  get moments(): readonly Moment[] {
    const [first] = this.#motions;
    return first.moments.map((
      moment,
    ) => (moment.name === "start"
      ? { ...moment, at: this.from }
      : moment.name === "end"
      ? { ...moment, at: this.end }
      : moment)
    );
  }

  /** The stop at the current moment, if there is one. */
  get moment(): Moment | undefined {
    return this.moments.find(({ at }) => Math.abs(at - this.time) < 1e-9);
  }

  play(): void {
    if (this.playing || this.#motions.length === 0) return;
    if (this.time >= this.end) this.#selection.seek(this.from);
    this.#last = performance.now();
    this.#frame = requestAnimationFrame(this.#tick);
    this.#changed();
  }

  pause(): void {
    if (!this.playing) return;
    cancelAnimationFrame(this.#frame);
    this.#frame = 0;
    this.#changed();
  }

  toggle(): void {
    if (this.playing) this.pause();
    else this.play();
  }

  /** Goes to a moment and pauses. */
  seek(time: number): void {
    this.pause();
    this.#selection.seek(Math.min(this.end, Math.max(this.from, time)));
  }

  /** Goes to the next stop, or with -1 to the previous one, and returns it. */
  step(way: 1 | -1): Moment {
    const { moments, time } = this;
    const next = way === 1
      ? moments.find(({ at }) => at > time + 1e-9)
      : moments.findLast(({ at }) => at < time - 1e-9);
    const moment = next ?? moments[way === 1 ? moments.length - 1 : 0];
    this.seek(moment.at);
    return moment;
  }

  #tick = (now: number): void => {
    const passed = Math.max(0, now - this.#last) / 1000;
    this.#frame = requestAnimationFrame(this.#tick);
    if (this.#still()) {
      if (passed * this.#speed < STILL) return;
      this.#selection.seek(this.moments.find(({ at }) => at > this.time + 1e-9)?.at ?? this.end);
    } else {
      this.#selection.seek(Math.min(this.end, this.time + passed / this.slowness));
    }
    this.#last = now;
    if (this.time >= this.end) this.pause();
  };

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}
