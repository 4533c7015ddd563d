/** Lets the ranks of a halting run continue, keeps their reports, and knows the selected rank, hop, token and head. */
import { exactPartials } from "../../lib/experiment/check.ts";
import type { Halt } from "../../engine/run.ts";
import type { ExactHop } from "../../lib/experiment/exact.ts";
import type { Experiment } from "../../lib/experiment/experiment.ts";
import type { OwnData } from "../../lib/own/data.ts";
import type { Halting } from "../../lib/experiment/run.ts";
import type { PageState } from "../../lib/experiment/page-state.ts";
import { haltPointsOf, homeOf, keysByHop, standing, type Walk, watchOf } from "./model.ts";

/** The selected rank, halt, token, head and dimension. */
export interface StepSelection {
  readonly rank: number;
  /** Id of a halt point; undefined for the rank's current one. */
  readonly hop: string | undefined;
  readonly token: number;
  readonly head: number;
  /** First dimension of the excerpts. */
  readonly dim: number;
}

/** Fires "change" on each change. It outlives the view's element: a run stays halted while another view is open. */
export class Stepper extends EventTarget implements Halting {
  readonly page: PageState;
  #walk: Walk | undefined;
  #own: OwnData | undefined;
  /** The point at which each rank halts next. */
  #goals: number[] = [];
  #selection: StepSelection;
  #exact: {
    readonly walk: Walk;
    readonly row: number;
    hops?: readonly ExactHop[];
    problem?: string;
    readonly abort: AbortController;
  } | undefined;

  constructor(page: PageState) {
    super();
    this.page = page;
    this.#selection = readSelection(location.search);
    page.addEventListener("change", () => this.#changed());
  }

  /** The last run that halts. */
  get walk(): Walk | undefined {
    return this.#walk;
  }

  /** True if the page's last run is the one that halted here. */
  get current(): boolean {
    return this.#walk !== undefined && this.page.state.experiment === this.#walk.experiment;
  }

  /** True while ranks can continue. */
  get live(): boolean {
    return this.current && this.page.running && this.page.state.phase === "attending";
  }

  /** The selection, within the bounds of the run or else of the sentence. */
  get selection(): StepSelection & { readonly point: number } {
    const walk = this.#walk;
    const experiment = walk?.experiment ?? this.page.reading.experiment;
    const { rank, hop, token, head, dim } = this.#selection;
    const within = (value: number, most: number) => Math.max(0, Math.min(value, most));
    const points = walk?.points ?? (experiment === undefined ? [] : haltPointsOf(experiment));
    const own = within(rank, (experiment?.N ?? 1) - 1);
    const asked = points.findIndex(({ id }) => id === hop);
    return {
      rank: own,
      hop,
      token: within(token, (experiment?.T ?? 1) - 1),
      head: within(head, (experiment?.H ?? 1) - 1),
      dim: within(dim, (experiment?.Dv ?? experiment?.D ?? 4) - 4),
      point: asked >= 0 ? asked : Math.max(0, (walk?.log[own].length ?? 0) - 1),
    };
  }

  /** Float64's partials of the token, or a problem, or neither while they are under way. */
  get exact(): { readonly hops?: readonly ExactHop[]; readonly problem?: string } {
    return this.#exact ?? {};
  }

  /** Changes the selection. The address follows. */
  select(change: Partial<StepSelection>): void {
    const { point: _, ...now } = this.selection;
    this.#selection = { ...now, ...change };
    this.page.note(this.address);
    this.#changed();
  }

  /** The selection in the address. Absent values are 0, or the rank's current halt. */
  get address(): Readonly<Record<string, string>> {
    const { hop, ...numbers } = this.#selection;
    return Object.fromEntries([
      ...Object.entries(numbers).flatMap(([key, value]) => (value === 0 ? [] : [[key, String(value)]])),
      ...(hop === undefined ? [] : [["hop", hop]]),
    ]);
  }

  begin(
    experiment: Experiment,
    own: OwnData | undefined,
  ): { onHalt: (halt: Halt) => void; watch: readonly number[] | undefined } {
    const watch = watchOf(experiment, this.#selection.token);
    const walk: Walk = {
      experiment,
      points: haltPointsOf(experiment),
      log: Array.from({ length: experiment.N }, () => []),
      left: new Array<number>(experiment.N).fill(0),
      watch,
    };
    this.#walk = walk;
    this.#own = own;
    this.#goals = walk.left.map(() => 0);
    this.#forget();
    return { watch, onHalt: (halt) => this.#walk === walk && this.#take(walk, halt) };
  }

  /** Lets the ranks that are furthest behind continue by one hop. */
  stepAll(): void {
    const { log, points } = this.#walk!;
    const behind = Math.min(...log.map((own) => own.length - 1));
    this.#go(() => Math.min(behind + 1, points.length - 1));
  }

  /** Lets one rank continue by one hop. */
  stepRank(rank: number): void {
    const { log } = this.#walk!;
    this.#go((goal, k) => (k === rank ? log[k].length : goal));
  }

  /** Lets every rank continue until it halts at a point. */
  runTo(point: number): void {
    this.#go(() => point);
  }

  /** Lets every rank continue to its end. */
  runToEnd(): void {
    this.#go(() => Infinity);
  }

  /** Makes a halted rank fail on purpose. */
  strike(rank: number, kind: "exit" | "lose-device"): void {
    this.#walk!.log[rank].at(-1)!.strike(kind);
  }

  #go(goal: (now: number, rank: number) => number): void {
    const walk = this.#walk!;
    this.#goals = this.#goals.map((now, rank) => Math.max(now, goal(now, rank)));
    for (let rank = 0; rank < walk.log.length; rank++) this.#leave(walk, rank);
    this.#changed();
  }

  #leave(walk: Walk, rank: number): void {
    const point = walk.log[rank].length - 1;
    if (standing(walk, rank) !== "halted" || point >= this.#goals[rank]) return;
    walk.left[rank] = point + 1;
    walk.log[rank][point].leave();
  }

  #take(walk: Walk, halt: Halt): void {
    walk.log[halt.rank][walk.points.findIndex(({ next, hop }) => next === halt.next && hop === halt.hop)] = halt;
    this.#leave(walk, halt.rank);
    this.#changed();
  }

  #forget(): void {
    this.#exact?.abort.abort();
    this.#exact = undefined;
  }

  /** Asks for float64's partials of the token, once per token and run, when it is known which rank holds which keys. */
  #ask(): void {
    const walk = this.#walk;
    if (walk === undefined) return;
    const row = this.selection.token;
    if (this.#exact?.walk === walk && this.#exact.row === row) return;
    const home = homeOf(walk, row);
    const keys = home === undefined ? undefined : keysByHop(walk, home);
    if (keys === undefined) return;
    this.#forget();
    const asked: NonNullable<Stepper["exact"]> & {
      walk: Walk;
      row: number;
      abort: AbortController;
      hops?: readonly ExactHop[];
      problem?: string;
    } = { walk, row, abort: new AbortController() };
    this.#exact = asked;
    exactPartials(walk.experiment, this.#own?.files, row, keys.map(({ runs }) => runs), asked.abort.signal).then(
      (hops) => (asked.hops = hops),
      (error: unknown) => (asked.problem = error instanceof Error ? error.message : String(error)),
    ).then(() => this.#exact === asked && this.dispatchEvent(new Event("change")));
  }

  #changed(): void {
    this.#ask();
    this.dispatchEvent(new Event("change"));
  }
}

/** The selection of an address. */
export function readSelection(search: string): StepSelection {
  const query = new URLSearchParams(search);
  const whole = (key: string) => {
    const value = Number(query.get(key) ?? 0);
    return Number.isSafeInteger(value) && value >= 0 ? value : 0;
  };
  return {
    rank: whole("rank"),
    hop: query.get("hop") ?? undefined,
    token: whole("token"),
    head: whole("head"),
    dim: whole("dim"),
  };
}

let only: Stepper | undefined;

/** The page's only stepper. */
export function stepperOf(page: PageState): Stepper {
  return (only ??= new Stepper(page));
}
