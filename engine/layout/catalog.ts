/**
 * Layouts by name: which rank holds which token, and in which order, in Ringside and in other frameworks. Each row says
 * how it pads a length that its cut does not divide, and where the framework says so.
 */
import { InputError } from "../errors.ts";
import { didYouMean } from "../options.ts";
import { chunkPair, chunks, type Dealing, dealtTo, type Range } from "./shards.ts";

/** A place of a shard that holds no token. */
export const PADDING: number = -1;

/** A way to deal sequences' tokens to ranks. */
export interface Layout {
  /** As the command line takes it. */
  readonly name: string;
  /** In a few words. */
  readonly what: string;
  /** What it does with a length that its cut does not divide. */
  readonly padding: string;
  /** Where the framework does it. */
  readonly source: string;
  /**
   * Each rank's tokens of a sequence of `length`, in the order of its shard; PADDING where it has none. Errors:
   * InputError if the framework cannot deal this length.
   */
  readonly deal: (length: number, ranks: number) => readonly Int32Array[];
  /** Each rank's tokens of a batch, numbered through its sequences, in the order of its shard. Errors: as `deal`. */
  readonly dealBatch: (lengths: readonly number[], ranks: number) => readonly Int32Array[];
}

/** A layout's row; `deal` gets the number after its colon, if the name takes one. */
type Row = Omit<Layout, "name" | "deal" | "dealBatch"> & {
  readonly deal: (length: number, ranks: number, number: number) => readonly Int32Array[];
  /** What the number after the colon is. */
  readonly number?: string;
  /** A rank's shard has every sequence's first chunk, then every sequence's second one. */
  readonly firstChunksFirst?: boolean;
};

/** A file of a repository, on its main branch. */
const file = (repository: string, path: string) => `https://github.com/${repository}/blob/main/${path}`;

const ROWS: Readonly<Record<string, Row>> = {
  ringside: {
    what: "chunks i and 2N-1-i of 2N to rank i; the first chunks have one token more",
    padding: "none: shares differ by at most one token",
    source: "https://arxiv.org/abs/2411.01783 (section 4)",
    deal: ours("head-tail"),
  },
  te: {
    what: "chunks i and 2N-1-i of 2N to rank i (Transformer Engine)",
    padding: "each sequence to a multiple of 2N, at its end",
    source: file(
      "NVIDIA/TransformerEngine",
      "transformer_engine/pytorch/attention/dot_product_attention/context_parallel.py",
    ),
    deal: (length, ranks) => zigzag(padded(length, 2 * ranks), ranks),
  },
  megatron: {
    what: "chunks i and 2N-1-i of 2N to rank i (Megatron-LM)",
    padding: "none: each length must be a multiple of 2N; its SFT dataset pads each packed document to one, at its end",
    source: file("NVIDIA/Megatron-LM", "megatron/core/utils.py"),
    deal: (length, ranks) => zigzag(exact("megatron", length, 2 * ranks), ranks),
  },
  zigzag: {
    what: "chunks i and 2N-1-i of 2N to rank i (ring-flash-attention)",
    padding: "none: each length must be a multiple of 2N",
    source: file("zhuzilin/ring-flash-attention", "test/test_zigzag_ring_flash_attn_varlen_func.py"),
    deal: (length, ranks) => zigzag(exact("zigzag", length, 2 * ranks), ranks),
  },
  striped: {
    what: "token t to rank t mod N (Striped Attention)",
    padding: "none: shares differ by at most one token; ring-flash-attention takes only multiples of 2N",
    source: file("zhuzilin/ring-flash-attention", "test/test_stripe_flash_attn_func.py"),
    deal: (length, ranks) => interleaved(length, ranks, 1),
  },
  contiguous: {
    what: "one contiguous share to each rank; the first shares have one token more",
    padding: "none: shares differ by at most one token; ring-flash-attention takes only multiples of N",
    source: file("zhuzilin/ring-flash-attention", "test/test_ring_flash_attn_varlen_func.py"),
    deal: ours("contiguous"),
  },
  "vllm-pcp": {
    // Older versions put the chunk at position 0 last on rank 0; pull request 56157 gave all ranks one order.
    what:
      "chunks i and 2N-1-i of 2N to rank i, ceil(T/2N) tokens each, the last ones shorter (prefill context parallel)",
    padding: "none in a sequence; ranks pad their batch's end to one length (not shown)",
    source: file("vllm-project/vllm", "vllm/v1/worker/gpu/pcp_manager.py"),
    // With decode context parallelism too, a sequence that leaves a chunk empty is whole on every rank.
    deal: (length, ranks) => {
      const size = Math.ceil(length / (2 * ranks));
      const range = (c: number): Range => ({
        start: Math.min(length, c * size),
        end: Math.min(length, (c + 1) * size),
      });
      return everyRank(ranks, (k) => tokensOf(chunkPair("head-tail", k, ranks).map(range)));
    },
  },
  "vllm-dcp": {
    what: "token t to rank floor(t/I) mod N, I the interleave size (decode context parallel; 1 by default, and a " +
      "divisor of the KV block size)",
    padding: "none: ranks may differ by I tokens",
    source: file("vllm-project/vllm", "vllm/config/parallel.py"),
    number: "INTERLEAVE",
    deal: interleaved,
  },
  "sglang-zigzag": {
    what: "chunks i and 2N-1-i of 2N to rank i; the first chunks have one token more; of a batch, first every " +
      "sequence's chunk i, then the others",
    padding: "none in a sequence; ranks pad their batch's end to one length (not shown)",
    source: file("sgl-project/sglang", "python/sglang/srt/layers/cp/zigzag.py"),
    firstChunksFirst: true,
    deal: (length, ranks) => {
      if (length > 0 && length < 2 * ranks) {
        throw new InputError(
          `layout sglang-zigzag: found a sequence of ${length} tokens, expected at least ${2 * ranks}: SGLang runs a ` +
            "shorter one without context parallelism; use fewer ranks",
        );
      }
      return ours("head-tail")(length, ranks, 0);
    },
  },
  "torch-headtail": {
    what: "chunks i and 2N-1-i of 2N to rank i (torch.distributed.tensor.experimental)",
    padding: "none: each length must be a multiple of 2N",
    source: file("pytorch/pytorch", "torch/distributed/tensor/experimental/_context_parallel/_load_balancer.py"),
    deal: (length, ranks) => zigzag(exact("torch-headtail", length, 2 * ranks), ranks),
  },
};

