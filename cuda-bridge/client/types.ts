/**
 * What the bridge's client takes and gives: a connection to a native worker, its calls, and the verification of rows.
 */
import type {
  AttendInput,
  AttendResult,
  ClusterFace,
  ClusterOptions,
  Link,
  Report,
  SessionFace,
  SessionOptions,
  Variant,
} from "../../engine/cluster/types.ts";
import type { Sequence } from "../../engine/layout/shards.ts";
import type { DType } from "../../engine/tensor/dtype.ts";
import type { Span } from "../../engine/trace/span.ts";

/** Which worker, and how patient the client is with it. */
export interface RemoteOptions {
  /** `ws://host:port` or `wss://host:port`, without user, query or fragment. */
  readonly url: string;
  /**
   * What the worker printed when it started. It travels in the first message only: never in an address, a log or an
   * error.
   */
  readonly token: string;
  /** Seconds within which the worker must be reached and have said welcome; default 10. */
  readonly connectSeconds?: number;
  /**
   * Seconds without any sign of life, or without a byte of a tensor under way, after which a call fails; default 30.
   */
  readonly idleSeconds?: number;
  /**
   * Seconds for which a new call tries to reach a worker again whose connection was lost; default 15, 0 for not at all.
   */
  readonly retrySeconds?: number;
  /** Told when the connection is lost, is there again, or is closed, with why. */
  readonly onState?: (state: RemoteState, why?: string) => void;
  /** Cancels the connecting. */
  readonly signal?: AbortSignal;
}

/** A connection's state. "lost": the next call tries to reach the worker again. */
export type RemoteState = "open" | "lost" | "closed";

/** What the machine is: `facts` of the protocol's welcome. */
export interface Facts {
  readonly worker: string;
  readonly python: string;
  readonly torch: string;
  readonly platform: string;
  readonly backend: "nccl" | "gloo" | "single";
  readonly processes: number;
  readonly hosts: number;
  readonly devices: readonly {
    readonly name: string;
    readonly kind: "cuda" | "cpu";
    readonly memoryBytes: number;
    readonly capability?: string;
  }[];
  /** Attention kernels with their self-check at the worker's start: largest error, or why one is not used. */
  readonly kernels: readonly {
    readonly name: string;
    readonly ok: boolean;
    readonly maxError?: number;
    readonly reason?: string;
    readonly chosen?: boolean;
  }[];
  readonly cuda?: string;
  readonly driver?: string;
  readonly notes?: readonly string[];
}

/**
 * What the worker allows: bytes of a frame, of a tensor, and of a stream under way; seconds of a run; calls waiting;
 * connections; sessions.
 */
export interface Limits {
  readonly frameBytes: number;
  readonly tensorBytes: number;
  readonly runSeconds: number;
  readonly queue: number;
  readonly connections: number;
  readonly window: number;
  readonly sessions?: number;
}

/** How a call is watched and cancelled. */
export interface Watch {
  /** Cancels the call on the worker too. */
  readonly signal?: AbortSignal;
  /** Calls before this one on the machine; 0: it runs now. */
  readonly onQueued?: (place: number) => void;
  readonly onProgress?: (done: number, total: number, note?: string) => void;
  /** Spans as they happen, in seconds since the run began. */
  readonly onSpans?: (spans: readonly Span[]) => void;
}

/** A row of O: a token (row of Q along the first axis of the whole batch) and a query head. */
export type Row = readonly [token: number, head: number];

/** A seeded batch: what both sides make by themselves. */
export interface SeededBatch {
  /** 0 to 2^32 - 1. */
  readonly seed: number;
  /** T and P of each sequence. */
  readonly sequences: readonly Sequence[];
  /** H, a multiple of kvHeads. */
  readonly heads: number;
  /** Hkv. */
  readonly kvHeads: number;
  /** D. */
  readonly headDim: number;
  /** Default true: bottom-right. */
  readonly causal?: boolean;
  /** Default 1/sqrt(D). */
  readonly scale?: number;
  /** How Q, K, V are held, and what kernels compute in; default "f32". Seeded values are exact in each. */
  readonly dtype?: DType;
}

/** An attention whose inputs both sides make from the seed: no tensor moves but the rows asked for. */
export interface SeededInput extends SeededBatch, Watch {
  /** N. */
  readonly ranks: number;
  /** Default "pass-kv". */
  readonly variant?: Variant | "auto";
  /** "rows" (default where rows are named): those rows; "none" (default else): only the report; "full": all of O. */
  readonly output?: "rows" | "full" | "none";
  readonly rows?: readonly Row[];
  /** The wire of simulated ranks; without it, the device's own copies are their wire. */
  readonly link?: Link;
  /** C (FLOP/s) and BW (bytes/s) for "auto". */
  readonly rates?: { readonly flops: number; readonly bandwidth: number };
}

/** O and LSE as asked for, and the facts of the run. */
export interface SeededResult {
  /** f32: "rows" `[rows, D]` in the order asked, "full" `[sum T, H, D]`, "none" empty. */
  readonly out: Float32Array;
  /** f32: "rows" `[rows]`, "full" `[sum T, H]`, "none" empty; natural log. */
  readonly lse: Float32Array;
  readonly report: RemoteReport;
}

/** A run's report, with what the worker adds. */
export type RemoteReport = Report & { readonly backend: "remote"; readonly remote: RemoteRun };

