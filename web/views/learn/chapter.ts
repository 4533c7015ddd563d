/** What a chapter of Learn is: controls, a model that the engine computes from them, and prose bound to it. */
import { html, type TemplateResult } from "lit";
import type { Slow } from "./models/slow.ts";

/** One thing that the reader can change. Numbers are a slider over `values`, words a list. */
export interface Control<V extends number | string = number | string> {
  readonly label: string;
  /** What it can be, in order; where that depends on other controls, a function of the state. */
  readonly values: readonly V[] | ((state: AnyState) => readonly V[]);
  readonly initial: V;
  /** The value as a person reads it; by default as it is. */
  say?(value: V): string;
}

/** A chapter's controls by name, which is also their name in the address. */
export type Controls = Readonly<Record<string, Control<number> | Control<string>>>;
/** What the controls say. */
export type State<C extends Controls> = { readonly [K in keyof C]: C[K]["initial"] };
/** The state of some chapter. */
export type AnyState = Readonly<Record<string, number | string>>;

/** What a chapter is drawn from. `controls` draws the named ones. */
export interface Page<C extends Controls, M> {
  readonly model: M;
  readonly state: State<C>;
  readonly controls: (...names: (keyof C & string)[]) => TemplateResult;
}

/** A link to the experiment of a chapter: where it leads, and what it is. */
export interface Onward {
  readonly href: string;
  /** "Open this in the Lab". */
  readonly label: string;
  /** The experiment in words. */
  readonly words: string;
}

/** One chapter. */
export interface Chapter<C extends Controls = Controls, M = unknown> {
  /** Its name in the address. */
  readonly id: string;
  readonly title: string;
  readonly controls: C;
  /** Everything that the chapter shows, computed by the engine; `slow` computes what takes longer than a frame. */
  model(state: State<C>, slow: Slow): Promise<M>;
  render(page: Page<C, M>): TemplateResult;
  onward(page: Page<C, M>): readonly Onward[];
}

/** Whole numbers from `from` to `to`. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

/** A slider. */
export function slider(
  label: string,
  values: Control<number>["values"],
  initial: number,
  say?: (value: number) => string,
): Control<number> {
  return { label, values, initial, ...(say === undefined ? {} : { say }) };
}

/** A list of words, each with what a person reads. */
export function choice<K extends string>(
  label: string,
  words: Readonly<Record<K, string>>,
  initial: NoInfer<K>,
): Control<K> {
  return { label, values: Object.keys(words) as K[], initial, say: (value) => words[value] };
}

/** What a control can be now. */
export function valuesOf(control: Control<number> | Control<string>, state: AnyState): readonly (number | string)[] {
  return typeof control.values === "function" ? control.values(state) : control.values;
}

/**
 * A state in which every control has a value that it can have: numbers move to the nearest, words to the initial one.
 */
export function settled<C extends Controls>(controls: C, wanted: AnyState): State<C> {
  const state: Record<string, number | string> = {};
  for (const [name, control] of Object.entries(controls)) {
    const value = wanted[name] ?? control.initial;
    const values = valuesOf(control, state);
    state[name] = values.includes(value)
      ? value
      : typeof control.initial === "number"
      ? nearest(values as readonly number[], Number(value))
      : control.initial;
  }
  return state as State<C>;
}

function nearest(values: readonly number[], value: number): number {
  return Number.isNaN(value)
    ? values[0]
    : values.reduce((best, v) => (Math.abs(v - value) < Math.abs(best - value) ? v : best));
}

/** A value of the model in prose or table: hovering it lights every other place of the same key. */
export function v(key: string, text: string): TemplateResult {
  return html`<b class="v" data-v=${key}>${text}</b>`;
}
