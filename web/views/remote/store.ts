/** The view's state: the experiment as typed, the connection, the run, what the stage shows, and the address. */
import type { PageState } from "../../lib/experiment/page-state.ts";
import type { Failure } from "./failure.ts";
import { Connection } from "./connection.ts";
import {
  type Draft,
  draftOf,
  type Field,
  fromLab,
  fromQuery,
  presets,
  read,
  type Reading,
  type RemoteExperiment,
  same,
  tidy,
  toQuery,
  withPreset,
} from "./model.ts";
import { type Opened, openFile, openShipped, shippedOf } from "./open.ts";
import { RemoteRunner } from "./runner.ts";

/** What the stage shows: a run of this page, or a file. */
export type Shown = { readonly kind: "live" } | Opened;

/** Fires "change" on each change. It outlives the view's element: the visitor may open another view during a run. */
export class RemoteStore extends EventTarget {
  readonly connection = new Connection();
  readonly runner = new RemoteRunner();
  readonly #page: PageState;
  #draft: Draft;
  #reading: Reading;
  #search = location.search;
  #shown: Shown = { kind: "live" };
  #opening: { readonly what: string; readonly abort: AbortController } | undefined;
  #problem: Failure | undefined;
  #accelerator: string | undefined;

  constructor(page: PageState) {
    super();
    this.#page = page;
    this.#draft = fromQuery(location.search);
    this.#reading = read(this.#draft);
    this.#accelerator = new URLSearchParams(location.search).get("against") ?? undefined;
    this.connection.addEventListener("change", () => this.#changed());
    this.runner.addEventListener("change", () => this.#changed());
    addEventListener("popstate", () => this.sync());
    addEventListener("pagehide", () => this.connection.disconnect());
    this.#openOfAddress();
  }

  get draft(): Draft {
    return this.#draft;
  }

  get reading(): Reading {
    return this.#reading;
  }

  get shown(): Shown {
    return this.#shown;
  }

  /** The file that the page is reading. */
  get opening(): string | undefined {
    return this.#opening?.what;
  }

  /** Why the last file was rejected. */
  get problem(): Failure | undefined {
    return this.#problem;
  }

  /** The hardware row to plan on; undefined for the nearest. */
  get accelerator(): string | undefined {
    return this.#accelerator;
  }

  /** The Lab's experiment, if it can be sent. */
  get lab(): RemoteExperiment | undefined {
    const { experiment } = this.#page.reading;
    if (experiment === undefined) return undefined;
    const taken = fromLab(experiment);
    return taken === undefined || read(draftOf(taken)).experiment === undefined ? undefined : taken;
  }

  /** True if the run shown is of another experiment than the one typed now. */
  get stale(): boolean {
    const { job } = this.runner;
    return this.#shown.kind === "live" && job !== undefined && !same(job.experiment, this.#reading.experiment);
  }

  /** Follows the address: another view, or a step back, may have changed it. */
  sync(): void {
    if (location.search === this.#search) return;
    this.#search = location.search;
    this.#accelerator = new URLSearchParams(location.search).get("against") ?? undefined;
    this.#take(fromQuery(location.search));
    this.#openOfAddress();
  }

  /** Notes a text while somebody types it. `edit` reads it. */
  type(field: Field, text: string): void {
    this.#draft = { ...this.#draft, [field]: text };
  }

  edit(field: Field, text: string): void {
    this.type(field, text);
    this.#take(
      Object.fromEntries(
        Object.entries(this.#draft).map(([name, value]) => [name, tidy(name as Field, value)]),
      ) as Record<Field, string>,
    );
    this.#write();
  }

  /** Puts an experiment into the sentence. */
  use(experiment: RemoteExperiment): void {
    this.#take(draftOf(experiment));
    this.#write();
  }

  usePreset(id: string): void {
    const preset = presets.find((p) => p.id === id);
    if (preset === undefined) return;
    const now = this.#reading.experiment ??
      read({ ...draftOf(read(fromQuery("")).experiment!), work: this.#draft.work }).experiment;
    if (now !== undefined) this.use(withPreset(now, preset));
  }

  /** Plans on another hardware row; undefined for the nearest. */
  planOn(accelerator: string | undefined): void {
    this.#accelerator = accelerator;
    this.#write();
    this.#changed();
  }

  /** Runs the experiment. Does nothing if a field can't be read, there is no connection, or a run is under way. */
  async run(): Promise<void> {
    const { experiment } = this.#reading;
    const { remote } = this.connection;
    if (experiment === undefined || remote === undefined || this.runner.running) return;
    this.#show({ kind: "live" });
    await this.runner.run(experiment, remote);
  }

  /** Opens a dropped or chosen file. A rejected file changes only the message. */
  async open(file: File): Promise<void> {
    await this.#open(file.name, (signal) => openFile(file, signal));
  }

  /** Opens a run that ships with the page. */
  async openShipped(id: string): Promise<void> {
    await this.#open(shippedOf(id)?.title ?? id, (signal) => openShipped(id, signal));
  }

  /** Shows a document of the machine. */
  show(opened: Opened): void {
    this.#problem = undefined;
    this.#show(opened);
  }

  /** Goes back to the runs of this page. */
  close(): void {
    this.#opening?.abort.abort();
    this.#opening = undefined;
    this.#problem = undefined;
    this.#show({ kind: "live" });
  }

  async #open(what: string, load: (signal: AbortSignal) => Promise<Opened>): Promise<void> {
    this.#opening?.abort.abort();
    const abort = new AbortController();
    this.#opening = { what, abort };
    this.#problem = undefined;
    this.#changed();
    try {
      const opened = await load(abort.signal);
      if (abort.signal.aborted) return;
      this.#opening = undefined;
      this.#show(opened);
    } catch (error) {
      if (abort.signal.aborted) return;
      this.#opening = undefined;
      this.#problem = {
        title: `${what} cannot be opened`,
        message: error instanceof Error ? error.message : String(error),
        advice: "Nothing has changed.",
      };
      this.#changed();
    }
  }

  #openOfAddress(): void {
    const id = new URLSearchParams(location.search).get("run");
    const open = this.#shown.kind === "live" ? undefined : this.#shown.shipped;
    if (id === null ? open !== undefined : id !== open) void (id === null ? this.close() : this.openShipped(id));
  }

  #show(shown: Shown): void {
    this.#shown = shown;
    if (shown.kind === "run") this.#take(draftOf(shown.run.experiment));
    this.#write();
    this.#changed();
  }

  #take(draft: Draft): void {
    this.#draft = draft;
    this.#reading = read(draft);
    this.#changed();
  }

  #write(): void {
    const { experiment } = this.#reading;
    if (experiment === undefined) return;
    const query = new URLSearchParams(toQuery(experiment, location.search));
    const shipped = this.#shown.kind === "live" ? undefined : this.#shown.shipped;
    for (const [key, value] of [["run", shipped], ["against", this.#accelerator]] as const) {
      if (value === undefined) query.delete(key);
      else query.set(key, value);
    }
    history.replaceState(null, "", `?${query.toString().replaceAll("%2C", ",")}${location.hash}`);
    this.#search = location.search;
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}

const stores = new WeakMap<PageState, RemoteStore>();

/** The store of the page. */
export function storeOf(page: PageState): RemoteStore {
  const found = stores.get(page) ?? new RemoteStore(page);
  stores.set(page, found);
  return found;
}
