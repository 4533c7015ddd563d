/** The run of a conversation: a session on the ranks, step by step, with failures, repairs, and a check of each turn. */
import {
  type Backend,
  type ClusterFace,
  type Fault,
  productsOf,
  type Session,
  type StepReport,
  type StepResult,
} from "../../engine/run.ts";
import { formatCount } from "../../lib/format/format.ts";
import type { Check, Errors } from "../../lib/experiment/judge.ts";
import { type Failure, failureOf } from "../../lib/experiment/run.ts";
import { CHECK_BUDGET } from "../../lib/experiment/rows.ts";
import { keptKernels } from "../../lib/kept-kernels.ts";
import { startCluster } from "../../lib/start-cluster.ts";
import { checkTurn, makeRows, type TurnOutput, type TurnRows } from "./ask.ts";
import { continues, lengthsOf, rowsOfTurn, type SessionStep, stepsOf } from "./steps.ts";
import type { Conversation } from "../../lib/address/conversation.ts";

/** What is under way, or how it ended. `paused`: some turns remain. */
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

/** A finished step. */
export interface Done {
  readonly kind: "step";
  readonly step: SessionStep;
  readonly report: StepReport;
  readonly capacity: Session["capacity"];
}

/** A step that failed, with the whole error, or what happened to it. */
export interface Incident {
  readonly kind: "failed" | "killed" | "repaired" | "cancelled";
  readonly step: SessionStep;
  readonly title: string;
  readonly message: string;
  readonly advice: string;
}

/** An entry of the conversation's list, in order of time. */
export type Entry = Done | Incident;

/** Everything about the conversation that runs or ran. */
export interface TalkState {
  readonly phase: Phase;
  readonly conversation?: Conversation;
  readonly backend?: Backend;
  readonly entries: readonly Entry[];
  /** By turn. A finished turn without one is unchecked. */
  readonly checks: ReadonlyMap<number, Check>;
  /** The step under way, or the one that failed. */
  readonly step?: SessionStep;
  readonly progress?: { readonly done: number; readonly total: number };
  /** A failure outside a step: while ranks started, or in a check. */
  readonly failure?: Failure;
}

const nothing: TalkState = { phase: "empty", entries: [], checks: new Map() };

/** Fires "change" on each change. One conversation at a time; its ranks and caches stay until the next one. */
export class Talk extends EventTarget {
  #state: TalkState = nothing;
  #abort: AbortController | undefined;
  #cluster: { readonly key: string; readonly face: ClusterFace } | undefined;
  #session: Session | undefined;
  /** The kernels at the start. With others the conversation starts again. */
  #kernels = keptKernels.stamp;
  /** True after a failure or a cancel: ranks may have died and must be replaced before the next step. */
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

  /** The number of turns with a finished step. */
  get turnsBegun(): number {
    return Math.max(0, ...this.steps.map(({ step }) => step.turn + 1));
  }

  /** True if a run would continue after the finished steps. */
  continues(next: Conversation | undefined, backend: Backend): boolean {
    const { conversation, backend: before } = this.#state;
    return conversation !== undefined && next !== undefined && this.#session !== undefined && before === backend &&
      this.#kernels === keptKernels.stamp && continues(conversation, next, this.turnsBegun);
  }

  /** The next step, if the run continues. */
  next(conversation: Conversation): SessionStep | undefined {
    return stepsOf(conversation)[this.steps.length];
  }

  #set(state: Partial<TalkState>): void {
    this.#state = { ...this.#state, step: undefined, progress: undefined, failure: undefined, ...state };
    this.dispatchEvent(new Event("change"));
  }

  /** Runs the next turn, or all remaining ones. Starts again if it can't continue. Resolves at the end, however it ends. */
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
          message: "You stopped the step. Every rank’s cache is as before it.",
          advice: "Run continues with this step.",
        }];
        this.#end({ phase: "cancelled", step: stepped, entries: [...this.#state.entries, ...entry] });
      } else {
        const failure = failureOf(error, backend);
        if (stepped === undefined) {
          this.#end({
            phase: "failed",
            failure: checking ? { ...failure, title: "The check did not finish" } : failure,
          });
        } else {
          this.#end({
            phase: "failed",
            step: stepped,
            entries: [...this.#state.entries, {
              kind: "failed",
              step: stepped,
              title: error instanceof Error && error.name === "LimitError" ? "The step does not fit" : failure.title,
              message: failure.message,
              advice: adviceOf(error),
            }],
          });
        }
      }
      if (this.#state.entries.length === 0 && this.#session === undefined) await this.#dispose();
    }
  }

  /** Forgets the conversation. The ranks stay for the next one. */
  async startOver(): Promise<void> {
    if (this.running) return;
    await this.#close();
    this.#state = nothing;
    this.dispatchEvent(new Event("change"));
  }

  /** Cancels the run under way. */
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
    const { N, H, Hkv, D, mask, dealing, link, wire, capacity } = conversation;
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
    this.#session = await this.#cluster.face.session({
      heads: H,
      kvHeads: Hkv,
      headDim: D,
      mask,
      dealing,
      wireDtype: wire,
      capacity,
    });
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

  /** Does one step. If a rank dies in it on purpose: replaces the rank and repeats the step. */
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
          advice: "Every other rank’s cache is as before the step.",
        }, "repairing");
        const replaced = await face.repair();
        signal.throwIfAborted();
        add({
          kind: "repaired",
          title: `Rank ${replaced.join(", ") || "none"} replaced`,
          message: "",
          advice: `A new worker took its place${
            held === 0
              ? " with an empty cache, as before"
              : `, got back the ${formatCount(held)} tokens that the session had cached there`
          }, and the step ran again.`,
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

  /** Stores a step's rows for the check of their turn. */
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

  /** Checks the finished turns that are unchecked. */
  async #check(conversation: Conversation, signal: AbortSignal): Promise<void> {
    const next = this.next(conversation);
    for (const [turn, outputs] of [...this.#unchecked]) {
      // The check of a turn waits for its last step.
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

/** The share of all rows that fits the check's budget. */
function shareOf(conversation: Conversation): number {
  const { H, D } = conversation;
  const flops = lengthsOf(conversation).reduce((sum, n) => sum + (4 * D * H * n * (n + 1)) / 2, 0);
  return Math.min(1, CHECK_BUDGET / flops);
}

function adviceOf(error: unknown): string {
  const name = error instanceof Error ? error.name : "";
  if (name === "LimitError") {
    return "Nothing changed on any rank. Make this turn smaller and continue, or enlarge the cache and start again.";
  }
  if (name === "RankError") return "Run replaces the rank, restores its cache, and repeats the step.";
  return "Every rank’s cache is as before the step. Run tries it again.";
}

/** The verdict on all checked turns. */
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
