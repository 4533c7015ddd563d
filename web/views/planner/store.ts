/** The view's state: the question as typed, the parts of the answer, the computation under way, and the address. */
import { type Field, names, type Question, toQuery } from "../../lib/address/plan.ts";
import { MAX_GPUS } from "./layouts.ts";
import { type Answers, ask, RefusedQuestion, type Request } from "./requests.ts";
import { type Draft, draftOf, fromQuery, read, type Reading, tidy } from "./state.ts";

/** A part of the answer. */
export type Kind = Exclude<Request["kind"], "trace">;

/** A part: its last value, the question of that value, and what went wrong. */
export interface Part<K extends Kind> {
  readonly value?: Answers[K];
  /** The part of the question on which the value depends. */
  readonly key?: string;
  /** The question of the value. Others with the same key have the same value. */
  readonly question?: Question;
  readonly failure?: string;
  readonly cancelled?: boolean;
}

/** Fires "change" on each change. */
export class PlannerStore extends EventTarget {
  #draft: Draft;
  #reading: Reading;
  /** True if the plan counts a persistent KV cache. */
  persistent: boolean;
  parts: { readonly [K in Kind]: Part<K> } = { plan: {}, curves: {}, grid: {}, layouts: {}, report: {} };
  /** The computation under way. */
  now: { readonly kind: Kind; readonly done: number; readonly total: number } | undefined;
  /** Why the engine rejects the question; empty if it does not. */
  refused = "";
  /** The question of the plan shown. */
  asked: Question | undefined;
  /** Whether somebody typed in a field since it was last read. */
  #typed = false;
  #search = "";
  #work: AbortController | undefined;

  constructor() {
    super();
    const { draft, persistent } = fromQuery(location.search);
    this.#draft = draft;
    this.persistent = persistent;
    this.#reading = read(draft, persistent);
  }

  get draft(): Draft {
    return this.#draft;
  }

  get reading(): Reading {
    return this.#reading;
  }

  /** True if the sentence has a question that the engine accepts so far. */
  get possible(): boolean {
    return this.#reading.question !== undefined && this.refused === "";
  }

  /** What is wrong with the sentence. A refusal of the engine belongs to the field that its text begins with. */
  get problems(): ReadonlyMap<string, string> {
    if (this.refused === "") return this.#reading.problems;
    const field = Object.keys(names).find((name) => new RegExp(`^${name}[ :]`).test(this.refused));
    return new Map([[field ?? "refused", this.refused]]);
  }

  /** Whether a part answers another question than the sentence now asks. */
  stale(kind: Kind): boolean {
    const { question } = this.#reading;
    return question === undefined || this.parts[kind].key !== keyOf(kind, question);
  }

  /** Takes the question of the address. */
  begin(): void {
    this.#search = location.search;
    this.#take(location.search);
  }

  /** Follows the address, unless it leads to another view: nothing is written into that view's address. */
  sync(): void {
    if (location.search !== this.#search && location.hash === "#planner") this.begin();
  }

  #take(query: string): void {
    const { draft, persistent } = fromQuery(query);
    this.#draft = draft;
    this.persistent = persistent;
    this.ask();
  }

  /** Puts a text in a field. The plan and the address follow once all fields can be read. */
  edit(field: Field, text: string): void {
    const next = { ...this.#draft, [field]: tidy(field, text) };
    if (next[field] !== this.#draft[field] || this.#typed) this.persistent = false;
    this.#typed = false;
    this.#draft = next;
    this.ask();
  }

  /** Notes a text while somebody types it. */
  type(field: Field, text: string): void {
    this.#draft = { ...this.#draft, [field]: text };
    this.#typed = true;
    this.#changed();
  }

  /** Puts the choice from a chart or table into the sentence. */
  pick(part: Partial<Question>): void {
    const { question } = this.#reading;
    if (question === undefined && this.asked === undefined) return;
    const { persistent = false, ...rest } = part;
    this.persistent = persistent;
    this.#draft = {
      ...this.#draft,
      ...Object.fromEntries(
        Object.entries(draftOf({ ...question!, ...rest })).filter(([field]) => Object.hasOwn(rest, field)),
      ),
    };
    this.ask();
  }

  /** Reads the sentence and computes the answer. */
  ask(): void {
    this.#reading = read(this.#draft, this.persistent);
    this.refused = "";
    const { question } = this.#reading;
    if (question === undefined) {
      this.stop();
      this.now = undefined;
    } else {
      history.replaceState(null, "", `?${toQuery(question, location.search)}${location.hash}`);
      this.#search = location.search;
      void this.#run(question);
    }
    this.#changed();
  }

  /** Ends the computation under way. */
  stop(): void {
    this.#work?.abort();
  }

  /** Ends the computation under way, and marks the parts without a value as cancelled. */
  cancel(): void {
    this.stop();
    this.now = undefined;
    for (const kind of Object.keys(this.parts) as Kind[]) {
      if (this.parts[kind].value === undefined) this.#set(kind, { cancelled: true });
    }
    this.#changed();
  }

  /** Computes all parts of an answer in turn, except those that are known. A newer question replaces an older one. */
  async #run(question: Question): Promise<void> {
    this.stop();
    const work = new AbortController();
    this.#work = work;
    for (const kind of ["plan", "curves", "grid", "layouts", "report"] as const) {
      if (this.parts[kind].cancelled) this.#set(kind, {});
    }
    const wanted: readonly Extract<Request, { kind: Kind }>[] = [
      { kind: "plan", question },
      { kind: "curves", question },
      ...(question.cp === 1 ? [] : [{ kind: "grid", question } as const]),
      { kind: "layouts", question, maxGpus: MAX_GPUS },
      { kind: "report" },
    ];
    for (const request of wanted) {
      const { kind } = request;
      const key = keyOf(kind, question);
      const part = this.parts[kind];
      if (part.value !== undefined && part.key === key) continue;
      this.#under({ kind, done: 0, total: 0 });
      try {
        const value = await ask(
          request as never,
          work.signal,
          (done, total) => !work.signal.aborted && this.#under({ kind, done, total }),
        );
        if (work.signal.aborted) return;
        if (kind === "plan") this.asked = question;
        this.#set(kind, { value: value as never, key, question });
      } catch (error) {
        if (work.signal.aborted) return;
        const message = error instanceof Error ? error.message : String(error);
        // The sentence shows why the engine rejects a question. A sweep in which nothing fits is a result.
        if (error instanceof RefusedQuestion && kind === "plan") {
          this.refused = message;
          return this.#under(undefined);
        }
        this.#set(kind, { failure: message });
      }
    }
    this.#under(undefined);
  }

  #under(now: PlannerStore["now"]): void {
    this.now = now;
    this.#changed();
  }

  #set<K extends Kind>(kind: K, part: Part<K>): void {
    this.parts = { ...this.parts, [kind]: part };
    this.#changed();
  }

  #changed(): void {
    this.dispatchEvent(new Event("change"));
  }
}

/** The part of a question on which an answer depends. Two questions with the same key have the same answer. */
function keyOf(kind: Kind, question: Question): string {
  const { cp, tp, model, accelerator, fabric, mask, size, dealing } = question;
  if (kind === "plan") return toQuery(question);
  if (kind === "layouts") return toQuery({ ...question, cp: 1, tp: 1, variant: "auto" });
  return kind === "report" ? "" : [cp, tp, model, accelerator, fabric, mask, size, dealing].join();
}
