/** The types of the bridge's client: a connection to a native worker, and its calls. */
import type {
  AttendInput,
  AttendResult,
  ClusterFace,
  Dealing,
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
  /** The worker's version. */
  readonly worker: string;
  /** Python's version. */
  readonly python: string;
  /** PyTorch's version. */
  readonly torch: string;
  /** The machine's operating system and architecture. */
  readonly platform: string;
  /** What carries tensors between its processes; "single": it has one. */
  readonly backend: "nccl" | "gloo" | "single";
  /** W, its processes. */
  readonly processes: number;
  /** Its hosts. */
  readonly hosts: number;
  /** The device of each process. */
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
  /** CUDA's version. */
  readonly cuda?: string;
  /** The driver's version. */
  readonly driver?: string;
  /** What its checks at the start found. */
  readonly notes?: readonly string[];
}

/**
 * The worker's limits: bytes of a frame, of a tensor, and of a stream under way (`window`); seconds of a run; waiting
 * calls (`queue`); connections; sessions.
 */
export interface Limits {
  /** Bytes of one message. */
  readonly frameBytes: number;
  /** Bytes of the input tensors of all calls, and of the tensors of one result. */
  readonly tensorBytes: number;
  /** Seconds of a run. */
  readonly runSeconds: number;
  /** Calls that wait. */
  readonly queue: number;
  /** Clients at once. */
  readonly connections: number;
  /** Bytes of a tensor under way that nobody has acknowledged. */
  readonly window: number;
  /** Sessions at once, of all clients. */
  readonly sessions?: number;
}

/** How to watch and cancel a call. */
export interface CallOptions {
  /** Cancels the call on the worker too. */
  readonly signal?: AbortSignal;
  /** Called with the number of calls before this one on the machine; 0: it runs now. */
  readonly onQueued?: (place: number) => void;
  /** Called with what is done, its total, and a note. */
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
  /** How tokens are dealt to the ranks; default "head-tail". */
  readonly dealing?: Dealing;
  /** "rows" (default with `rows`): those rows; "none" (default without): only the report; "full": all of O. */
  readonly output?: "rows" | "full" | "none";
  /** The rows of O to send back. */
  readonly rows?: readonly Row[];
  /** The wire of simulated ranks; default: the connection's. */
  readonly link?: Link;
  /** C (FLOP/s) and BW (bytes/s) for "auto". */
  readonly rates?: { readonly flops: number; readonly bandwidth: number };
}

/** O and LSE as `output` says, and the facts of the run. */
export interface SeededResult {
  /** f32: "rows" `[rows, Dv]` in the order of `rows`, "full" `[sum T, H, Dv]`, "none" empty. */
  readonly out: Float32Array;
  /** f32: "rows" `[rows]`, "full" `[sum T, H]`, "none" empty; natural log, with the sinks if there are any. */
  readonly lse: Float32Array;
  /** The facts of the run. */
  readonly report: RemoteReport;
}

/** A run's report, with what the worker adds. */
export type RemoteReport = Report & { readonly backend: "remote"; readonly remote: RemoteRun };

/** The facts that only a run on a worker has. */
export interface RemoteRun {
  /** The worker's address. */
  readonly address: string;
  /** The machine. */
  readonly facts: Facts;
  /** Whether ranks shared a device: they ran one after the other with real kernels, over a modelled wire. */
  readonly simulated: boolean;
  /** The worker's own value of the run, unchanged. */
  readonly value: Readonly<Record<string, unknown>>;
}

/** One attention on own tensors, with ranks and link if they aren't the connection's. */
export interface RemoteAttendInput extends Omit<AttendInput, "onProgress">, CallOptions {
  /** N; default: the connection's. */
  readonly ranks?: number;
  /** The wire of simulated ranks; default: the connection's. */
  readonly link?: Link;
}

/** O, LSE and the facts of a run on a worker. */
export interface RemoteResult extends AttendResult {
  /** The facts of the run. */
  readonly report: RemoteReport;
}

/** A KV cache on the worker's ranks, with ranks and link if they aren't the connection's. */
export interface RemoteSessionOptions extends SessionOptions {
  /** N; default: the connection's. */
  readonly ranks?: number;
  /** The wire of simulated ranks; default: the connection's. */
  readonly link?: Link;
  /** Cancels the opening. */
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
  /** Default "pass-kv". */
  readonly variant?: Variant | "auto";
  /** Default "bf16". */
  readonly dtype?: DType;
  /** GPUs of the tensor-parallel group; default 8. */
  readonly tp?: number;
  /** The wire of simulated ranks; default: the connection's. */
  readonly link?: Link;
  /** Of the weights and the input; default 1. */
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
  /** What the worker said. */
  readonly value: Readonly<Record<string, unknown>>;
  /** Its timeline. */
  readonly spans: readonly Span[];
}

/**
 * A connection to a worker, with the face of a cluster. Several calls may be open on it; the worker runs one at a time.
 * If the connection is lost, calls under way end in a RemoteError and sessions are gone. The next call connects again,
 * with growing pauses between attempts.
 * Errors of calls: InputError, LimitError (does not fit), RankError, RemoteError; the signal's reason if cancelled.
 */
export interface RemoteFace extends ClusterFace {
  /** The url, as errors name it. */
  readonly address: string;
  /** The machine. */
  readonly facts: Facts;
  /** What the worker allows. */
  readonly limits: Limits;
  /** Names of what the worker can do. */
  readonly capabilities: readonly string[];
  /** The connection's state. */
  readonly state: RemoteState;
  /** Attention on seeded inputs, which both sides make: only the requested rows move. */
  attendSeeded(input: SeededInput): Promise<SeededResult>;
  /** Attention on own tensors, which go to the worker. */
  attend(input: RemoteAttendInput): Promise<RemoteResult>;
  /** Opens a conversation whose KV cache stays on the worker's ranks. */
  session(options: RemoteSessionOptions): Promise<Session>;
  /** Times one transformer layer's share of one GPU. */
  layer(input: LayerInput): Promise<RemoteValue>;
  /** Times the worker's kernels and links; `quick`: fewer sizes. */
  bench(input?: CallOptions & { readonly quick?: boolean }): Promise<RemoteValue>;
  /** The worker's state, as it reports it; rejects if it doesn't answer. */
  health(options?: CallOptions): Promise<Readonly<Record<string, unknown>>>;
  /** Rejects with an InputError: a worker is started again on its own machine. */
  repair(): Promise<number[]>;
  /** Ends what runs, and the connection. */
  dispose(): Promise<void>;
}
