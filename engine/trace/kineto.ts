/**
 * Reads PyTorch profiler (Kineto) traces: what each kernel is, by tables of names, and on which rank and in which step it
 * ran. Format: Chrome-trace JSON, times in microseconds.
 */
import { InputError } from "../errors.ts";

/** What a kernel or an operator does. "other" computes; "unknown" has a name that no table knows, and computes too. */
export type KernelKind = "attention" | "communication" | "copy" | "other" | "unknown";

/** One kernel, or on a CPU one operator. */
export interface KinetoEvent {
  readonly name: string;
  readonly kind: KernelKind;
  /** Seconds on the file's own clock. */
  readonly start: number;
  readonly duration: number;
  /** The number of its ProfilerStep; undefined outside of all. */
  readonly step: number | undefined;
  /** Bytes of a collective's input, if the trace says. */
  readonly bytes: number | undefined;
}

/** One rank's trace. */
export interface KinetoTrace {
  readonly file: string;
  readonly rank: number;
  /** Undefined if the trace doesn't say. */
  readonly worldSize: number | undefined;
  /** Where its events ran. */
  readonly device: "gpu" | "cpu";
  /** In order of start. */
  readonly events: readonly KinetoEvent[];
}

/** A pattern of any of some texts, whatever their case. */
const any = (...texts: string[]) => new RegExp(texts.join("|"), "i");

/** Kernels by name, first match. A name may be that of a CUDA, ROCm or Triton kernel, or of a CPU operator. */
const NAMES: readonly (readonly [KernelKind, RegExp])[] = [
  [
    "communication",
    any(
      ...["^(nccl|rccl|msccl|gloo|nvshmem)", "ncclDevKernel", "ncclKernel", "mscclKernel", "cross_device_reduce"],
      ...["multimem", "all_?reduce", "all_?gather", "reduce_?scatter", "all_?to_?all", "^c10d::", "send_?recv"],
    ),
  ],
  [
    "attention",
    any(
      ...["flash", "fmha", "fna_", "sdpa", "attention", "attn", "mha_", "BatchPrefill", "BatchDecode"],
      ...["SinglePrefill", "SingleDecode", "paged_kv", "mla_"],
    ),
  ],
  [
    "copy",
    any(
      ...["^(Memcpy|Memset)", "copy_kernel", "direct_copy", "fill_kernel", "FillFunctor", "CatArrayBatchedCopy"],
      ...["transpose", "permute", "gather_kernel", "index_kernel", "scatter"],
    ),
  ],
  [
    "other",
    any(
      ...["^Cijk_", "gemm", "gemv", "cutlass", "cublas", "nvjet", "matmul", "elementwise", "vectorized", "softmax"],
      ...["layer_?norm", "rms_?norm", "rotary", "rope", "silu", "gelu", "swiglu", "embedding", "sort", "topk"],
      ...["triton_", "_kernel", "kernel"],
    ),
  ],
];

/** Operators of a CPU trace that are attention or communication: an operator's children are part of it. */
const CPU_OPS: readonly (readonly [KernelKind, RegExp])[] = [
  ["attention", /^aten::(_scaled_dot_product|_flash_attention|_efficient_attention|_cudnn_attention)/],
  [
    "communication",
    any("^(gloo|nccl|mpi):", "^c10d::(send|recv|allgather|all_gather|allreduce|alltoall|reduce_scatter|barrier)"),
  ],
];

/** What a kernel's name says. */
export function kindOf(name: string): KernelKind {
  return NAMES.find(([, pattern]) => pattern.test(name))?.[0] ?? "unknown";
}

interface Raw {
  readonly ph?: unknown;
  readonly cat?: unknown;
  readonly name?: unknown;
  readonly ts?: unknown;
  readonly dur?: unknown;
  readonly tid?: unknown;
  readonly args?: Readonly<Record<string, unknown>>;
}

