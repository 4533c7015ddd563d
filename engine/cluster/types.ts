/** The types of a cluster's face: options, inputs, results and reports. */
import type { Mask } from "../layout/mask.ts";
import type { Dealing, Sequence } from "../layout/shards.ts";
import type { AdapterFacts } from "../gpu/facts.ts";
import type { Replacements } from "../gpu/shaders.ts";
import type { Backend, Fault, HaltState, Held, Link, Mail, MailState, Message, RankTraffic } from "../rank/job.ts";
import type { Variant } from "../ring/contract.ts";
import type { Choice } from "../policy/index.ts";
import type { DType } from "../tensor/dtype.ts";
import type { PrefixOfK } from "../tensor/heads.ts";
import type { Span } from "../trace/span.ts";
import type { Times } from "../trace/summary.ts";

export type { AdapterFacts, Backend, Held, Link, Mail, MailState, Message, PrefixOfK, RankTraffic, Times, Variant };

/** How a cluster is started. */
export interface ClusterOptions {
  /** N, at least 1. */
  readonly ranks: number;
  /** Default "webgpu". */
  readonly backend?: Backend;
  /** Default: as fast as messages between workers. */
  readonly link?: Link;
  /**
   * Seconds from a fault (a chunk that never comes) to the run's error on a quiet machine; default 5. See
   * `report.timeout`.
   */
  readonly timeout?: number;
  /**
   * WGSL texts by kernel name, in place of the shipped ones. `report.kernel` names each replaced kernel's text, or says
   * that it was replaced.
   */
  readonly shaders?: Replacements;
  /**
   * Whether each rank times the kernels that suit its device on the work itself, and keeps the fastest. Default: yes on a
   * GPU, no on a software adapter, whose fastest kernel is known.
   */
  readonly tune?: boolean;
  /** Makes a rank fail on purpose. */
  readonly fault?: Fault;
  /** Ends the start with its reason. */
  readonly signal?: AbortSignal;
}

/** How a session is opened. */
export interface SessionOptions {
  /** H, a multiple of kvHeads. */
  readonly heads: number;
  /** Hkv. */
  readonly kvHeads: number;
  /** D, a multiple of 4 from 16 to 576. */
  readonly headDim: number;
  /** Dv, the head size of values and O; default D. */
  readonly valueDim?: number;
  /** Values are the first elements of each row of K: rows then have no `v`, and one row is cached and sent, not two. */
  readonly v?: PrefixOfK;
  /** What a query sees of its sequence: `causal` (default), `window` or `chunk`. */
  readonly mask?: Mask;
  /** A learned logit for each query head, f32 `[H]`, once in each row's denominator; LSE includes it. */
  readonly sinks?: Float32Array;
  /** How prefills are dealt to the ranks; default "head-tail". */
  readonly dealing?: Dealing;
  /** Default 1/sqrt(D). */
  readonly scale?: number;
  /** The type in which keys and values are cached and sent, and queries sent in pass-Q; default "f32". */
  readonly wireDtype?: DType;
  /** Tokens that each rank's cache must hold; rounded up to whole pages. Default 16,384. */
  readonly capacity?: number;
  /** The variant of prefills; default "auto". Decode is always pass-Q (Algorithm 4). */
  readonly variant?: Variant | "auto";
  /** C (FLOP/s) and BW (bytes/s) of a rank for "auto", in place of rates measured on the cluster. */
  readonly rates?: { readonly flops: number; readonly bandwidth: number };
}

/** New rows of one sequence: q `[T, H, D]`, k `[T, Hkv, D]`, v `[T, Hkv, Dv]`. */
export interface SessionRows {
  /** The sequence's number; a new number begins a sequence. */
  readonly sequence: number;
  /** f32 `[T, H, D]`. */
  readonly q: Float32Array;
  /** f32 `[T, Hkv, D]`. */
  readonly k: Float32Array;
  /** f32 `[T, Hkv, Dv]`; none if the session's values are part of K. */
  readonly v?: Float32Array;
}

/** O `[T, H, Dv]` and LSE `[T, H]` of the new rows of one sequence. */
export interface SessionOutput {
  /** The sequence's number. */
  readonly sequence: number;
  /** O, f32 `[T, H, Dv]`. */
  readonly out: Float32Array;
  /** LSE, f32 `[T, H]`. */
  readonly lse: Float32Array;
}

/** The facts of one step. */
export interface StepReport extends Report {
  /** Steps before this one. */
  readonly step: number;
  /** The kind of step. */
  readonly mode: "prefill" | "decode";
  /** T and P of each sequence of the batch. */
  readonly batch: readonly { readonly sequence: number; readonly new: number; readonly cached: number }[];
  /** T/(T+P) of the whole batch. */
  readonly missRate: number;
  /** Bytes of padding in this step's ring messages, over all ranks. */
  readonly paddingBytes: number;
  /** Tokens of every sequence on every rank after the step: `tokens[i].perRank[k]`. */
  readonly tokens: readonly { readonly sequence: number; readonly perRank: readonly number[] }[];
}

