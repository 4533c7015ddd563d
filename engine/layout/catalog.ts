/**
 * Layouts by name: which rank holds which token, and in which order, in Ringside and in other frameworks. Each row says
 * how it pads a length that its cut does not divide.
 */
import { InputError } from "../errors.ts";
import { didYouMean } from "../options.ts";
import { chunks, type Dealing, dealtTo, type Range } from "./shards.ts";

/** A place of a shard that holds no token. */
export const PADDING = -1;

/** A way to deal one sequence's tokens to ranks. */
export interface Layout {
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
}

/** A layout's row; `deal` gets the number after its colon, if the name takes one. */
type Row = Omit<Layout, "name" | "deal"> & {
  readonly deal: (length: number, ranks: number, number: number) => readonly Int32Array[];
  /** What the number after the colon is. */
  readonly number?: string;
};

const ROWS: Readonly<Record<string, Row>> = {
  ringside: {
    what: "chunks i and 2N-1-i of 2N to rank i; the first chunks have one token more",
    padding: "none: shares differ by at most one token",
    source: "arXiv 2411.01783, section 4",
    deal: ours("head-tail"),
  },
  te: {
    what: "chunks i and 2N-1-i of 2N to rank i",
    padding: "each sequence to a multiple of 2N, at its end",
    source: "https://github.com/NVIDIA/TransformerEngine (attention/dot_product_attention/context_parallel.py)",
    deal: (length, ranks) => zigzag(padded(length, 2 * ranks), ranks),
  },
  megatron: {
    what: "chunks i and 2N-1-i of 2N to rank i",
    padding: "none: the length must be a multiple of 2N",
    source: "https://github.com/NVIDIA/Megatron-LM/blob/main/megatron/core/utils.py",
    deal: (length, ranks) => zigzag(exact("megatron", length, 2 * ranks), ranks),
  },
  zigzag: {
    what: "chunks i and 2N-1-i of 2N to rank i (ring-flash-attention)",
    padding: "none: the length must be a multiple of 2N",
    source: "https://github.com/zhuzilin/ring-flash-attention",
    deal: (length, ranks) => zigzag(exact("zigzag", length, 2 * ranks), ranks),
  },
  striped: {
    what: "token t to rank t mod N",
    padding: "each sequence to a multiple of N, at its end",
    source: "arXiv 2311.09431",
    deal: (length, ranks) => interleaved(padded(length, ranks), ranks, 1),
  },
  contiguous: {
    what: "one contiguous share to each rank; the first shares have one token more",
    padding: "none: shares differ by at most one token",
    source: "arXiv 2310.01889",
    deal: ours("contiguous"),
  },
  "vllm-pcp": {
    what: "chunks i and 2N-1-i of 2N to rank i (prefill context parallel)",
    padding: "each sequence to a multiple of 2N, at its end",
    source: "https://github.com/vllm-project/vllm",
    deal: (length, ranks) => zigzag(padded(length, 2 * ranks), ranks),
  },
  "vllm-dcp": {
    what: "token t to rank floor(t/I) mod N, I the interleave size (decode context parallel)",
    padding: "none: ranks may differ by I tokens",
    source: "https://github.com/vllm-project/vllm",
    number: "INTERLEAVE",
    deal: (length, ranks, interleave) => interleaved(padded(length, 1), ranks, interleave),
  },
  "sglang-zigzag": {
    what: "chunks i and 2N-1-i of 2N to rank i; the first chunks have one token more",
    padding: "none: shares differ by at most one token",
    source: "https://github.com/sgl-project/sglang",
    deal: ours("head-tail"),
  },
  "torch-headtail": {
    what: "chunks i and 2N-1-i of 2N to rank i (torch.distributed.tensor.experimental)",
    padding: "none: the length must be a multiple of 2N",
    source: "https://github.com/pytorch/pytorch/tree/main/torch/distributed/tensor/experimental",
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
  if (wants !== (number !== undefined) || (wants && !/^[1-9]\d*$/.test(number))) {
    throw new InputError(
      `${option}: found ${JSON.stringify(text)}, expected ${
        wants ? `${name}:${row.number}, such as ${name}:16` : name
      }`,
    );
  }
  return { ...row, name: text, deal: (length, ranks) => row.deal(length, ranks, Number(number ?? 0)) };
}

function everyRank(ranks: number, of: (rank: number) => Int32Array): readonly Int32Array[] {
  return Array.from({ length: ranks }, (_, k) => of(k));
}

/** Ringside's own dealings. */
function ours(dealing: Dealing): Row["deal"] {
  return (length, ranks) => everyRank(ranks, (k) => tokensOf(dealtTo(dealing, length, ranks, k)));
}

function tokensOf(ranges: readonly Range[]): Int32Array {
  return Int32Array.from(
    ranges.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, i) => start + i)),
  );
}

/** The tokens of a sequence, and padding up to a multiple of `of`. */
function padded(length: number, of: number): Int32Array {
  return Int32Array.from({ length: Math.ceil(length / of) * of }, (_, t) => (t < length ? t : PADDING));
}

function exact(name: string, length: number, of: number): Int32Array {
  if (length % of !== 0) {
    throw new InputError(
      `layout ${name}: found a sequence of ${length} tokens, expected a multiple of ${of}: this framework cuts no other`,
    );
  }
  return padded(length, of);
}

/** Chunks i and 2N-1-i of 2N equal ones. */
function zigzag(tokens: Int32Array, ranks: number): readonly Int32Array[] {
  const cut = chunks(tokens.length, ranks);
  const chunk = (c: number) => tokens.subarray(cut[c].start, cut[c].end);
  return everyRank(ranks, (k) => Int32Array.from([...chunk(k), ...chunk(2 * ranks - 1 - k)]));
}

/** Token t to rank floor(t / size) mod N. */
function interleaved(tokens: Int32Array, ranks: number, size: number): readonly Int32Array[] {
  return everyRank(ranks, (k) => tokens.filter((_, t) => Math.floor(t / size) % ranks === k));
}
