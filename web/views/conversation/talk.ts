/**
 * A conversation as it runs: its session on the ranks, step by step, with what failed and was repaired on the way, and
 * the check of each turn.
 */
import {
  type Backend,
  type ClusterFace,
  type Fault,
  type Session,
  type StepReport,
  type StepResult,
} from "../../engine/run.ts";
import { formatCount } from "../../lib/format/format.ts";
import { type Check, type Errors, productsOf } from "../../lib/experiment/judge.ts";
import { type Failure, failureOf } from "../../lib/experiment/run.ts";
import { CHECK_BUDGET } from "../../lib/experiment/rows.ts";
import { keptKernels } from "../../lib/kept-kernels.ts";
import { startCluster } from "../../lib/start-cluster.ts";
import { checkTurn, makeRows, type TurnOutput, type TurnRows } from "./ask.ts";
import { continues, lengthsOf, rowsOfTurn, type SessionStep, stepsOf } from "./steps.ts";
import type { Conversation } from "../../lib/address/conversation.ts";

/** What is under way, or how it ended. `paused`: some turns are left. */
export type Phase =
  | "empty"
  | "starting"
  | "stepping"
  | "repairing"
  | "checking"
  | "paused"
  | "done"
  | "failed"
  | "cancelled";

/** A step that was done. */
export interface Done {
  readonly kind: "step";
  readonly step: SessionStep;
  readonly report: StepReport;
  readonly capacity: Session["capacity"];
}

/** A step that was not done, with the whole error, or what became of it. */
export interface Incident {
  readonly kind: "failed" | "killed" | "repaired" | "cancelled";
  readonly step: SessionStep;
  readonly title: string;
  readonly message: string;
  readonly advice: string;
}

/** The conversation's list in the order in which it happened. */
export type Entry = Done | Incident;

/** Everything about the conversation that runs or ran. */
export interface TalkState {
  readonly phase: Phase;
  readonly conversation?: Conversation;
  readonly backend?: Backend;
  readonly entries: readonly Entry[];
  /** By turn; a turn that was done and has none is unchecked. */
  readonly checks: ReadonlyMap<number, Check>;
  /** The step under way, or at which it failed. */
  readonly step?: SessionStep;
  readonly progress?: { readonly done: number; readonly total: number };
  /** Where it failed outside of a step: as ranks started, or in a check. */
  readonly failure?: Failure;
}

const nothing: TalkState = { phase: "empty", entries: [], checks: new Map() };

/**
 * Fires "change" on each. One conversation at a time; its ranks and caches stay until another begins or the page goes.
 */
export class Talk extends EventTarget {
  #state: TalkState = nothing;
  #abort: AbortController | undefined;
  #cluster: { readonly key: string; readonly face: ClusterFace } | undefined;
  #session: Session | undefined;
  /** The kernels that it began with: with others it begins anew. */
  #kernels = keptKernels.stamp;
  /** True after a failure or a cancel: ranks may have died, and are replaced before the next step. */
  #doubtful = false;
  /** Rows and outputs of the turn under way. */
  #turn: { readonly turn: number; readonly rows: readonly TurnRows[] } | undefined;
  #unchecked = new Map<number, TurnOutput[]>();

  get state(): TalkState {
    return this.#state;
  }

  get running(): boolean {
    return this.#abort !== undefined;
  }

  /** Steps done. */
  get steps(): readonly Done[] {
    return this.#state.entries.filter((entry) => entry.kind === "step");
  }

  /** Turns of which a step was done. */
  get turnsBegun(): number {
    return Math.max(0, ...this.steps.map(({ step }) => step.turn + 1));
  }

  /** True where a run would go on from what was done, and not begin anew. */
  continues(next: Conversation | undefined, backend: Backend): boolean {
    const { conversation, backend: before } = this.#state;
    return conversation !== undefined && next !== undefined && this.#session !== undefined && before === backend &&
      this.#kernels === keptKernels.stamp && continues(conversation, next, this.turnsBegun);
  }

  /** The step that comes next, where it goes on. */
  next(conversation: Conversation): SessionStep | undefined {
    return stepsOf(conversation)[this.steps.length];
  }

