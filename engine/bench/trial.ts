/**
 * A text in place of a shipped kernel, on trial: compiled, checked on the grid against float64, timed in turns with the
 * shipped one on the same device.
 */
import type { Gpu } from "../gpu/device.ts";
import { type AttendShape, isMergeKernel, type KernelName, type MergeKernelName } from "../gpu/kernels.ts";
import { Kernels } from "../gpu/pipelines.ts";
import { Pool } from "../gpu/pool.ts";
import type { KernelTexts } from "../gpu/shaders.ts";
import type { ExpectedRow } from "../reference/check.ts";
import { bounded, ENDLESS, MOST_TURNS } from "./bounded.ts";
import { type CaseResult, checkCase } from "./grid.ts";
import type { Bench } from "./open.ts";
import { attentionKernel, roleOf } from "./texts.ts";
import { casesOf, shapesOf } from "./trial-cases.ts";
import { about, compilerMessages, errorsAmong, type Message, pipelineErrors } from "./trial-compile.ts";
import { measurementsOf, timeBeside, type TrialTime } from "./trial-time.ts";

export { casesOf };
export type { Message, TrialTime };

/** Called before each step: how many are done, how many there are, what comes next. */
export type TrialProgress = (done: number, total: number, what: string) => void;

/**
 * Trials on one device, which has the shipped kernels too. If the device is lost, or refuses something, the step under
 * way fails.
 */
export class Trials {
  readonly gpu: Gpu;
  readonly #texts: Readonly<Record<string, string>>;
  readonly #shipped: Bench;
  readonly #oracles = new Map<string, readonly ExpectedRow[]>();
  #own: { readonly name: string; readonly text: string; readonly bench: Bench } | undefined;

  /** `texts`: every shipped text by name. */
  constructor(gpu: Gpu, texts: Readonly<Record<string, string>>) {
    this.gpu = gpu;
    this.#texts = texts;
    this.#shipped = { gpu, kernels: new Kernels(gpu, texts as KernelTexts), pool: new Pool(gpu.device) };
  }