/**
 * Reads one rank's trace; `file` is its name. The rank is the trace's own, or the last in the name (`rank3`), or else `place`.
 * Errors: InputError if it is no trace, or holds no kernel and no operator.
 */
export function readKineto(text: string, file: string, place = 0): KinetoTrace {
  let whole: unknown;
  try {
    whole = JSON.parse(text);
  } catch (error) {
    throw new InputError(
      `${file}: found no JSON (${(error as Error).message.slice(0, 80)}), expected a profiler trace`,
    );
  }
  const events = (Array.isArray(whole) ? whole : (whole as { traceEvents?: unknown } | null)?.traceEvents) as
    | readonly Raw[]
    | undefined;
  if (!Array.isArray(events)) {
    throw new InputError(
      `${file}: found no traceEvents, expected the file that torch.profiler's export_chrome_trace writes`,
    );
  }
  const spans = events.filter((e) => e?.ph === "X" && typeof e.name === "string" && isTime(e.ts) && isTime(e.dur));
  const kernels = spans.filter(({ cat }) => cat === "kernel" || cat === "gpu_memcpy" || cat === "gpu_memset");
  const device = kernels.length > 0 ? "gpu" : "cpu";
  const steps = stepsOf(spans);
  const launches = new Map(
    spans.filter(({ cat }) => cat === "cuda_runtime" || cat === "cuda_driver").map((
      e,
    ) => [e.args?.correlation, Number(e.ts)]),
  );
  const made = device === "gpu"
    ? kernels.map((e) => eventOf(e, kindOf(e.name as string), steps(launches.get(e.args?.correlation) ?? Number(e.ts))))
    : spans.filter(({ cat }) => cat === "cpu_op" || cat === "user_annotation").flatMap((e) => {
      const kind = CPU_OPS.find(([, pattern]) => pattern.test(e.name as string))?.[0];
      return kind === undefined ? [] : [eventOf(e, kind, steps(Number(e.ts)))];
    });
  if (made.length === 0) {
    throw new InputError(
      `${file}: found ${events.length} events, but no kernel, attention operator or message among them; expected a ` +
        "trace with ProfilerActivity.CUDA, or of a run over gloo",
    );
  }
  const info = (whole as { distributedInfo?: { rank?: unknown; world_size?: unknown } }).distributedInfo;
  const rank = [info?.rank, Number([...file.matchAll(/(?<![a-z])rank[_-]?(\d+)/gi)].at(-1)?.[1] ?? NaN), place].find((
    n,
  ) => Number.isSafeInteger(n)) as number;
  return {
    file,
    rank,
    worldSize: Number.isSafeInteger(info?.world_size) ? info!.world_size as number : undefined,
    device,
    events: made.sort((a, b) => a.start - b.start),
  };
}

const isTime = (x: unknown): x is number => typeof x === "number" && Number.isFinite(x) && x >= 0;

function eventOf({ name, ts, dur, args }: Raw, kind: KernelKind, step: number | undefined): KinetoEvent {
  const elements = Number(args?.["In msg nelems"]);
  const size = { Float: 4, Half: 2, BFloat16: 2, Double: 8, Char: 1, Byte: 1, Int: 4, Long: 8 }[String(args?.dtype)];
  return {
    name: name as string,
    kind,
    start: Number(ts) / 1e6,
    duration: Number(dur) / 1e6,
    step,
    bytes: Number.isFinite(elements) && size !== undefined ? elements * size : undefined,
  };
}

/** The step at a time of the host, from its annotations. */
function stepsOf(spans: readonly Raw[]): (time: number) => number | undefined {
  const steps = spans.flatMap((e) => {
    const number = /^ProfilerStep#(\d+)$/.exec(e.name as string)?.[1];
    return number === undefined || e.cat === "gpu_user_annotation"
      ? []
      : [{ number: Number(number), start: Number(e.ts), end: Number(e.ts) + Number(e.dur) }];
  });
  return (time) => steps.find(({ start, end }) => start <= time && time < end)?.number;
}
