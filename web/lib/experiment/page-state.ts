/** The page's state in one place: the experiment as typed, the adapter, the run, and the address that reproduces it. */
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

/**
 * Fires "change" whenever anything of it changed. Views read it and call its methods; they hold no state of the
 * experiment themselves.
 */
export class PageState extends EventTarget {
  #draft: Draft;
  /** What the address said last. */
  #said = saidIn(location.search);
  #reading: Reading;
  #adapter: Adapter | undefined;
  #ranks = new Ranks();
  #runner = new Runner(this.#ranks);
  /** Runs the other variant on the same input, on the same ranks. */
  #second = new Runner(this.#ranks);
  #compare: boolean;
  #hop: number | undefined;
  /** What the sentence said of the shape before own data fixed it. */
  #before: Partial<Draft> = {};
  /** What the open view has in the address beside the experiment. */
  aside: Readonly<Record<string, string>> = {};
  /** Set by a view that steps through: runs that begin while it is there halt. */
  halting: Halting | undefined;
  /** The visitor's own files, which no address can carry. */
  readonly own = new Intake((data) => this.#fit(data));
  /** What is pointed at and when, on the stage and on the timelines. */
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
      // Going to another view changes the hash, or what that view writes into the query, and leaves what is being
      // typed.
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

  /** Undefined until the browser has answered. */
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

  /** True where both keptKernels are run and shown beside each other. */
  get compare(): boolean {
    return this.#compare;
  }

  /** The hop at which the stage opens, where the address names one; N is the All2All. */
  get hop(): number | undefined {
    return this.#hop;
  }

  /** Where a run would be computed now: WebGPU only where there is an adapter. */
  get backend(): Backend {
    return this.#reading.experiment?.backend === "cpu" ? "cpu" : this.#usable;
  }

  get #usable(): Backend {
    return this.#adapter?.webgpu === false ? "cpu" : "webgpu";
  }

  /** True where the visitor's files say what stands in a field. */
  fixed(field: Field): boolean {
    return this.own.data !== undefined && (shapeFields as readonly Field[]).includes(field);
  }

  /** True where what is shown was run for another experiment, or on other inputs, than the sentence now says. */
  get stale(): boolean {
    return this.state.experiment !== undefined &&
      (!same(this.state.experiment, this.#reading.experiment) || this.state.own !== this.own.data);
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
    this.selection.clear();
    this.#second.clear();
    await this.#runner.run(experiment, this.backend, data, this.halting);
    await this.#runOther();
  }

  /** Cancels the run under way. */
  cancel(): void {
    this.#runner.cancel();
    this.#second.cancel();
  }

  /** Shows both keptKernels on the same input, and runs the one that has not been; or shows one alone. */
  async comparing(on: boolean): Promise<void> {
    this.#compare = on;
    if (!on) this.#second.cancel();
    this.#rewrite();
    this.#changed();
    await this.#runOther();
  }

  /** Notes in the address at which hop the stage stands. */
  standAt(hop: number | undefined): void {
    if (hop === this.#hop) return;
    this.#hop = hop;
    this.#rewrite();
  }

  /** Runs the other variant where both are to be shown and it has not been run, on what was run last. */
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
    if (this.own.data === undefined) {
      this.#before = Object.fromEntries(shapeFields.map((field) => [field, this.#draft[field]]));
    }
  }

  #take(draft: Draft): void {
    this.#draft = draft;
    this.#reading = read(draft);
    this.#changed();
  }

  /** Puts what a view shows into the address, beside the experiment. */
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

  /** Writes what is shown of the experiment that the sentence says, where it can be read. */
  #rewrite(): void {
    if (this.#reading.experiment !== undefined) this.#write(this.#reading.experiment);
  }
}

/** What an address says of the experiment and of how its run is shown; what other views wrote is left out. */
function saidIn(query: string): string {
  return JSON.stringify([fromQuery(query), shownIn(query)]);
}

/** What an address says of how a run is shown: both keptKernels or one, and the hop. */
function shownIn(query: string): [compare: boolean, hop: number | undefined] {
  const given = new URLSearchParams(query);
  const hop = given.get("hop");
  return [given.get("compare") === "1", hop !== null && /^\d{1,2}$/.test(hop) ? Number(hop) : undefined];
}