/** A step's results in the order of its batch. */
export interface StepResult {
  /** O and LSE, in the order of the batch. */
  readonly outputs: readonly SessionOutput[];
  /** The facts of the step. */
  readonly report: StepReport;
}

/** One attention experiment. */
export interface AttendInput {
  /** f32 `[sum T, H, D]`. */
  readonly q: Float32Array;
  /** f32 `[sum (T+P), Hkv, D]`, each sequence's cached rows before its new rows. */
  readonly k: Float32Array;
  /** f32 `[sum (T+P), Hkv, Dv]`, or where it lies in K: then pass-KV sends one row a token, not two. */
  readonly v: Float32Array | PrefixOfK;
  /** T and P of each sequence. */
  readonly sequences: readonly Sequence[];
  /** H, a multiple of kvHeads. */
  readonly heads: number;
  /** Hkv. */
  readonly kvHeads: number;
  /** D, a multiple of 4 from 16 to 576. */
  readonly headDim: number;
  /** Dv, the head size of values and O; default D. */
  readonly valueDim?: number;
  /** Default "pass-kv"; "auto" lets Algorithm 5 choose. */
  readonly variant?: Variant | "auto";
  /** C (FLOP/s) and BW (bytes/s) of a rank for "auto", in place of rates measured on the cluster. */
  readonly rates?: { readonly flops: number; readonly bandwidth: number };
  /** What a query sees, by absolute position; default `{ kind: "causal" }`. */
  readonly mask?: Mask;
  /** The older way to write the masks `causal` (true, the default) and `full` (false). */
  readonly causal?: boolean;
  /** A learned logit for each query head, f32 `[H]`, once in each row's denominator; LSE includes it. */
  readonly sinks?: Float32Array;
  /** How tokens are dealt to the ranks; default "head-tail", as in the paper. */
  readonly dealing?: Dealing;
  /** Default 1/sqrt(D). */
  readonly scale?: number;
  /** The type of the travelling operand (KV in pass-KV, Q in pass-Q), stored and sent; default "f32". */
  readonly wireDtype?: DType;
  /** Ends the call with its reason. */
  readonly signal?: AbortSignal;
  /** Called as ranks finish hops, with the hops done by all ranks and their total (N x N). */
  readonly onProgress?: (done: number, total: number) => void;
  /**
   * Makes the run halt: each rank before the attention of each hop and, in pass-Q, before its All2All and its merge.
   * Called with a rank's state when it halts, again if its messages change meanwhile, and once at its end. The rank
   * goes on after `leave()`. The result equals that of a run without halts to the last bit.
   */
  readonly onHalt?: (halt: Halt) => void;
  /** Rows of Q whose partial results `onHalt` gets; default all. */
  readonly watch?: readonly number[];
}

/** The partial result of a hop's attention, or of pass-Q's merge, for the watched rows. */
export interface Made {
  /** An attention, or pass-Q's merge. */
  readonly kind: "attend" | "merge";
  /** The hop it belongs to. */
  readonly hop: number;
  /** The queries that it answers. */
  readonly queries: Held;
  /** The keys that it attended to; undefined for a merge. */
  readonly keys?: Held;
  /** The rows of Q of `out` and `lse`. */
  readonly rows: readonly number[];
  /**
   * f32 `[rows, H, Dv]`: in pass-KV over the keys of this hop and all before, in pass-Q over those of this hop alone.
   */
  readonly out: Float32Array;
  /** f32 `[rows, H]`, natural log; -Infinity for a row that saw no key. */
  readonly lse: Float32Array;
}

/** A halted rank. */
export interface Halt extends Omit<HaltState, "made"> {
  /** The rank. */
  readonly rank: number;
  /** The result of this rank's last attention or merge. */
  readonly made?: Made;
  /** Lets it go on. At its `end`, it waits for nobody. A second call does nothing. */
  leave(): void;
  /** Makes the rank fail on purpose while it is halted. */
  strike(kind: Fault["kind"]): void;
}

