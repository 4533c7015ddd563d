/**
 * What travels in a ring: which rows of a chunk some later rank needs. Under a causal or full mask every message is
 * whole, as in the paper. Under a local one, a chunk of 1/2N of a sequence's tokens is dropped once no later rank's
 * query sees a key of it (in pass-KV) or it sees no later rank's key (in pass-Q). A pure function of the shards and the
 * mask, so all ranks agree on what comes.
 */
import { firstSeen, isLocal, type Mask, sinkTokensOf } from "../layout/mask.ts";
import { type Block, bySequence, chunks, type Dealing, type Run, type Sequence } from "../layout/shards.ts";
import { ownerAt, type Variant } from "./contract.ts";

/** Every rank's rows, and where their chunks begin and end. */
export interface Shards {
  /** Each rank's block of Q. */
  readonly queries: readonly Block[];
  /** Each rank's block of K and V. */
  readonly keys: readonly Block[];
  /** Positions at which chunks of a sequence begin, ascending, by the sequence's number in the blocks. */
  readonly bounds: ReadonlyMap<number, readonly number[]>;
}

/** Positions at which the 2N chunks of a sequence's cached and of its new tokens begin. */
export function chunkBounds({ new: T, cached: P }: Sequence, ranks: number, dealing: Dealing): number[] {
  return [...chunks(P, ranks, 0, dealing), ...chunks(T, ranks, P, dealing)].map(({ start }) => start);
}

const NOTHING: Block = { runs: [], rows: 0 };

/** The messages of one ring. */
export class Route {
  readonly #mask: Mask;
  readonly #shards: Shards;
  readonly #size: number;
  /** The blocks that travel and those that stay, by rank. */
  readonly #visitors: readonly Block[];
  readonly #residents: readonly Block[];
  readonly #meets: (visitor: Run, resident: Run) => boolean;
  /** What was asked before: the residents by sequence, the visitors' chunks and their reach, and messages. */
  readonly #held: Map<number, Run[]>[] = [];
  readonly #chunks: (readonly Run[])[] = [];
  readonly #reach: (readonly number[])[] = [];
  readonly #known = new Map<string, Block>();

  constructor(variant: Variant, shards: Shards, mask: Mask) {
    const [visitors, residents] = variant === "pass-kv" ? [shards.keys, shards.queries] : [shards.queries, shards.keys];
    this.#mask = mask;
    this.#shards = shards;
    this.#size = visitors.length;
    this.#visitors = visitors;
    this.#residents = residents;
    this.#meets = variant === "pass-kv"
      ? (key, query) => sees(mask, query, key)
      : (query, key) => sees(mask, query, key);
  }

  /** The rows that `rank` sends on at `hop`; no rows if no later rank needs the chunk. */
  sent(rank: number, hop: number): Block {
    if (hop >= this.#size - 1) return NOTHING;
    const owner = ownerAt(rank, hop, this.#size);
    return this.#kept(owner, () => this.#reachOf(owner).map((reach) => reach > hop));
  }

  /** The rows of `owner`'s queries whose partial results `rank` sends home in pass-Q. */
  parcel(rank: number, owner: number): Block {
    return this.#kept(owner, () => this.#chunksOf(owner).map((chunk) => this.#needs(rank, chunk)));
  }

  /** A rank's own block, all of it. */
  own(rank: number): Block {
    return this.#visitors[rank];
  }

  /** The hop after which no rank needs a chunk, for each chunk of `owner`'s block. */
  #reachOf(owner: number): readonly number[] {
    return this.#reach[owner] ??= this.#chunksOf(owner).map((chunk) => {
      let hop = this.#size - 1;
      while (hop > 0 && !this.#needs((owner + hop) % this.#size, chunk)) hop--;
      return hop;
    });
  }

  /** The runs of `owner`'s block, cut where chunks begin. */
  #chunksOf(owner: number): readonly Run[] {
    return this.#chunks[owner] ??= this.#visitors[owner].runs.flatMap((run) =>
      inChunks(run, this.#shards.bounds.get(run.sequence) ?? [])
    );
  }

  /** Whether `rank`'s own rows meet a chunk that visits. */
  #needs(rank: number, chunk: Run): boolean {
    this.#held[rank] ??= bySequence(this.#residents[rank]);
    return this.#held[rank].get(chunk.sequence)?.some((resident) => this.#meets(chunk, resident)) ?? false;
  }

  /** The wanted chunks of `owner`'s block; the block itself, padding included, if it wants all. */
  #kept(owner: number, wanted: () => readonly boolean[]): Block {
    const whole = this.#visitors[owner];
    if (!isLocal(this.#mask)) return whole;
    const which = wanted();
    const key = `${owner} ${which.map(Number).join("")}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const made = which.every((want) => want) && which.length > 0
      ? whole
      : adjacent(this.#chunksOf(owner).filter((_, i) => which[i]));
    this.#known.set(key, made);
    return made;
  }
}

/** Chunks in adjacent rows. */
function adjacent(chunks: readonly Run[]): Block {
  const runs: Run[] = [];
  let rows = 0;
  for (const { sequence, start, length } of chunks) {
    const last = runs.at(-1);
    if (last?.sequence === sequence && last.start + last.length === start) {
      runs[runs.length - 1] = { ...last, length: last.length + length };
    } else runs.push({ sequence, start, length, row: rows });
    rows += length;
  }
  return { runs, rows };
}

function inChunks({ sequence, start, length, row }: Run, bounds: readonly number[]): Run[] {
  const inside = bounds.filter((at) => at > start && at < start + length);
  const cuts = [start, ...new Set(inside), start + length];
  return cuts.slice(0, -1).map((from, i) => ({
    sequence,
    start: from,
    length: cuts[i + 1] - from,
    row: row + from - start,
  }));
}

/** Whether a query of `q` sees a key of `kv`, both runs of one sequence. */
function sees(mask: Mask, q: Run, kv: Run): boolean {
  if (mask.kind === "full") return true;
  // The first query at or after the first key reaches back farthest of those that see any.
  const first = Math.max(q.start, kv.start);
  if (first >= q.start + q.length) return false;
  return firstSeen(mask, first) < kv.start + kv.length || kv.start < sinkTokensOf(mask);
}
