/**
 * A text in place of a shipped kernel, on trial: compiled, checked on the grid against float64, timed in turns with the
 * shipped one on the same device.
 */
import type { Gpu } from "../gpu/device.ts";
import { pieceKernelsOf } from "../gpu/choice.ts";
import {
  type AttendShape,
  type DeviceFacts,
  isMergeKernel,
  isPieceKernel,
  type KernelName,
  kernelName,
  type MergeKernelName,
  TILE_KERNELS,
  type TileKernel,
  type TileKernelName,
} from "../gpu/kernels.ts";
import { Kernels } from "../gpu/pipelines.ts";
import { specialise } from "../gpu/specialise.ts";
import { Pool } from "../gpu/pool.ts";
import { declarationsOf } from "../gpu/reflect.ts";
import type { KernelTexts } from "../gpu/shaders.ts";
import { STORAGE, UNIFORM } from "../gpu/usage.ts";
import type { ExpectedRow } from "../reference/check.ts";
import { type Difference, difference } from "../reference/error.ts";
import { F32_PAIR_TOLERANCE } from "../reference/tolerance.ts";
import { operandsOf, timeAttention } from "./attention-run.ts";
import { bounded, ENDLESS, MOST_TURNS } from "./bounded.ts";
import { type CaseResult, checkCase, type GridCase, SINGLE, type StoredType, TILES } from "./grid.ts";
import { HEADS, type Heads, inputOfMeasured, measuredAt } from "./inputs.ts";
import { mergeRig } from "./measure-merge.ts";
import type { Bench } from "./open.ts";
import { interleave, type Repeats, repeatsOf } from "./stats.ts";
import { attentionKernel, roleOf } from "./texts.ts";

/** What the compiler, or the host that binds the kernel, says. */
export interface Message {
  readonly kind: "error" | "warning" | "info";
  /** From 1; 0 where it is about no line. */
  readonly line: number;
  /** From 1, in UTF-16 units; 0 with no line. */
  readonly column: number;
  /** Of what it is about, in UTF-16 units; may be 0. */
  readonly length: number;
  readonly message: string;
}

/** The text and the shipped one on one experiment, in seconds on the device. */
export interface TrialTime {
  readonly label: string;
  readonly shipped: Repeats;
  readonly text: Repeats;
  /** The text's time over the shipped one's, round by round. */
  readonly ratio: Repeats;
  /** Largest difference of their results, and whether it is what two right kernels may differ by. */
  readonly apart: Difference;
}

/** Told before each step: how many are done, how many there are, what comes. */
export type TrialProgress = (done: number, total: number, what: string) => void;

/**
 * Head shapes of a trial's grid: those that are measured, the smallest, and one whose columns do not fill a workgroup's
 * rows.
 */
const SHAPES: readonly Heads[] = [HEADS[1], HEADS[0], { heads: 4, kvHeads: 4, headDim: 16 }, {
  heads: 8,
  kvHeads: 2,
  headDim: 80,
}];
/** Both 16-bit types, each on an operand of its own. */
const WIRES = [{ dtype: "bf16", variant: "pass-q" }, { dtype: "f16", variant: "pass-kv" }] as const;
/** Partial results of which all, some and none are empty: one token on eight ranks. */
const EMPTY = { sequences: [{ new: 1, cached: 0 }, { new: 0, cached: 5 }], causal: true, ranks: 8 };
/** Tokens of what is timed: twice as many until the shipped kernel takes long enough for any clock, in seconds. */
const SIZES = { least: 512, most: 8192 };
const LONG_ENOUGH = 0.02;

/** The cases that a kernel's text has to pass, of those that a device can run it on; all of them without one. */
export function casesOf(name: string, device?: DeviceFacts): readonly GridCase[] {
  const role = roleOf(name);
  const own = role === "tiles"
    ? TILES
    : role === "pieces"
    ? SINGLE
    : role === "merge"
    ? [...TILES.filter((c) => c.ranks > 1), ...SINGLE, EMPTY]
    : [];
  const wired = role === "merge" || own.length === 0
    ? []
    : WIRES.map((wire) => ({ ...HEADS[1], ...own[own.length - 1], wire }));
  const able = ({ headDim }: GridCase) =>
    device === undefined || !isPieceKernel(name) ||
    pieceKernelsOf(device, { headDim, q: "f32", kv: "f32" }).includes(name);
  const cases = [...SHAPES.flatMap((heads) => own.map((c): GridCase => ({ ...heads, ...c }))), ...wired].filter(able);
  return storedAs(name) === "f32"
    ? cases
    : cases.filter(({ wire }) => wire === undefined).map((c) => ({ ...c, wire: WIRES[1] }));
}

/** The type of keys and values that a kernel is tried and timed with. */
function storedAs(name: string): StoredType {
  const kernel: TileKernel | undefined = TILE_KERNELS[name as TileKernelName];
  return kernel?.takes?.({ headDim: HEADS[0].headDim, q: "f32", kv: "f32" }) ?? true ? "f32" : "f16";
}

