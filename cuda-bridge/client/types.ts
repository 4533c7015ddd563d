/** The types of the bridge's client: a connection to a native worker, and its calls. */
import type {
  AttendInput,
  AttendResult,
  ClusterFace,
  DType,
  Link,
  Report,
  Row,
  SeededBatch,
  Session,
  SessionOptions,
  Span,
  Variant,
} from "../../engine/index.ts";

/** How to reach a worker, and how patient to be with it. */
export interface RemoteOptions {
  /**
   * The token that the worker printed when it started. It travels in the first message only: never in an address, a log
   * or an error.
   */
  readonly token: string;
  /** N, of calls that name none; default: the worker's processes. */
  readonly ranks?: number;
  /** The wire of simulated ranks, for calls that name none; default: the device's own copies are their wire. */
  readonly link?: Link;
  /** Seconds to connect and get the worker's welcome; default 10. */
  readonly connectSeconds?: number;
  /**
   * Seconds without a sign of life, or without a byte of a tensor under way, after which a call fails; default 30.
   */
  readonly idleSeconds?: number;
  /**
   * Seconds for which a new call tries to reach the worker again after the connection was lost; default 15, 0 for none.
   */
  readonly retrySeconds?: number;
  /** Called when the connection is lost, is open again, or is closed, with the reason. */
  readonly onState?: (state: RemoteState, why?: string) => void;
  /** Cancels connecting. */
  readonly signal?: AbortSignal;
}

/** A connection's state. "lost": the next call tries to reach the worker again. */
export type RemoteState = "open" | "lost" | "closed";

/** The machine: `facts` of the protocol's welcome. */
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
  /** Attention kernels with their self-check at the worker's start: the largest error, or why the worker rejected one. */
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
 * The worker's limits: bytes of a frame, of a tensor, and of a stream under way (`window`); seconds of a run; waiting
 * calls (`queue`); connections; sessions.
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

/** How to watch and cancel a call. */
export interface CallOptions {
  /** Cancels the call on the worker too. */
  readonly signal?: AbortSignal;
  /** Called with the number of calls before this one on the machine; 0: it runs now. */
  readonly onQueued?: (place: number) => void;
  readonly onProgress?: (done: number, total: number, note?: string) => void;
  /** Called with spans as they happen, in seconds since the run began. */
  readonly onSpans?: (spans: readonly Span[]) => void;
}

/** An attention whose inputs both sides make from the seed: no tensor moves but the chosen rows of the result. */
export interface SeededInput extends SeededBatch, CallOptions {
  /** N; default: the connection's. */
  readonly ranks?: number;
  /** Default "pass-kv". */
  readonly variant?: Variant | "auto";
  /** "rows" (default with `rows`): those rows; "none" (default without): only the report; "full": all of O. */
  readonly output?: "rows" | "full" | "none";
  readonly rows?: readonly Row[];
  /** The wire of simulated ranks; default: the connection's. */
  readonly link?: Link;
  /** C (FLOP/s) and BW (bytes/s) for "auto". */
  readonly rates?: { readonly flops: number; readonly bandwidth: number };
}

/** O and LSE as `output` says, and the facts of the run. */
export interface SeededResult {
  /** f32: "rows" `[rows, D]` in the order of `rows`, "full" `[sum T, H, D]`, "none" empty. */
  readonly out: Float32Array;
  /** f32: "rows" `[rows]`, "full" `[sum T, H]`, "none" empty; natural log. */
  readonly lse: Float32Array;
  readonly report: RemoteReport;
}

/** A run's report, with what the worker adds. */
export type RemoteReport = Report & { readonly backend: "remote"; readonly remote: RemoteRun };

/** The facts that only a run on a worker has. */
export interface RemoteRun {
  readonly address: string;
  readonly facts: Facts;
  /** Whether ranks shared a device: they ran one after the other with real kernels, over a modelled wire. */
  readonly simulated: boolean;
  /** The worker's own value of the run, unchanged. */
  readonly value: Readonly<Record<string, unknown>>;
}

/** One attention on own tensors, with ranks and link if they aren't the connection's. */
export interface RemoteAttendInput extends Omit<AttendInput, "onProgress">, CallOptions {
  readonly ranks?: number;
  readonly link?: Link;
}

/** O, LSE and the facts of a run on a worker. */
export interface RemoteResult extends AttendResult {
  readonly report: RemoteReport;
}

/** A KV cache on the worker's ranks, with ranks and link if they aren't the connection's. */
export interface RemoteSessionOptions extends SessionOptions {
  readonly ranks?: number;
  readonly link?: Link;
  readonly signal?: AbortSignal;
}

/** One transformer layer's share of one GPU of a TP group, over N context-parallel ranks. */
export interface LayerInput extends CallOptions {
  /** T. */
  readonly tokens: number;
  /** P; default 0. */
  readonly cached?: number;
  /** N; default: the connection's. */
  readonly ranks?: number;
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

/** The worker's own value of a call (measured and modelled terms, the derived TTFT), and its timeline. */
export interface RemoteValue {
  readonly value: Readonly<Record<string, unknown>>;
  readonly spans: readonly Span[];
}

/**
 * A connection to a worker, with the face of a cluster. Several calls may be open on it; the worker runs one at a time.
 * If the connection is lost, calls under way end in a RemoteError and sessions are gone. The next call connects again,
 * with growing pauses between attempts.
 * Errors of calls: InputError, LimitError (does not fit), RankError, RemoteError; the signal's reason if cancelled.
 */
export interface Remote extends ClusterFace {
  /** The url, as errors name it. */
  readonly address: string;
  readonly facts: Facts;
  readonly limits: Limits;
  readonly capabilities: readonly string[];
  readonly state: RemoteState;
  attendSeeded(input: SeededInput): Promise<SeededResult>;
  attend(input: RemoteAttendInput): Promise<RemoteResult>;
  session(options: RemoteSessionOptions): Promise<Session>;
  layer(input: LayerInput): Promise<RemoteValue>;
  bench(input?: CallOptions & { readonly quick?: boolean }): Promise<RemoteValue>;
  /** The worker's state, as it reports it; rejects if it doesn't answer. */
  health(options?: CallOptions): Promise<Readonly<Record<string, unknown>>>;
  /** Rejects with an InputError: a worker is started again on its own machine. */
  repair(): Promise<number[]>;
  /** Ends what runs, and the connection. */
  dispose(): Promise<void>;
}
