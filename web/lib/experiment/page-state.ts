/** The page's state: the experiment as typed, the adapter, the run, and the address that reproduces them. */
import { type Adapter, probeAdapter } from "../adapter.ts";
import type { Backend } from "../../engine/run.ts";
import {
  defaults,
  type Draft,
  draftOf,
  type Experiment,
  type Field,
  fromQuery,
  read,
  type Reading,
  same,
  tidied,
  toQuery,
} from "./experiment.ts";
import { type OwnData, shapeFields } from "../own/data.ts";
import { Intake } from "../own/intake.ts";
import { type Halting, Ranks, Runner, type RunState } from "./run.ts";
import { Selection } from "../stage/selection.ts";
import { keptKernels } from "../kept-kernels.ts";

/** Fires "change" on each change. Views read it and call its methods; they hold no state of the experiment. */
export class PageState extends EventTarget {
  #draft: Draft;
  /** The last content of the address. */
  #said = saidIn(location.search);
  #reading: Reading;
  #adapter: Adapter | undefined;
  #ranks = new Ranks();
  #runner = new Runner(this.#ranks);
  /** Runs the other variant on the same input, on the same ranks. */
  #second = new Runner(this.#ranks);
  #compare: boolean;
  #hop: number | undefined;
  /** The shape in the sentence before the visitor's files fixed it. */
  #before: Partial<Draft> = {};
  /** The open view's part of the address, beside the experiment. */
  aside: Readonly<Record<string, string>> = {};
  /** Set by a view that steps through runs: those that begin meanwhile halt. */
  halting: Halting | undefined;
  /** The visitor's own files, which no address can carry. */
  readonly own = new Intake((data) => this.#fit(data));
  /** The thing and the moment that stage and timelines highlight. */
  readonly selection = new Selection();

  constructor() {
    super();
    this.#draft = fromQuery(location.search);
    this.#reading = read(this.#draft);
    [this.#compare, this.#hop] = shownIn(location.search);
    this.#second.addEventListener("change", () => this.#changed());
    this.#runner.addEventListener("change", () => this.#changed());
    this.own.addEventListener("change", () => this.#changed());
    keptKernels.addEventListener("change", () => this.#changed());
    addEventListener("popstate", () => {
      // Another view changes the hash, or its own part of the query. What is being typed stays.
      const said = saidIn(location.search);
      if (said !== this.#said) {
        this.own.use(undefined);
        [this.#compare, this.#hop] = shownIn(location.search);
        this.#take(fromQuery(location.search));
      }
      this.#said = said;
    });
    addEventListener("pagehide", () => {
      this.cancel();
      void this.#ranks.dispose();
    });
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

  /** Undefined until the browser answers. */
  get adapter(): Adapter | undefined {
    return this.#adapter;
  }

  get state(): RunState {
    return this.#runner.state;
  }

  /** The other variant's run on the same input. */
  get other(): RunState {
    return this.#second.state;
  }

  get running(): boolean {
    return this.#runner.running || this.#second.running;
  }

  /** True if the Lab runs both variants and shows them side by side. */
  get compare(): boolean {
    return this.#compare;
  }

  /** The hop at which the stage opens, if the address names one; N is the All2All. */
  get hop(): number | undefined {
    return this.#hop;
  }

  /** What would compute a run now: WebGPU only if there is an adapter. */
  get backend(): Backend {
    return this.#reading.experiment?.backend === "cpu" ? "cpu" : this.#usable;
  }

  get #usable(): Backend {
    return this.#adapter?.webgpu === false ? "cpu" : "webgpu";
  }

  /** True if the visitor's files fix the value of a field. */
  fixed(field: Field): boolean {
    return this.own.data !== undefined && (shapeFields as readonly Field[]).includes(field);
  }

  /** True if the result shown is of another experiment, or of other inputs, than the sentence now says. */
  get stale(): boolean {
    return this.state.experiment !== undefined &&
      (!same(this.state.experiment, this.#reading.experiment) || this.state.own !== this.own.data);
  }

  /** Notes a text while somebody types it, so that no update removes it. `edit` reads it. */
  type(field: Field, text: string): void {
    if (!this.fixed(field)) this.#draft = { ...this.#draft, [field]: text };
  }

  /** Puts a text in a field and reads all fields. The address follows once all can be read. */
  edit(field: Field, text: string): void {
    this.type(field, text);
    this.#take(tidied(this.#draft));
    if (this.#reading.experiment !== undefined) this.#write(this.#reading.experiment);
  }

  /** Runs the experiment. Does nothing if a field can't be read or a run is under way. */
  async run(): Promise<void> {
    // Run during the reading of files means a run on those files.
    if (!(await this.own.taken())) return;
    const { experiment } = this.#reading;
    const { data } = this.own;
    if (experiment === undefined || this.running) return;
    this.#write(experiment);
    if (this.#adapter === undefined) this.#adapter = await probeAdapter();
    this.selection.clear();
    this.#second.clear();
    const Dv = data?.facts.valueDim;
    await this.#runner.run(Dv === undefined ? experiment : { ...experiment, Dv }, this.backend, data, this.halting);
    await this.#runOther();
  }

  /** Cancels the run under way. */
  cancel(): void {
    this.#runner.cancel();
    this.#second.cancel();
  }

  /** Shows both variants on the same input, and runs the missing one; or shows one alone. */
  async comparing(on: boolean): Promise<void> {
    this.#compare = on;
    if (!on) this.#second.cancel();
    this.#rewrite();
    this.#changed();
    await this.#runOther();
  }

  /** Notes the stage's hop in the address. */
  standAt(hop: number | undefined): void {
    if (hop === this.#hop) return;
    this.#hop = hop;
    this.#rewrite();
  }

  /** Runs the other variant on the inputs of the last run, if both are shown and it has not run yet. */
  async #runOther(): Promise<void> {
    const { phase, experiment, own } = this.state;
    if (
      !this.#compare || this.halting !== undefined || phase !== "done" || experiment === undefined || this.running ||
      this.other.phase === "done"
    ) return;
    await this.#second.run(
      { ...experiment, variant: experiment.variant === "pass-q" ? "pass-kv" : "pass-q" },
      experiment.backend === "webgpu" ? this.#usable : "cpu",
      own,
    );
  }

  /** Goes back to seeded inputs, with the shape that the sentence had before. */
  seeded(): void {
    this.own.use(undefined);
    this.#take({ ...this.#draft, ...this.#before });
    if (this.#reading.experiment !== undefined) this.#write(this.#reading.experiment);
  }

  /** Puts the experiment and the files of the result shown back into the sentence. */
  restore(): void {
    const { experiment, own } = this.state;
    if (experiment === undefined) return;
    if (own !== undefined) this.#remember();
    this.own.use(own);
    this.#take(draftOf(experiment));
    this.#write(experiment);
  }

  /** Puts the shape of the visitor's tensors into the sentence. If the page can't run it: returns why, changes nothing. */
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
    if (this.own.data === undefined) {
      this.#before = Object.fromEntries(shapeFields.map((field) => [field, this.#draft[field]]));
    }
  }

  #take(draft: Draft): void {
    this.#draft = draft;
    this.#reading = read(draft);
    this.#changed();
  }

  /** Puts a view's part into the address, beside the experiment. */
  note(aside: Readonly<Record<string, string>>): void {
    this.aside = aside;
    if (this.#reading.experiment !== undefined) this.#write(this.#reading.experiment);
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }

  #write(experiment: Experiment): void {
    const shown = {
      ...(this.#compare && { compare: "1" }),
      ...(this.#hop !== undefined && !("hop" in this.aside) && { hop: String(this.#hop) }),
      ...this.aside,
    };
    history.replaceState(
      null,
      "",
      `?${toQuery(experiment)}${
        Object.entries(shown).map(([key, value]) => `&${key}=${encodeURIComponent(value)}`).join("")
      }${location.hash}`,
    );
    this.#said = saidIn(location.search);
  }

  /** Writes the sentence's experiment into the address, if it can be read. */
  #rewrite(): void {
    if (this.#reading.experiment !== undefined) this.#write(this.#reading.experiment);
  }
}

/** The experiment in an address and how its run is shown, without the parts of other views. */
function saidIn(query: string): string {
  return JSON.stringify([fromQuery(query), shownIn(query)]);
}

/** How an address shows a run: both variants or one, and the hop. */
function shownIn(query: string): [compare: boolean, hop: number | undefined] {
  const given = new URLSearchParams(query);
  const hop = given.get("hop");
  return [given.get("compare") === "1", hop !== null && /^\d{1,2}$/.test(hop) ? Number(hop) : undefined];
}
