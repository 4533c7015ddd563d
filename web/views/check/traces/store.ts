/** The state of Traces: the files, their reading, and the step that shows. */
import { type Read, readTraces } from "./ask.ts";
import { stepsOf, type StepView, stepView } from "./model.ts";

/** Fires "change" on each change. */
export class TraceStore extends EventTarget {
  files: readonly File[] = [];
  read: Read | undefined;
  failure: string | undefined;
  cancelled = false;
  progress: { readonly done: number; readonly total: number } | undefined;
  step: number | undefined;
  #shown: { readonly of: Read; readonly step: number | undefined; readonly view: StepView } | undefined;
  #work: AbortController | undefined;

  /** The step that shows. */
  get view(): StepView | undefined {
    const { read, step } = this;
    if (read === undefined) return undefined;
    if (this.#shown?.of !== read || this.#shown.step !== step) {
      this.#shown = { of: read, step, view: stepView(read.reading, step) };
    }
    return this.#shown.view;
  }

  /** Takes the traces of one run. They replace those before. */
  async take(files: readonly File[]): Promise<void> {
    if (files.length === 0) return;
    this.stop();
    const work = new AbortController();
    this.#work = work;
    Object.assign(this, { files, read: undefined, failure: undefined, cancelled: false });
    this.#progress(0, files.length);
    try {
      const read = await readTraces(files, work.signal, (done, total) => this.#progress(done, total));
      this.read = read;
      this.step = stepsOf(read.reading)[0];
    } catch (error) {
      if (this.#work !== work) return;
      if (work.signal.aborted) this.cancelled = true;
      else this.failure = error instanceof Error ? error.message : String(error);
    }
    this.progress = undefined;
    this.#changed();
  }

  /** Shows another step. */
  choose(step: number | undefined): void {
    this.step = step;
    this.#changed();
  }

  /** Ends the reading under way. */
  stop(): void {
    this.#work?.abort();
  }

  #progress(done: number, total: number): void {
    this.progress = { done, total };
    this.#changed();
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}
