/** The page's state in one place: the experiment as typed, the adapter, the run, and the address that reproduces it. */
import { type Adapter, probeAdapter } from "./adapter.ts";
import type { Backend } from "./engine.ts";
import { type Draft, draftOf, type Experiment, type Field, fromQuery, read, type Reading, same, tidied, toQuery } from "./experiment.ts";
import { Runner, type RunState } from "./run.ts";

/** Fires "change" whenever anything of it changed. Views read it and call its methods; they hold no state of the experiment themselves. */
export class Session extends EventTarget {
  #draft: Draft;
  #search = location.search;
  #reading: Reading;
  #adapter: Adapter | undefined;
  #runner = new Runner();

  constructor() {
    super();
    this.#draft = fromQuery(location.search);
    this.#reading = read(this.#draft);
    this.#runner.addEventListener("change", () => this.#changed());
    addEventListener("popstate", () => {
      // Going to another view changes the hash alone, and leaves what is being typed.
      if (location.search !== this.#search) this.#take(fromQuery(location.search));
      this.#search = location.search;
    });
    addEventListener("pagehide", () => void this.#runner.dispose());
    void probeAdapter().then((adapter) => {
      this.#adapter = adapter;
      this.#changed();
    });
  }

  get draft(): Draft {
    return this.#draft;
  }

  get reading(): Reading {
    return this.#reading;
  }

  /** Undefined until the browser has answered. */
  get adapter(): Adapter | undefined {
    return this.#adapter;
  }

  get state(): RunState {
    return this.#runner.state;
  }

  get running(): boolean {
    return this.#runner.running;
  }

  /** Where a run would be computed now: WebGPU only where there is an adapter. */
  get backend(): Backend {
    return this.#adapter?.webgpu === false ? "cpu" : (this.#reading.experiment?.backend ?? "webgpu");
  }

  /** True where what is shown was run for another experiment than the sentence now says. */
  get stale(): boolean {
    return this.state.experiment !== undefined && !same(this.state.experiment, this.#reading.experiment);
  }

  /** Notes what is being typed, so that nothing that happens meanwhile takes it away; it is read when it is done. */
  type(field: Field, text: string): void {
    this.#draft = { ...this.#draft, [field]: text };
  }

  /** Puts a text in a field and reads them all; the address follows as soon as all can be read. */
  edit(field: Field, text: string): void {
    this.type(field, text);
    this.#take(tidied(this.#draft));
    if (this.#reading.experiment !== undefined) this.#write(this.#reading.experiment);
  }

  /** Runs the experiment; does nothing while a field cannot be read or a run is under way. */
  async run(): Promise<void> {
    const { experiment } = this.#reading;
    if (experiment === undefined || this.running) return;
    this.#write(experiment);
    if (this.#adapter === undefined) this.#adapter = await probeAdapter();
    await this.#runner.run(experiment, this.backend);
  }

  /** Cancels the run under way. */
  cancel(): void {
    this.#runner.cancel();
  }

  /** Puts the experiment that is shown back into the sentence. */
  restore(): void {
    const { experiment } = this.state;
    if (experiment === undefined) return;
    this.#take(draftOf(experiment));
    this.#write(experiment);
  }

  #take(draft: Draft): void {
    this.#draft = draft;
    this.#reading = read(draft);
    this.#changed();
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }

  #write(experiment: Experiment): void {
    history.replaceState(null, "", `?${toQuery(experiment)}${location.hash}`);
    this.#search = location.search;
  }
}
