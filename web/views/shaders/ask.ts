/**
 * The view's side of the bench worker, which has its own device. It asks for trials, waits with a limit, ends a worker
 * that does not answer, and starts another.
 */
import type { CaseResult, Message, TrialTime } from "../../engine/kernels.ts";
import type { AdapterFacts } from "../../engine/run.ts";

/** The phases of a trial, in order. */
export const phases = ["compile", "check", "time"] as const;

/** A phase of a trial. */
export type Phase = (typeof phases)[number];

/** The device on which trials run. */
export interface Device {
  readonly adapter: AdapterFacts;
  readonly clock: "GPU timestamps" | "host clock";
  /** Its first choice among the kernels for many query rows. */
  readonly tileKernel: string;
  /** Kernels that are not for this device. */
  readonly unsuited: readonly string[];
}

/** Messages to the worker. */
export type Request =
  | { readonly kind: "open"; readonly texts: Readonly<Record<string, string>> }
  | { readonly kind: "try"; readonly id: number; readonly name: string; readonly text: string }
  | { readonly kind: "stop"; readonly id: number };

/**
 * Messages of the worker. In a trial, `compiled`, `checked` and `timed` arrive as each is done; the last two only if
 * the text compiled, and passed.
 */
export type Told =
  | { readonly kind: "opened"; readonly device: Device }
  | {
    readonly kind: "step";
    readonly id: number;
    readonly phase: Phase;
    readonly done: number;
    readonly total: number;
    readonly what: string;
  }
  | { readonly kind: "compiled"; readonly id: number; readonly messages: readonly Message[] }
  /** Null if the grid has no cases for such a kernel. */
  | { readonly kind: "checked"; readonly id: number; readonly cases: readonly CaseResult[] | null }
  | { readonly kind: "timed"; readonly id: number; readonly times: readonly TrialTime[] }
  | { readonly kind: "ended"; readonly id: number; readonly how: "done" | "stopped" }
  | { readonly kind: "failed"; readonly id: number | undefined; readonly name: string; readonly message: string };

/** Hears a trial as it goes on. */
export type OnTold = (told: Extract<Told, { readonly kind: "step" | "compiled" | "checked" | "timed" }>) => void;

/** The most seconds without a message: until a device is open, to compile a pipeline, to compute, and to stop. */
export const PATIENCE = { open: 20, compile: 60, compute: 20, stop: 5 };

/** A trial or a device did not answer in time. Its worker was ended. */
export class NoAnswer extends Error {
  override name = "NoAnswer";
}

/** One worker at a time, and one trial at a time on it. */
export class Bench {
  readonly #texts: Readonly<Record<string, string>>;
  #worker: Worker | undefined;
  #device: Promise<Device> | undefined;
  #hear: ((told: Told) => void) | undefined;
  #break: ((error: Error) => void) | undefined;
  #ids = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(texts: Readonly<Record<string, string>>) {
    this.#texts = texts;
  }

  /** Opens a device, once. Errors: NoAdapterError by name, NoAnswer. */
  open(): Promise<Device> {
    return (this.#device ??= this.#open().catch((error: unknown) => {
      this.close();
      throw error;
    }));
  }

  /**
   * Tries a text, after the trial under way has stopped. Resolves when it is done; rejects with the signal's reason if
   * it is stopped.
   */
  async try(name: string, text: string, signal: AbortSignal, onTold: OnTold): Promise<void> {
    const before = this.#last;
    const trial = (async () => {
      await before.catch(() => {});
      signal.throwIfAborted();
      await this.open();
      signal.throwIfAborted();
      await this.#try(name, text, signal, onTold);
    })();
    this.#last = trial;
    await trial;
  }

  /** Ends the worker and its device. */
  close(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.#device = undefined;
    this.#break?.(new NoAnswer("the bench was closed"));
  }

  async #open(): Promise<Device> {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    this.#worker = worker;
    worker.addEventListener("message", ({ data }: MessageEvent<Told>) => this.#worker === worker && this.#hear?.(data));
    worker.addEventListener(
      "error",
      (event) =>
        this.#worker === worker &&
        this.#break?.(new Error(`the bench's worker failed: ${event.message || "it could not be loaded"}`)),
    );
    return await this.#watched<Device>(
      PATIENCE.open,
      () =>
        `no device was open after ${PATIENCE.open} s. Something may still keep the GPU busy: wait and try again, or ` +
        "reload the page",
      (told, resolve, reject) => {
        if (told.kind === "opened") resolve(told.device);
        else if (told.kind === "failed") reject(errorOf(told));
        return undefined;
      },
      () => worker.postMessage({ kind: "open", texts: this.#texts } satisfies Request),
    );
  }

  async #try(name: string, text: string, signal: AbortSignal, onTold: OnTold): Promise<void> {
    const worker = this.#worker!;
    const id = this.#ids++;
    let at = "";
    try {
      await this.#watched<void>(
        PATIENCE.compile,
        () => (signal.aborted ? "the trial did not stop" : `no answer in time${at}: its worker was ended`),
        (told, resolve, reject) => {
          if (!("id" in told) || told.id !== id) return undefined;
          if (told.kind === "failed") reject(errorOf(told));
          else if (told.kind === "ended") told.how === "done" ? resolve() : reject(signal.reason as Error);
          else if (!signal.aborted) onTold(told);
          // After a stop there is little left to do.
          if (signal.aborted) return PATIENCE.stop;
          if (told.kind !== "step") return PATIENCE.compute;
          const patience = told.phase === "compile" ? PATIENCE.compile : PATIENCE.compute;
          at = ` (${patience} s at ${told.phase}, ${told.what})`;
          return patience;
        },
        (wind) => {
          signal.addEventListener("abort", () => {
            worker.postMessage({ kind: "stop", id } satisfies Request);
            wind(PATIENCE.stop);
          }, { once: true });
          worker.postMessage({ kind: "try", id, name, text } satisfies Request);
        },
      );
    } catch (error) {
      // The device is gone, or computes without end: give it up with its worker.
      if (error instanceof Error && (error.name === "DeviceLost" || error.name === "NoAnswer")) this.close();
      throw signal.aborted ? signal.reason : error;
    }
  }

  /** Waits `patience` seconds for a message of the worker. `hear` returns how many seconds the next one may take. */
  #watched<T>(
    patience: number,
    late: () => string,
    hear: (told: Told, resolve: (value: T) => void, reject: (error: Error) => void) => number | undefined,
    begin: (wind: (seconds: number) => void) => void,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      let over = false;
      const end = (settle: () => void) => {
        over = true;
        clearTimeout(timer);
        this.#hear = this.#break = undefined;
        settle();
      };
      const wind = (seconds: number | undefined) => {
        if (seconds === undefined || over) return;
        clearTimeout(timer);
        timer = setTimeout(() => end(() => reject(new NoAnswer(late()))), seconds * 1000);
      };
      this.#hear = (told) =>
        wind(hear(told, (value) => end(() => resolve(value)), (error) => end(() => reject(error))));
      this.#break = (error) => end(() => reject(error));
      wind(patience);
      begin(wind);
    });
  }
}

/** An error of the worker. Names cross the border between workers, classes do not. */
function errorOf({ name, message }: Extract<Told, { kind: "failed" }>): Error {
  return Object.assign(new Error(message), { name });
}