  /** A text's pipelines on this device. Keeps those of the last text. */
  #with(name: string, text: string): Bench {
    if (this.#own?.name !== name || this.#own.text !== text) {
      this.#own = { name, text, bench: this.#bench(name, text) };
    }
    return this.#own.bench;
  }

  #bench(name: string, text: string): Bench {
    return { ...this.#shipped, kernels: new Kernels(this.gpu, { ...this.#texts, [name]: text } as KernelTexts) };
  }

  /**
   * Compiles a text as it stands, then as the grid's experiments need it, and compares its bindings with the host's.
   * Resolves to the messages about it.
   */
  async compile(name: string, text: string, progress: TrialProgress = () => {}): Promise<readonly Message[]> {
    return await this.#guarded(() => this.#compile(name, text, progress));
  }

  async #compile(name: string, text: string, progress: TrialProgress): Promise<readonly Message[]> {
    const shapes: (AttendShape | undefined)[] = attentionKernel(name) === undefined
      ? [undefined]
      : shapesOf(casesOf(name, this.gpu));
    progress(0, shapes.length, "as it stands");
    const messages = [...(await compilerMessages(this.gpu, text))];
    if (errorsAmong(messages).length > 0) return messages;
    const { kernels } = this.#with(name, text);
    const trial = { name, text, shipped: this.#texts[name], kernels };
    for (const [i, shape] of shapes.entries()) {
      const at = shape === undefined ? "" : ` (D ${shape.headDim}, q ${shape.q}, kv ${shape.kv})`;
      progress(i, shapes.length, at === "" ? "the pipeline" : `for${at}`);
      const wrong = await pipelineErrors(this.gpu, trial, shape, at);
      if (wrong.length > 0) return [...messages, ...wrong];
    }
    return messages;
  }

  /**
   * Runs a text that compiles with its loops bounded, on the first head shape of its grid. `endless`: why it must not
   * run without bounds. `unbounded`: why it can't be bounded, so that whoever waits for it has to be ready to give up.
   */
  async ends(
    name: string,
    text: string,
    signal?: AbortSignal,
    progress: TrialProgress = () => {},
  ): Promise<{ readonly endless?: string; readonly unbounded?: string }> {
    const [first] = casesOf(name, this.gpu);
    const cases = casesOf(name, this.gpu).filter((c) => c.headDim === first.headDim && c.wire === undefined);
    if (text === this.#texts[name] || cases.length === 0) return {};
    const code = bounded(text);
    const errors = code === undefined
      ? [about("no f32 output to tell by")]
      : errorsAmong(await compilerMessages(this.gpu, code));
    if (code === undefined || errors.length > 0) return { unbounded: errors[0].message };
    const bench = this.#bench(name, code);
    return await this.#guarded(async () => {
      for (const [i, c] of cases.entries()) {
        signal?.throwIfAborted();
        progress(i, cases.length, "with bounded loops");
        let cut = false;
        const { label } = await checkCase(
          bench,
          runKernel(name),
          c,
          this.#oracles,
          (lse) => (cut = lse.some((x) => x > ENDLESS / 2 && x < ENDLESS * 2)),
        );
        if (cut) {
          return {
            endless: `a loop took more than ${MOST_TURNS} turns, in an experiment of few tokens (${label}): ` +
              "it seems to have no end, and was cut off",
          };
        }
      }
      return {};
    });
  }

  /** Checks a text on the grid, every case even if some fail. Undefined if the grid runs no such kernel. */
  async check(
    name: string,
    text: string,
    signal?: AbortSignal,
    progress: TrialProgress = () => {},
  ): Promise<readonly CaseResult[] | undefined> {
    const cases = casesOf(name, this.gpu);
    if (cases.length === 0) return undefined;
    const bench = this.#with(name, text);
    return await this.#guarded(async () => {
      const results: CaseResult[] = [];
      for (const c of cases) {
        signal?.throwIfAborted();
        progress(results.length, cases.length, `D ${c.headDim}`);
        results.push(await checkCase(bench, runKernel(name), c, this.#oracles));
      }
      if (roleOf(name) === "merge" && !results.every(({ merged }) => merged)) {
        throw new Error("the grid did not run the merge kernel in every case of its check");
      }
      return results;
    });
  }

  /** Times a text in turns with the shipped one. Empty if there is nothing to time such a kernel on. */
  async time(
    name: string,
    text: string,
    repeats: number,
    signal?: AbortSignal,
    progress: TrialProgress = () => {},
  ): Promise<readonly TrialTime[]> {
    const benches = { shipped: this.#shipped, own: this.#with(name, text) };
    return await this.#guarded(async () => {
      const times: TrialTime[] = [];
      const all = await measurementsOf(name, this.#shipped, signal, (what) => progress(0, 1, what));
      const runs = (repeats + 1) * 2;
      for (const [i, measurement] of all.entries()) {
        let done = i * runs;
        const step = () => progress(done++, all.length * runs, measurement.label);
        try {
          times.push(await timeBeside(measurement, benches, repeats, signal, step));
        } finally {
          measurement.dispose();
        }
      }
      return times;
    });
  }

  /** Runs work on the device. Fails if the device does. */
  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    const { device } = this.gpu;
    const failed = new Promise<never>((_, reject) => {
      device.onuncapturederror = ({ error }) => reject(new Error(`the GPU refused: ${error.message}`));
      device.lost.then(({ reason, message }) =>
        reject(new DeviceLost(`the GPU device was lost (${reason}${message && `: ${message}`})`))
      );
    });
    try {
      return await Promise.race([work(), failed]);
    } finally {
      device.onuncapturederror = null;
    }
  }
}

/** The device is gone: no further trial can use it. */
export class DeviceLost extends Error {
  override name = "DeviceLost";
}

/** The kernel that a device has to run so that a text of that name runs; undefined if it is none of the device's. */
const runKernel = (name: string): KernelName | MergeKernelName | undefined =>
  isMergeKernel(name) ? name : attentionKernel(name);