/** Every name, with what follows the colon in capitals. */
export const LAYOUT_NAMES: readonly string[] = Object.entries(ROWS).map(([name, { number }]) =>
  number === undefined ? name : `${name}:${number}`
);

/** The layout that a text names. Errors: InputError. */
export function layoutOf(text: string, option = "layout"): Layout {
  const [name, number, ...rest] = text.split(":");
  const row = Object.hasOwn(ROWS, name) ? ROWS[name] : undefined;
  if (row === undefined || rest.length > 0) {
    throw new InputError(
      `${option}: found ${JSON.stringify(text)}, expected ${LAYOUT_NAMES.join(", ")}${
        didYouMean(name, Object.keys(ROWS))
      }`,
    );
  }
  const wants = row.number !== undefined;
  const valid = number !== undefined && /^[1-9]\d*$/.test(number) && Number.isSafeInteger(Number(number));
  if (wants ? !valid : number !== undefined) {
    throw new InputError(
      `${option}: found ${JSON.stringify(text)}, expected ${
        wants ? `${name}:${row.number}, such as ${name}:16` : `${name}, which takes no number`
      }`,
    );
  }
  const deal: Layout["deal"] = (length, ranks) => row.deal(length, ranks, Number(number ?? 0));
  const { what, padding, source, firstChunksFirst = false } = row;
  const dealBatch: Layout["dealBatch"] = (lengths, ranks) => batched(deal, firstChunksFirst, lengths, ranks);
  return { name: text, what, padding, source, deal, dealBatch };
}

/** The shards of a batch from those of its sequences. */
function batched(
  deal: Layout["deal"],
  firstChunksFirst: boolean,
  lengths: readonly number[],
  ranks: number,
): readonly Int32Array[] {
  const parts: Int32Array[][] = Array.from({ length: ranks }, () => []);
  const seconds: Int32Array[][] = Array.from({ length: ranks }, () => []);
  let start = 0;
  for (const length of lengths) {
    if (length === 0) continue;
    const [from, cut] = [start, firstChunksFirst ? chunks(length, ranks) : undefined];
    deal(length, ranks).forEach((own, k) => {
      const tokens = own.map((t) => t === PADDING ? PADDING : from + t);
      const first = cut === undefined ? tokens.length : cut[k].end - cut[k].start;
      parts[k].push(tokens.subarray(0, first));
      seconds[k].push(tokens.subarray(first));
    });
    start += length;
  }
  return everyRank(ranks, (k) => joined([...parts[k], ...seconds[k]]));
}

function joined(parts: readonly Int32Array[]): Int32Array {
  const all = new Int32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function everyRank(ranks: number, of: (rank: number) => Int32Array): readonly Int32Array[] {
  return Array.from({ length: ranks }, (_, k) => of(k));
}

/** Ringside's own dealings. */
function ours(dealing: Dealing): Row["deal"] {
  return (length, ranks) => everyRank(ranks, (k) => tokensOf(dealtTo(dealing, length, ranks, k)));
}

function tokensOf(ranges: readonly Range[]): Int32Array {
  return joined(ranges.map(({ start, end }) => Int32Array.from({ length: end - start }, (_, i) => start + i)));
}

/** The tokens of a sequence, and padding up to a multiple of `of`. */
function padded(length: number, of: number): Int32Array {
  return Int32Array.from({ length: Math.ceil(length / of) * of }, (_, t) => (t < length ? t : PADDING));
}

function exact(name: string, length: number, of: number): Int32Array {
  if (length % of !== 0) {
    throw new InputError(
      `layout ${name}: found a sequence of ${length} tokens, expected a multiple of ${of}: this framework cuts no ` +
        `other length; pad it to ${Math.ceil(length / of) * of}`,
    );
  }
  return padded(length, of);
}

/** Chunks i and 2N-1-i of 2N equal ones. */
function zigzag(tokens: Int32Array, ranks: number): readonly Int32Array[] {
  const cut = chunks(tokens.length, ranks);
  const chunk = (c: number) => tokens.subarray(cut[c].start, cut[c].end);
  return everyRank(ranks, (k) => joined(chunkPair("head-tail", k, ranks).map(chunk)));
}

/** Token t to rank floor(t / size) mod N. */
function interleaved(length: number, ranks: number, size: number): readonly Int32Array[] {
  const round = ranks * size;
  return everyRank(ranks, (k) => {
    const own = Math.floor(length / round) * size + Math.min(size, Math.max(0, length % round - k * size));
    return Int32Array.from({ length: own }, (_, i) => Math.floor(i / size) * round + k * size + i % size);
  });
}
