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
  /** The index of the stop that was gone to last. */
  #gone = -1;

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
    return this.moments[this.#stop];
  }

  /**
   * The index of the stop at the current moment, or -1. Where some share a moment, the one that was gone to, or else the
   * first; at the end of the run the end.
   */
  get #stop(): number {
    const { moments, time } = this;
    const here = ({ at }: Moment) => Math.abs(at - time) < 1e-9;
    const gone = moments[this.#gone];
    return gone && here(gone) ? this.#gone : time >= this.end ? moments.findLastIndex(here) : moments.findIndex(here);
  }

  /** Whether there is a stop after the current moment (1) or before it (-1). */
  goes(way: 1 | -1): boolean {
    const { moments, time } = this;
    const stop = this.#stop;
    return stop !== -1 ? moments[stop + way] !== undefined : way === 1 ? time < this.end : time > this.from;
  }

  play(): void {
    if (this.playing || this.#motions.length === 0) return;
    if (this.time >= this.end) this.#selection.seek(this.from);
    this.#gone = -1;
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
    this.#gone = -1;
    this.#selection.seek(Math.min(this.end, Math.max(this.from, time)));
  }

  /** Goes to a stop and pauses. */
  stand(moment: Moment): void {
    this.seek(moment.at);
    this.#gone = this.moments.findIndex(({ name }) => name === moment.name);
    // Two stops may share a moment: then nothing else changes.
    this.#changed();
  }

  /**
   * Goes to the next stop, or with -1 to the previous one, and returns it. Stops are in order of hops: if the ranks were
   * far apart, a hop's busiest moment may be before that of the hop before it.
   */
  step(way: 1 | -1): Moment {
    const moment = this.#after(way);
    this.stand(moment);
    return moment;
  }

  #after(way: 1 | -1): Moment {
    const { moments, time } = this;
    const here = this.#stop;
    const next = here !== -1
      ? moments[here + way]
      : way === 1
      ? moments.find(({ at }) => at > time)
      : moments.findLast(({ at }) => at < time);
    return next ?? moments[way === 1 ? moments.length - 1 : 0];
  }

  #tick = (now: number): void => {
    const passed = Math.max(0, now - this.#last) / 1000;
    this.#frame = requestAnimationFrame(this.#tick);
    if (this.#still()) {
      if (passed * this.#speed < STILL) return;
      const moment = this.#after(1);
      this.#gone = this.moments.indexOf(moment);
      this.#selection.seek(moment.at);
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