  #set(state: Partial<TalkState>): void {
    this.#state = { ...this.#state, step: undefined, progress: undefined, failure: undefined, ...state };
    this.dispatchEvent(new Event("change"));
  }

  /**
   * Runs the next turn, or all that are left; begins anew unless it goes on. Resolves when done, failed or cancelled.
   */
  async run(conversation: Conversation, backend: Backend, until: "turn" | "end"): Promise<void> {
    if (this.#abort !== undefined) return;
    const abort = new AbortController();
    const { signal } = abort;
    this.#abort = abort;
    let at: SessionStep | undefined;
    try {
      const goesOn = this.continues(conversation, backend) &&
        (this.next(conversation) !== undefined || this.#unchecked.size > 0);
      if (!goesOn) await this.#begin(conversation, backend, signal);
      else {
        this.#set({ phase: "starting", conversation });
        if (this.#doubtful) await this.#cluster!.face.repair();
      }
      this.#doubtful = false;
      const last = this.next(conversation)?.turn;
      for (
        at = this.next(conversation);
        at !== undefined && (until === "end" || at.turn === last);
        at = this.next(conversation)
      ) {
        await this.#do(at, conversation, signal);
        const following = this.next(conversation);
        if (following?.turn !== at.turn) await this.#check(conversation, signal);
      }
      await this.#check(conversation, signal);
      this.#end({ phase: this.next(conversation) === undefined ? "done" : "paused" });
    } catch (error) {
      this.#doubtful = true;
      const checking = this.#state.phase === "checking";
      const stepped = this.#state.phase === "stepping" ? at : undefined;
      if (signal.aborted) {
        const entry: Incident[] = stepped === undefined ? [] : [{
          kind: "cancelled",
          step: stepped,
          title: "Cancelled",
          message: "The step was stopped; every rank's cache is as it was before it.",
          advice: "Run goes on with this step.",
        }];
        this.#end({ phase: "cancelled", step: stepped, entries: [...this.#state.entries, ...entry] });
      } else {
        const failure = failureOf(error, backend);
        if (stepped === undefined) {
          this.#end({
            phase: "failed",
            failure: checking ? { ...failure, title: "The check did not finish" } : failure,
          });
        } else {this.#end({
            phase: "failed",
            step: stepped,
            entries: [...this.#state.entries, {
              kind: "failed",
              step: stepped,
              title: error instanceof Error && error.name === "LimitError" ? "The step does not fit" : failure.title,
              message: failure.message,
              advice: adviceOf(error),
            }],
          });}
      }
      if (this.#state.entries.length === 0 && this.#session === undefined) await this.#dispose();
    }
  }

  /** Forgets the conversation; the ranks stay for the next. */
  async startOver(): Promise<void> {
    if (this.running) return;
    await this.#close();
    this.#state = nothing;
    this.dispatchEvent(new Event("change"));
  }

  /** Cancels what is under way. */
  cancel(): void {
    this.#abort?.abort();
  }

  /** Ends every rank. */
  async dispose(): Promise<void> {
    this.cancel();
    await this.#dispose();
  }

  #end(state: Partial<TalkState>): void {
    this.#abort = undefined;
    this.#set(state);
  }

  async #begin(conversation: Conversation, backend: Backend, signal: AbortSignal): Promise<void> {
    this.#state = nothing;
    this.#set({ phase: "starting", conversation, backend });
    this.#kernels = keptKernels.stamp;
    const { N, H, Hkv, D, link, wire, capacity } = conversation;
    const key = JSON.stringify([N, link, backend, keptKernels.stamp]);
    if (this.#cluster?.key !== key || this.#doubtful) await this.#dispose();
    else await this.#close();
    if (this.#cluster === undefined) {
      this.#cluster = {
        key,
        face: await startCluster({ ranks: N, backend, ...(link === null ? {} : { link }), signal }),
      };
    }
    signal.throwIfAborted();
    this.#session = await this.#cluster.face.session({ heads: H, kvHeads: Hkv, headDim: D, wireDtype: wire, capacity });
  }

  async #close(): Promise<void> {
    const session = this.#session;
    this.#session = undefined;
    this.#turn = undefined;
    this.#unchecked.clear();
    await session?.dispose();
  }

  async #dispose(): Promise<void> {
    await this.#close().catch(() => {});
    const cluster = this.#cluster;
    this.#cluster = undefined;
    this.#doubtful = false;
    await cluster?.face.dispose();
  }

  /** Does one step; a rank that was told to die in it is replaced, and the step done again. */
  async #do(step: SessionStep, conversation: Conversation, signal: AbortSignal): Promise<void> {
    const { kill } = conversation;
    const total = conversation.N ** 2;
    const stepping = (done: number) => this.#set({ phase: "stepping", conversation, step, progress: { done, total } });
    stepping(0);
    const rows = await this.#rows(step, conversation, signal);
    const struck = this.#state.entries.some((entry) =>
      entry.kind === "killed" && entry.step.turn === step.turn && entry.step.index === step.index
    );
    const dies = kill !== null && !struck && kill.turn === step.turn && kill.mode === step.mode &&
      !stepsOf(conversation).some((s) => s.turn === step.turn && s.mode === step.mode && s.index < step.index);
    const { face } = this.#cluster!;
    const session = this.#session!;
    const once = (fault?: Fault): Promise<StepResult> => {
      const how = { signal, fault, onProgress: (done: number) => !signal.aborted && stepping(done) };
      return step.mode === "decode"
        ? session.decode(rows, how)
        : session.prefill(rows, { ...how, variant: conversation.prefills });
    };
    const result = await once(dies ? { rank: kill.rank, hop: kill.hop, kind: "exit" } : undefined).catch(
      async (error: unknown) => {
        if (!dies || signal.aborted || !(error instanceof Error) || error.name !== "RankError") throw error;
        const held = session.tokens.map(({ perRank }) => perRank[kill.rank]).reduce((sum, n) => sum + n, 0);
        const add = (entry: Omit<Incident, "step">, phase: Phase) =>
          this.#set({ phase, conversation, step, entries: [...this.#state.entries, { ...entry, step }] });
        add({
          kind: "killed",
          title: `Rank ${kill.rank} was killed at hop ${kill.hop}`,
          message: error.message,
          advice: "The step left every other rank's cache as it was.",
        }, "repairing");
        const replaced = await face.repair();
        signal.throwIfAborted();
        add({
          kind: "repaired",
          title: `Rank ${replaced.join(", ") || "none"} replaced`,
          message: "",
          advice: `A new worker took its place${
            held === 0
              ? "; nothing was cached there yet"
              : `, was given back the ${formatCount(held)} tokens that the session had cached there`
          }, and the step was done again.`,
        }, "stepping");
        return await once();
      },
    );
    this.#keep(step, result);
    this.#set({
      phase: "stepping",
      conversation,
      entries: [...this.#state.entries, { kind: "step", step, report: result.report, capacity: session.capacity }],
    });
  }

  async #rows(step: SessionStep, conversation: Conversation, signal: AbortSignal) {
    if (this.#turn?.turn !== step.turn || step.index === 0) {
      this.#turn = { turn: step.turn, rows: await makeRows(conversation, rowsOfTurn(conversation, step.turn), signal) };
    }
    const { H, Hkv, D } = conversation;
    return step.rows.map(({ sequence, from, rows }) => {
      const own = this.#turn!.rows.find((r) => r.sequence === sequence)!;
      const at = from - own.from;
      const part = (x: Float32Array, heads: number) => x.subarray(at * heads * D, (at + rows) * heads * D);
      return { sequence, q: part(own.q, H), k: part(own.k, Hkv), v: part(own.v, Hkv) };
    });
  }

  /** Puts a step's rows where the check of their turn finds them. */
  #keep(step: SessionStep, { outputs, report }: StepResult): void {
    const { heads, headDim } = report.shape;
    let turn = this.#unchecked.get(step.turn);
    if (turn === undefined) {
      turn = this.#turn!.rows.map(({ sequence, from, rows }) => ({
        sequence,
        from,
        rows,
        out: new Float32Array(rows * heads * headDim),
        lse: new Float32Array(rows * heads),
      }));
      this.#unchecked.set(step.turn, turn);
    }
    for (const { sequence, out, lse } of outputs) {
      const own = turn.find((t) => t.sequence === sequence)!;
      const at = step.rows.find((r) => r.sequence === sequence)!.from - own.from;
      own.out.set(out, at * heads * headDim);
      own.lse.set(lse, at * heads);
    }
  }

  /** Checks the turns that are done and were not checked yet. */
  async #check(conversation: Conversation, signal: AbortSignal): Promise<void> {
    const next = this.next(conversation);
    for (const [turn, outputs] of [...this.#unchecked]) {
      // A turn under way is checked when it is done.
      if (next?.turn === turn) continue;
      const step = stepsOf(conversation).find((s) => s.turn === turn);
      const checking = (done: number, total: number) =>
        this.#set({ phase: "checking", conversation, step, progress: { done, total } });
      checking(0, outputs.reduce((sum, { rows }) => sum + rows, 0));
      const kernels = this.steps.filter((done) => done.step.turn === turn).map(({ report }) => report.kernel);
      const check = await checkTurn(
        conversation,
        outputs,
        { share: shareOf(conversation), products: productsOf(kernels.join(" + ")) },
        signal,
        checking,
      );
      this.#unchecked.delete(turn);
      this.#set({ phase: "checking", conversation, checks: new Map([...this.#state.checks, [turn, check]]) });
    }
  }
}