/** What only a run on a worker has to tell. */
export interface RemoteRun {
  readonly address: string;
  readonly facts: Facts;
  /** Whether ranks shared a device, one after the other with real kernels, the wire modelled. */
  readonly simulated: boolean;
  /** Everything the worker said of the run, as it said it. */
  readonly value: Readonly<Record<string, unknown>>;
}

/** One attention on own tensors, with the rank count that a connection does not know. */
export interface RemoteAttendInput extends Omit<AttendInput, "onProgress">, Watch {
  readonly ranks: number;
  readonly link?: Link;
}

/** A KV cache on the worker's ranks. */
export interface RemoteSessionOptions extends SessionOptions {
  readonly ranks: number;
  readonly link?: Link;
  readonly signal?: AbortSignal;
}

/** One transformer layer's share of one GPU of a TP group, over N context-parallel ranks. */
export interface LayerInput extends Watch {
  /** T. */
  readonly tokens: number;
  /** P; default 0. */
  readonly cached?: number;
  readonly ranks: number;
  readonly variant?: Variant | "auto";
  /** Default "bf16". */
  readonly dtype?: DType;
  /** GPUs of the tensor-parallel group; default 8. */
  readonly tp?: number;
  readonly link?: Link;
  readonly seed?: number;
  /** Default Llama 3 405B. */
  readonly model?: {
    readonly dModel: number;
    readonly heads: number;
    readonly kvHeads: number;
    readonly headDim: number;
    readonly ffn: number;
    readonly layers: number;
  };
}

/** A call's value as the worker said it (terms measured and modelled, the derived TTFT), and its timeline. */
export interface RemoteValue {
  readonly value: Readonly<Record<string, unknown>>;
  readonly spans: readonly Span[];
}

/**
 * A connection to a worker. One socket; several calls may be open, one runs at a time. A lost connection ends the calls
 * under way in a RemoteError, and is made again, with a growing pause between attempts, when the next call comes;
 * sessions are gone then.
 * Errors of calls: InputError, LimitError (does not fit), RankError, RemoteError; the signal's reason where one was
 * cancelled.
 */
export interface Remote {
  /** The url, as errors name it. */
  readonly address: string;
  readonly facts: Facts;
  readonly limits: Limits;
  readonly capabilities: readonly string[];
  readonly state: RemoteState;
  attendSeeded(input: SeededInput): Promise<SeededResult>;
  attend(input: RemoteAttendInput): Promise<AttendResult & { readonly report: RemoteReport }>;
  session(options: RemoteSessionOptions): Promise<SessionFace>;
  layer(input: LayerInput): Promise<RemoteValue>;
  bench(input?: Watch & { readonly quick?: boolean }): Promise<RemoteValue>;
  /** Whether the worker answers, and what it says of itself. */
  health(watch?: Watch): Promise<Readonly<Record<string, unknown>>>;
  /** Ends what runs, and the connection. */
  close(): Promise<void>;
}

/** A worker in the place of a cluster: `Cluster.start({ remote, ranks })`. */
export interface RemoteClusterFace extends ClusterFace {
  /** The connection, with what a cluster here has no use for: seeded runs, layer, bench, facts. */
  readonly remote: Remote;
}

/** The client on one platform: what `browser.ts`, `deno.ts` and `node.ts` export. */
export interface Bridge {
  /** Reaches a worker. Errors: InputError for bad options; RemoteError; the signal's reason. */
  connect(options: RemoteOptions): Promise<Remote>;
  /**
   * Computes rows again from the seed, in float64 or on this machine's GPU, and compares. Errors: InputError; the
   * signal's reason.
   */
  verifyRows(input: VerifyInput): Promise<Verification>;
  /** `Cluster.start` with `remote`. */
  startRemote(options: ClusterOptions): Promise<RemoteClusterFace>;
}

/** Rows that a worker computed, to be computed again here. */
export interface VerifyInput extends SeededBatch {
  readonly rows: readonly Row[];
  /** f32 `[rows, D]`: what the worker said. */
  readonly out: Float32Array;
  /** f32 `[rows]`. */
  readonly lse: Float32Array;
  /** "float64" (default) in plain TypeScript, or "webgpu": f32 on this machine's GPU. */
  readonly with?: "float64" | "webgpu";
  /** Threads beside this one, each with a share of the rows; default: the machine's, at most 4. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  /** Key rows gone through, times query rows that see them, and their total. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Told as each row is done: in a causal run, rows that see few keys come first. */
  readonly onRow?: (row: RowCheck) => void;
}

/** One row against its recomputation. Absolute errors. */
export interface RowCheck {
  /** Place in `rows`. */
  readonly index: number;
  readonly row: Row;
  /** Keys that it sees. */
  readonly keys: number;
  /** Of O: largest error over the D columns, where, and what was allowed there. */
  readonly out: {
    readonly error: number;
    readonly column: number;
    readonly found: number;
    readonly expected: number;
    readonly allowed: number;
  };
  readonly lse: { readonly error: number; readonly found: number; readonly expected: number; readonly allowed: number };
  readonly passed: boolean;
}

/** The verdict over all rows asked for. */
export interface Verification {
  /** Every row, in the order asked. */
  readonly rows: readonly RowCheck[];
  /** Largest errors over the rows. */
  readonly maxOut: number;
  readonly maxLse: number;
  /** The row that comes nearest to, or goes farthest beyond, what is allowed; undefined where no row was asked for. */
  readonly worst: RowCheck | undefined;
  /** The bar in words, by dtype. */
  readonly tolerance: string;
  readonly with: "float64" | "webgpu";
  /** Seconds it took here. */
  readonly seconds: number;
  readonly passed: boolean;
}
