/** The page's state in one place: the experiment as typed, the adapter, the run, and the address that reproduces it. */
import { type Adapter, probeAdapter } from "./adapter.ts";
import type { Backend } from "./engine.ts";
import { defaults, type Draft, draftOf, type Experiment, type Field, fromQuery, read, type Reading, same, tidied, toQuery } from "./experiment.ts";
import { type OwnData, shapeFields } from "./own/data.ts";
import { Intake } from "./own/intake.ts";
import { Runner, type RunState } from "./run.ts";
import { variants } from "./variants.ts";

/** Fires "change" whenever anything of it changed. Views read it and call its methods; they hold no state of the experiment themselves. */
export class Session extends EventTarget {
  #draft: Draft;
  #search = location.search;
  #reading: Reading;
  #adapter: Adapter | undefined;
  #runner = new Runner();
  /** What the sentence said of the shape before own data fixed it. */
  #before: Partial<Draft> = {};
  /** The visitor's own files, which no address can carry. */
  readonly own = new Intake((data) => this.#fit(data));

  constructor() {
    super();
    this.#draft = fromQuery(location.search);
    this.#reading = read(this.#draft);
    this.#runner.addEventListener("change", () => this.#changed());
    this.own.addEventListener("change", () => this.#changed());
    variants.addEventListener("change", () => this.#changed());
    addEventListener("popstate", () => {
      // Going to another view changes the hash alone, and leaves what is being typed.
      if (location.search !== this.#search) {
        this.own.use(undefined);
        this.#take(fromQuery(location.search));
      }
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

  /** True where the visitor's files say what stands in a field. */
  fixed(field: Field): boolean {
    return this.own.data !== undefined && (shapeFields as readonly Field[]).includes(field);
  }

  /** True where what is shown was run for another experiment, or on other inputs, than the sentence now says. */
  get stale(): boolean {
    return this.state.experiment !== undefined && (!same(this.state.experiment, this.#reading.experiment) || this.state.own !== this.own.data);
  }

  /** Notes what is being typed, so that nothing that happens meanwhile takes it away; it is read when it is done. */
  type(field: Field, text: string): void {
    if (!this.fixed(field)) this.#draft = { ...this.#draft, [field]: text };
  }

  /** Puts a text in a field and reads them all; the address follows as soon as all can be read. */
  edit(field: Field, text: string): void {
    this.type(field, text);
    this.#take(tidied(this.#draft));
    if (this.#reading.experiment !== undefined) this.#write(this.#reading.experiment);
  }

  /** Runs the experiment; does nothing while a field cannot be read or a run is under way. */
  async run(): Promise<void> {
    // Whoever presses Run while their files are read means those, and not the inputs before them.
    if (!(await this.own.taken())) return;
    const { experiment } = this.#reading;
    const { data } = this.own;
    if (experiment === undefined || this.running) return;
    this.#write(experiment);
    if (this.#adapter === undefined) this.#adapter = await probeAdapter();
    await this.#runner.run(experiment, this.backend, data);
  }

  /** Cancels the run under way. */
  cancel(): void {
    this.#runner.cancel();
  }

  /** Goes back to seeded inputs, of the shape that the sentence said before. */
  seeded(): void {
    this.own.use(undefined);
    this.#take({ ...this.#draft, ...this.#before });
    if (this.#reading.experiment !== undefined) this.#write(this.#reading.experiment);
  }

  /** Puts the experiment that is shown back into the sentence, and the files that it was run on. */
  restore(): void {
    const { experiment, own } = this.state;
    if (experiment === undefined) return;
    if (own !== undefined) this.#remember();
    this.own.use(own);
    this.#take(draftOf(experiment));
    this.#write(experiment);
  }

  /** Puts the shape of own data into the sentence; where the page cannot run it, says why and changes nothing. */
  #fit({ facts: { shape } }: OwnData): string | undefined {
    const found = draftOf({ ...defaults, ...shape });
    const { problems } = read(found);
    if (problems.size > 0) return [...problems.values()].join(" ");
    this.#remember();
    this.#take({ ...this.#draft, ...Object.fromEntries(shapeFields.map((field) => [field, found[field]])) });
    if (this.#reading.experiment !== undefined) this.#write(this.#reading.experiment);
    return undefined;
  }

  #remember(): void {
    if (this.own.data === undefined) this.#before = Object.fromEntries(shapeFields.map((field) => [field, this.#draft[field]]));
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