/**
 * One device with the shipped kernels on it. A device that is lost, or refuses what it is given, fails the step under
 * way.
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

  /** A text's own pipelines on this device; those of the last text are kept. */
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
   * Compiles a text as it stands, then as the grid's experiments need it, and holds its bindings against what the host
   * gives. Resolves to what is said of it.
   */
  async compile(name: string, text: string, progress: TrialProgress = () => {}): Promise<readonly Message[]> {
    return await this.#guarded(() => this.#compile(name, text, progress));
  }

  async #compile(name: string, text: string, progress: TrialProgress): Promise<readonly Message[]> {
    const shapes: (AttendShape | undefined)[] = attentionKernel(name) === undefined
      ? [undefined]
      : shapesOf(casesOf(name, this.gpu));
    progress(0, shapes.length, "as it stands");
    const messages = [...(await this.#messages(text, ""))];
    if (messages.some(({ kind }) => kind === "error")) return messages;
    for (const [i, shape] of shapes.entries()) {
      const at = shape === undefined ? "" : ` (D ${shape.headDim}, q ${shape.q}, kv ${shape.kv})`;
      progress(i, shapes.length, at === "" ? "the pipeline" : `for${at}`);
      const wrong = await this.#pipeline(name, text, shape, at);
      if (wrong.length > 0) return [...messages, ...wrong];
    }
    return messages;
  }

  /**
   * Runs a text that compiles with its loops bounded, on the first head shape of its grid. Resolves to why it is not to
   * be run without bounds, if so;
   * `unbounded`: the text cannot be bounded, so whoever waits for it has to be ready to give up.
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
      : (await this.#messages(code, "")).filter(({ kind }) => kind === "error");
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
            endless:
              `a loop took more than ${MOST_TURNS} turns, in an experiment of few tokens (${label}): it seems to have no end, and was cut off`,
          };
        }
      }
      return {};
    });
  }

  /**
   * Checks a text on the grid; undefined where the grid does not run such a kernel. Stops at nothing: every case is
   * told of.
   */
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

  /** Times a text in turns with the shipped one; empty where such a kernel is not timed here. */
  async time(
    name: string,
    text: string,
    repeats: number,
    signal?: AbortSignal,
    progress: TrialProgress = () => {},
  ): Promise<readonly TrialTime[]> {
    const benches = [this.#shipped, this.#with(name, text)];
    return await this.#guarded(async () => {
      const times: TrialTime[] = [];
      const all = await this.#measured(name, signal, (what) => progress(0, 1, what));
      for (const [i, { label, run, dispose }] of all.entries()) {
        let round = 0;
        const turn = async (bench: Bench, take?: (data: ArrayBuffer) => void) => {
          progress(i * (repeats + 1) * 2 + round++, all.length * (repeats + 1) * 2, label);
          return await run(bench, take);
        };
        try {
          const results: Float32Array[] = [];
          for (const bench of benches) await turn(bench, (data) => results.push(new Float32Array(data)));
          const [shipped, own] = await interleave(benches, repeats, (bench) => turn(bench), signal);
          times.push({
            label,
            shipped: repeatsOf(shipped),
            text: repeatsOf(own),
            ratio: repeatsOf(own.map((seconds, r) => seconds / shipped[r])),
            apart: difference(results[1], results[0], F32_PAIR_TOLERANCE),
          });
        } finally {
          dispose();
        }
      }
      return times;
    });
  }

  async #measured(
    name: string,
    signal: AbortSignal | undefined,
    progress: (what: string) => void,
  ): Promise<readonly Measurement[]> {
    const kernel = attentionKernel(name);
    const measurements: Measurement[] = [];
    for (
      const heads of kernel === undefined
        ? []
        : HEADS.filter(({ headDim }) => casesOf(name, this.gpu).some((c) => c.headDim === headDim))
    ) {
      for (let size = SIZES.least;; size *= 2) {
        signal?.throwIfAborted();
        const shape = measuredAt(size, heads).find(({ mask }) =>
          mask === (roleOf(name) === "pieces" ? "decode" : "causal")
        )!;
        const operands = operandsOf(inputOfMeasured(shape), storedAs(name));
        const label = `${roleOf(name) === "pieces" ? "decode" : "causal prefill"}, T ${shape.tokens}${
          shape.cached === 0 ? "" : `, P ${shape.cached}`
        }, heads ${heads.heads}/${heads.kvHeads}, D ${heads.headDim}`;
        progress(label);
        const run: Measurement["run"] = async (bench, take) =>
          (await timeAttention(bench, operands, kernel, take)).device;
        // The first run compiles with some drivers, and clocks rise.
        await run(this.#shipped);
        if (size < SIZES.most && (await run(this.#shipped)) < LONG_ENOUGH) continue;
        measurements.push({ label, run, dispose: () => {} });
        break;
      }
    }
    if (isMergeKernel(name)) {
      const [rows, parts] = name === "merge-parts"
        ? [1, [64, 512]]
        : [this.gpu.facts.software ? SIZES.least : SIZES.most, [2, 8]];
      measurements.push(...parts.map((n) => mergeRig(this.#shipped, rows, n, name)));
    }
    return measurements;
  }

  /** What the compiler says of a text; `at` is added to each message. */
  async #messages(code: string, at: string): Promise<readonly Message[]> {
    const { device } = this.gpu;
    device.pushErrorScope("validation");
    const module = device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    const refused = await device.popErrorScope();
    const said = messages.map(({ type, lineNum, linePos, length, message }): Message => ({
      kind: type,
      line: lineNum,
      column: linePos,
      length,
      message: `${message}${at}`,
    }));
    return refused === null || said.some(({ kind }) => kind === "error")
      ? said
      : [...said, about(`${refused.message}${at}`)];
  }

  /** Makes the pipeline of a shape, and a bind group of what the host binds. Resolves to what is wrong. */
  async #pipeline(name: string, text: string, shape: AttendShape | undefined, at: string): Promise<readonly Message[]> {
    let code = text;
    try {
      if (shape !== undefined) code = specialise(text, shape);
    } catch (error) {
      return [about(error instanceof Error ? error.message : String(error))];
    }
    if (shape !== undefined) {
      const errors = (await this.#messages(code, at)).filter(({ kind }) => kind === "error");
      if (errors.length > 0) return errors;
    }
    const { device } = this.gpu;
    const shipped = declarationsOf(this.#texts[name]);
    const entryPoint = shipped.entries[0].name;
    const own = declarationsOf(text);
    if (!own.entries.some((entry) => entry.name === entryPoint)) {
      return [
        about(
          `found ${
            own.entries.map((entry) => entry.name).join(", ") || "no entry point"
          }, expected the entry point ${entryPoint}: the host calls it by that name`,
        ),
      ];
    }
    const missing = shipped.bindings.filter((b) =>
      !own.bindings.some((o) => o.group === b.group && o.binding === b.binding)
    );
    if (missing.length > 0) {
      return missing.map((b) =>
        about(`binding ${b.binding} (${b.name}) is missing: the host gives it, so the kernel has to declare and use it`)
      );
    }
    const { kernels } = this.#with(name, text);
    const kernel = attentionKernel(name);
    let pipeline: GPUComputePipeline;
    try {
      pipeline = kernel !== undefined
        ? await kernels.attend(kernel, shape!)
        : isMergeKernel(name)
        ? await kernels.merge(name)
        : await device.createComputePipelineAsync({
          layout: "auto",
          compute: { module: device.createShaderModule({ code }), entryPoint },
        });
    } catch (error) {
      return [{
        ...about(`${error instanceof Error ? error.message : String(error)}${at}`),
        line: own.entries.find((entry) => entry.name === entryPoint)!.line,
        column: 1,
      }];
    }
    // Larger than the least size of every binding.
    const buffer = device.createBuffer({ size: 4096, usage: UNIFORM | STORAGE });
    device.pushErrorScope("validation");
    device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: shipped.bindings.map(({ binding }) => ({ binding, resource: { buffer } })),
    });
    const refused = await device.popErrorScope();
    buffer.destroy();
    return refused === null
      ? []
      : [about(`the host's bindings ${
        shipped.bindings.map((b) => `${b.binding} ${b.name}`).join(", ")
      } do not fit (a binding that is declared but not used is not part of a pipeline): ${refused.message}`)];
  }

  /** Runs work on the device; fails with it. */
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

/** The device is gone: nothing more can be tried on it. */
export class DeviceLost extends Error {
  override name = "DeviceLost";
}

/** Something that is timed, in the device's seconds; `take` gets O and LSE as one buffer. */
interface Measurement {
  readonly label: string;
  readonly run: (bench: Bench, take?: (data: ArrayBuffer) => void) => Promise<number>;
  readonly dispose: () => void;
}

/** What a device is told to run so that a text of that name runs, if it is one of its kernels. */
const runKernel = (
  name: string,
): KernelName | MergeKernelName | undefined => (isMergeKernel(name) ? name : attentionKernel(name));

/** The head sizes and types that a grid asks for, each once. */
function shapesOf(cases: readonly GridCase[]): AttendShape[] {
  const shapes = cases.map(({ headDim, wire }): AttendShape => ({
    headDim,
    q: wire?.variant === "pass-q" ? wire.dtype : "f32",
    kv: wire?.variant === "pass-kv" ? wire.dtype : "f32",
  }));
  return [...new Map(shapes.map((shape) => [kernelName("decode", shape), shape])).values()];
}

/** A message about no line. */
function about(message: string): Message {
  return { kind: "error", line: 0, column: 0, length: 0, message };
}
