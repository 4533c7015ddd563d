/** A chapter of Learn: controls, a model that the engine computes from them, and prose that shows its values. */
import { html, type TemplateResult } from "lit";
import type { Slow } from "./models/slow.ts";

/** One thing that the reader can change. Numbers get a slider over `values`, words a list. */
export interface Control<V extends number | string = number | string> {
  readonly label: string;
  /** Its possible values in order; a function of the state if they depend on other controls. */
  readonly values: readonly V[] | ((state: AnyState) => readonly V[]);
  readonly initial: V;
  /** The value as text for people; `String(value)` by default. */
  say?(value: V): string;
}

/** A chapter's controls by name. The address uses the same names. */
export type Controls = Readonly<Record<string, Control<number> | Control<string>>>;
/** The values of the controls. */
export type State<C extends Controls> = { readonly [K in keyof C]: C[K]["initial"] };
/** The state of any chapter. */
export type AnyState = Readonly<Record<string, number | string>>;

/** Everything that a chapter is drawn from. `controls` draws the named controls. */
export interface Page<C extends Controls, M> {
  readonly model: M;
  readonly state: State<C>;
  readonly controls: (...names: (keyof C & string)[]) => TemplateResult;
}

/** A link to the experiment of a chapter. */
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
  /** Everything that the chapter shows, computed by the engine. `slow` computes what takes longer than a frame. */
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

/** A list of words, each with its text for people. */
export function choice<K extends string>(
  label: string,
  words: Readonly<Record<K, string>>,
  initial: NoInfer<K>,
): Control<K> {
  return { label, values: Object.keys(words) as K[], initial, say: (value) => words[value] };
}

/** The values that a control can have now. */
export function valuesOf(control: Control<number> | Control<string>, state: AnyState): readonly (number | string)[] {
  return typeof control.values === "function" ? control.values(state) : control.values;
}

/** A state in which every control has a possible value: numbers move to the nearest, words to the initial one. */
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

/** A value of the model in prose. Hovering it lights up every other place with the same key. */
export function v(key: string, text: string): TemplateResult {
  return html`<b class="v" data-v=${key}>${text}</b>`;
}
