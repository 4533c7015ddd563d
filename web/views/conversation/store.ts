/** The view's state: the conversation as typed, the one that runs, the selected step, and the address of all that. */
import type { Backend } from "../../engine/run.ts";
import type { PageState } from "../../lib/experiment/page-state.ts";
import {
  type ConversationDraft,
  type Field,
  fromQuery,
  letter,
  type PartDraft,
  presets,
  read,
  type Reading,
  tidied,
  turnsOf,
} from "./model.ts";
import { toQuery } from "../../lib/address/conversation.ts";
import { type Done, Talk } from "./talk.ts";

/** Fires "change" on each change. It outlives the view's element: the visitor may open another view during a run. */
export class ConversationStore extends EventTarget {
  readonly talk = new Talk();
  readonly #page: PageState;
  #draft: ConversationDraft;
  #reading: Reading;
  #search = location.search;
  /** Index among the finished steps, or undefined for the last. */
  #selected: number | undefined;

  constructor(page: PageState) {
    super();
    this.#page = page;
    this.#draft = fromQuery(location.search);
    this.#reading = read(this.#draft);
    this.talk.addEventListener("change", () => this.#changed());
    page.addEventListener("change", () => this.#changed());
    addEventListener("popstate", () => this.sync());
    addEventListener("pagehide", () => void this.talk.dispose());
  }

  get draft(): ConversationDraft {
    return this.#draft;
  }

  get reading(): Reading {
    return this.#reading;
  }

  get adapter(): PageState["adapter"] {
    return this.#page.adapter;
  }

  /** What would compute a run now: WebGPU only if there is an adapter. */
  get backend(): Backend {
    return this.adapter?.webgpu === false ? "cpu" : (this.#reading.conversation?.backend ?? "webgpu");
  }

  /** True if Run continues after the finished steps. */
  get goesOn(): boolean {
    const { conversation } = this.#reading;
    return this.talk.continues(conversation, this.backend) && this.talk.next(conversation!) !== undefined;
  }

  /** True if the steps shown are of another conversation than the one typed now. */
  get stale(): boolean {
    return this.talk.steps.length > 0 && !this.talk.continues(this.#reading.conversation, this.backend);
  }

  /** The selected step. */
  get selected(): Done | undefined {
    const { steps } = this.talk;
    return steps[Math.min(this.#selected ?? Infinity, steps.length - 1)];
  }

  get selectedIndex(): number {
    return Math.min(this.#selected ?? Infinity, this.talk.steps.length - 1);
  }

  select(index: number): void {
    const { length } = this.talk.steps;
    this.#selected = Math.max(0, Math.min(length - 1, index));
    this.#changed();
  }

  /** Follows the address: another view may have changed their shared part. */
  sync(): void {
    if (location.search === this.#search) return;
    this.#search = location.search;
    this.#take(fromQuery(location.search, this.#draft));
  }

  /** Notes a text while somebody types it. `commit` reads it. */
  type(field: Field, text: string): void {
    this.#draft = { ...this.#draft, fields: { ...this.#draft.fields, [field]: text } };
  }

  typePart(turn: number, sequence: number, what: keyof PartDraft, text: string): void {
    this.#draft = {
      ...this.#draft,
      turns: this.#draft.turns.map((parts, t) =>
        parts.map((part, s) => (t === turn && s === sequence ? { ...part, [what]: text } : part))
      ),
    };
  }

  /** Reads all texts. The address follows once all can be read. */
  commit(): void {
    this.#edit(tidied(this.#draft));
  }

  edit(field: Field, text: string): void {
    this.type(field, text);
    if (field === "sequences") {
      const sequences = text === "2" ? 2 : 1;
      const turns = this.#draft.turns.map((parts, t) =>
        Array.from({ length: sequences }, (_, s) => parts[s] ?? { prompt: t === 0 ? "96" : "24", reply: "4" })
      );
      this.#draft = { ...this.#draft, turns };
    }
    this.commit();
  }

  addTurn(): void {
    const { turns } = this.#draft;
    const parts = (turns.at(-1) ?? []).map(() => ({ prompt: "32", reply: "4" }));
    this.#edit({ ...this.#draft, turns: [...turns, parts] });
  }

  removeTurn(turn: number): void {
    this.#edit({ ...this.#draft, turns: this.#draft.turns.filter((_, t) => t !== turn) });
  }

  usePreset(id: string): void {
    const preset = presets.find((p) => p.id === id);
    if (preset === undefined) return;
    const turns = turnsOf(preset.turns);
    this.#edit({ fields: { ...this.#draft.fields, sequences: String(turns[0].length), kill: "none" }, turns });
  }

  /** Runs the next turn, or all remaining ones. Does nothing if something can't be read. */
  async run(until: "turn" | "end"): Promise<void> {
    this.commit();
    const { conversation } = this.#reading;
    if (conversation === undefined || this.talk.running) return;
    this.#selected = undefined;
    // The back-end depends on the adapter: wait until the browser has named it.
    if (this.adapter === undefined) {
      await new Promise<void>((resolve) => this.#page.addEventListener("change", () => resolve(), { once: true }));
    }
    await this.talk.run(conversation, this.backend, until);
  }

  async startOver(): Promise<void> {
    this.#selected = undefined;
    await this.talk.startOver();
  }

  #edit(draft: ConversationDraft): void {
    this.#take(draft);
    const { conversation } = this.#reading;
    if (conversation !== undefined) {
      const query = toQuery(conversation, location.search);
      if (`?${query}` !== location.search) history.replaceState(null, "", `?${query}${location.hash}`);
    }
    this.#search = location.search;
  }

  #take(draft: ConversationDraft): void {
    this.#draft = draft;
    this.#reading = read(draft);
    this.#changed();
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}

const stores = new WeakMap<PageState, ConversationStore>();

/** The store of the page. */
export function storeOf(page: PageState): ConversationStore {
  let store = stores.get(page);
  if (store === undefined) stores.set(page, store = new ConversationStore(page));
  return store;
}

/** "Turn 2" or "Turn 2, sequence A". */
export function turnName(turn: number, sequence?: number): string {
  return sequence === undefined ? `Turn ${turn + 1}` : `Turn ${turn + 1}, sequence ${letter(sequence)}`;
}
