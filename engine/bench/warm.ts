/** Warms a GPU up before something is timed: idle GPUs clock down. */
import type { Gpu } from "../gpu/device.ts";
import { COPY_DST, STORAGE, UNIFORM } from "../gpu/usage.ts";
import { compileMicro, type MicroShaders, Stopwatch } from "./micro.ts";

/** Runs multiply-adds until they are as fast as they were at best. */
export class Warmth {
  /** Seconds that the host spent in `up` so far. */
  seconds = 0;
  readonly #run: () => Promise<number>;
  #best = Infinity;
  readonly #dispose: () => void;

  /** `run` does the same work each time and resolves to the seconds it took. */
  constructor(run: () => Promise<number>, dispose: () => void = () => {}) {
    this.#run = run;
    this.#dispose = dispose;
  }

  /** For a device; undefined on a software adapter, which has no clocks to warm. */
  static async of(gpu: Gpu, shaders: MicroShaders): Promise<Warmth | undefined> {
    if (gpu.facts.software) return undefined;
    const watch = new Stopwatch(gpu);
    const params = gpu.device.createBuffer({ size: 16, usage: UNIFORM | COPY_DST });
    const out = gpu.device.createBuffer({ size: GROUPS * 64 * 4, usage: STORAGE });
    const words = new Uint32Array([TURNS, 0, 0, 0]);
    new Float32Array(words.buffer)[1] = 0.01;
    gpu.device.queue.writeBuffer(params, 0, words);
    const pipeline = await compileMicro(gpu, "bench-fma", shaders.fma);
    const warmth = new Warmth(() => watch.dispatch(pipeline, [params, out], GROUPS), () => {
      watch.dispose();
      params.destroy();
      out.destroy();
    });
    await warmth.begin(FIRST_MS);
    return warmth;
  }

  /** Runs for some milliseconds to learn the best time. */
  async begin(ms: number): Promise<void> {
    for (const start = performance.now(); performance.now() - start < ms;) {
      this.#best = Math.min(this.#best, await this.#run());
    }
  }

  /** Resolves when a run takes at most a twentieth longer than the best one, or after a second. */
  async up(): Promise<void> {
    const start = performance.now();
    let took: number;
    do {
      took = await this.#run();
      this.#best = Math.min(this.#best, took);
    } while (took > 1.05 * this.#best && performance.now() - start < MOST_MS);
    this.seconds += (performance.now() - start) / 1000;
  }

  dispose(): void {
    this.#dispose();
  }
}

/** Some milliseconds on today's fastest GPUs: 2,048 workgroups of 64, 256 FLOPs a turn. */
const GROUPS = 2048, TURNS = 4096;
const FIRST_MS = 500, MOST_MS = 1000;