/** The facts of a run, as `--json` prints them. */
export interface Report {
  /** What computed. */
  readonly adapter: AdapterFacts;
  /** "remote": another machine, whose client adds what it knows of the run. */
  readonly backend: Backend | "remote";
  /** "deno", "node" or "browser". */
  readonly runtime: string;
  /** The attention kernels that ran, with their storage types. */
  readonly kernel: string;
  /** The clock of the attend and merge spans; "cuda-events" on a remote GPU. */
  readonly clock: "gpu-timestamps" | "cuda-events" | "host";
  /** The variant that ran. */
  readonly variant: Variant;
  /** The reason, if a rule chose the variant. */
  readonly choice?: Choice;
  /** N. */
  readonly ranks: number;
  /** How messages stored their numbers. */
  readonly wireDtype: DType;
  /** What a query saw. */
  readonly mask: Mask;
  /** Did no query see a later key (any mask but `full`)? */
  readonly causal: boolean;
  /** Did each head have a learned logit in its denominator, which LSE then includes? */
  readonly sinks: boolean;
  /** How tokens were dealt to the ranks. */
  readonly dealing: Dealing;
  /** The factor of the scores. */
  readonly scale: number;
  /** H, Hkv, D, Dv, whether values are part of K, and T and P of each sequence. */
  readonly shape: {
    readonly heads: number;
    readonly kvHeads: number;
    readonly headDim: number;
    readonly valueDim: number;
    readonly valuesInKeys: boolean;
    readonly sequences: readonly Sequence[];
  };
  /** The simulated link, if there was one. */
  readonly link: Link | null;
  /**
   * Seconds from a fault to its error: as the caller asked, and as used, longer if the machine was slow when the cluster
   * started. None on a remote worker.
   */
  readonly timeout?: { readonly asked: number; readonly used: number };
  /** What each rank sent and received. */
  readonly perRank: readonly RankTraffic[];
  /**
   * What the mask made needless: hops of a rank (of N x N) without an attention, messages not sent, and bytes not sent of
   * all messages.
   */
  readonly skipped: { readonly hops: number; readonly messages: number; readonly bytes: number };
  /** Seconds. */
  readonly times: Times;
  /** What happened when, on every rank. */
  readonly spans: readonly Span[];
}

/** O, LSE and the facts of the run. */
export interface AttendResult {
  /** f32 `[sum T, H, Dv]`. */
  readonly out: Float32Array;
  /** f32 `[sum T, H]`, natural log, with the sinks if there are any; -Infinity for a row that sees no key. */
  readonly lse: Float32Array;
  /** The facts of the run. */
  readonly report: Report;
}

/** The options of one step of a session. */
export interface StepOptions {
  /** Default: the session's. */
  readonly variant?: Variant | "auto";
  /** Makes a rank fail on purpose in this step. */
  readonly fault?: Fault;
  /** Ends the call with its reason. */
  readonly signal?: AbortSignal;
  /** Called with the hops done, and their total. */
  readonly onProgress?: (done: number, total: number) => void;
}

/**
 * A session: a conversation's KV cache on the ranks. A step that fails or is cancelled leaves every rank's cache as it
 * was. Errors of steps: InputError, LimitError (the cache is full), RankError, AbortError.
 */
export interface SessionFace {
  /** Tokens that each rank can hold (whole pages), and pages in use on each. */
  readonly capacity: {
    readonly tokensPerRank: number;
    readonly pageTokens: number;
    readonly pagesUsed: readonly number[];
    readonly pages: number;
  };
  /** Every sequence's tokens on every rank. */
  readonly tokens: readonly { readonly sequence: number; readonly perRank: readonly number[] }[];
  /** Was it disposed of? */
  readonly disposed: boolean;
  /** Steps done. */
  readonly steps: number;
  /** Appends rows to some sequences, new ones included, in one fused ring pass; O and LSE of the new rows. */
  prefill(batch: readonly SessionRows[], options?: StepOptions): Promise<StepResult>;
  /** Appends one row to each of some sequences that have rows already: batched ring pass-Q decode (Algorithm 4). */
  decode(batch: readonly SessionRows[], options?: Omit<StepOptions, "variant">): Promise<StepResult>;
  /** Forgets a sequence and frees its pages. */
  drop(sequence: number): Promise<void>;
  /** All that the ranks have cached, as bytes. A session on another machine may have none: InputError. */
  snapshot(): Promise<Uint8Array>;
  /** Puts the cache back to a snapshot. A session on another machine may refuse: InputError. */
  restore(bytes: Uint8Array): Promise<void>;
  /** Frees the ranks' memory. A step under way is cancelled. */
  dispose(): Promise<void>;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A running cluster. */
export interface ClusterFace {
  /** N. */
  readonly size: number;
  /** What its ranks compute on. */
  readonly adapter: AdapterFacts;
  /** Exact attention of one fused batch over the ring. Errors: InputError, LimitError, RankError, AbortError. */
  attend(input: AttendInput): Promise<AttendResult>;
  /** Opens a conversation with a KV cache that stays on the ranks. Errors: InputError, LimitError, RankError. */
  session(options: SessionOptions): Promise<SessionFace>;
  /**
   * Replaces dead ranks and restores what they had cached, before anything else may begin. Resolves to the ranks
   * replaced.
   */
  repair(): Promise<number[]>;
  /** Ends every worker and frees every port and buffer. Work under way fails with an AbortError. */
  dispose(): Promise<void>;
  /** The same, for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