/** Of all rows, how many the check's budget allows. */
function shareOf(conversation: Conversation): number {
  const { H, D } = conversation;
  const flops = lengthsOf(conversation).reduce((sum, n) => sum + (4 * D * H * n * (n + 1)) / 2, 0);
  return Math.min(1, CHECK_BUDGET / flops);
}

function adviceOf(error: unknown): string {
  const name = error instanceof Error ? error.name : "";
  if (name === "LimitError") {
    return "Nothing changed on any rank. Make this turn smaller and run on, or give the cache more room, which begins anew.";
  }
  if (name === "RankError") return "Run replaces the rank, gives it back what it had cached, and does the step again.";
  return "Every rank's cache is as it was before the step. Run tries it again.";
}

/** The verdict on every turn that was checked. */
export function overall(checks: ReadonlyMap<number, Check>): Omit<Check, "worst"> | undefined {
  const all = [...checks.values()];
  if (all.length === 0) return undefined;
  const rows = all.reduce((sum, c) => sum + c.rows, 0);
  const side = (of: "out" | "lse"): Errors => ({
    max: Math.max(...all.map((c) => c[of].max)),
    rms: Math.sqrt(all.reduce((sum, c) => sum + c[of].rms ** 2 * c.rows, 0) / rows),
    share: Math.max(...all.map((c) => c[of].share)),
  });
  return {
    out: side("out"),
    lse: side("lse"),
    tolerance: all[0].tolerance,
    passed: all.every((c) => c.passed),
    rows,
    of: all.reduce((sum, c) => sum + c.of, 0),
  };
}
