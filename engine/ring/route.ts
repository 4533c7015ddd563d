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
  readonly #sent = new Map<string, Block>();

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
    const owner = ownerAt(rank, hop, this.#size);
    const later = Array.from({ length: this.#size - 1 - hop }, (_, i) => (rank + 1 + i) % this.#size);
    return this.#some(owner, later);
  }

  /** The rows of `owner`'s queries whose partial results `rank` sends home in pass-Q. */
  parcel(rank: number, owner: number): Block {
    return this.#some(owner, [rank]);
  }

  /** A rank's own block, all of it. */
  own(rank: number): Block {
    return this.#visitors[rank];
  }

  /** The chunks of `owner`'s block that the rows of some of `ranks` meet. */
  #some(owner: number, ranks: readonly number[]): Block {
    const whole = this.#visitors[owner];
    if (ranks.length === 0) return NOTHING;
    if (!isLocal(this.#mask)) return whole;
    const key = `${owner} ${ranks.join(" ")}`;
    const known = this.#sent.get(key);
    if (known !== undefined) return known;
    const residents = ranks.map((rank) => bySequence(this.#residents[rank]));
    const made = keep(
      whole,
      this.#shards.bounds,
      (run) =>
        residents.some((held) => held.get(run.sequence)?.some((resident) => this.#meets(run, resident)) ?? false),
    );
    this.#sent.set(key, made);
    return made;
  }
}

/** The chunks of a block that `wanted` wants, in adjacent rows; the block itself, padding included, if it wants all. */
function keep(block: Block, bounds: Shards["bounds"], wanted: (chunk: Run) => boolean): Block {
  const runs: Run[] = [];
  let rows = 0;
  let all = true;
  for (const run of block.runs) {
    for (const { start, length } of inChunks(run, bounds.get(run.sequence) ?? [])) {
      const chunk = { sequence: run.sequence, start, length, row: rows };
      if (wanted(chunk)) {
        const last = runs.at(-1);
        if (last?.sequence === run.sequence && last.start + last.length === start) {
          runs[runs.length - 1] = { ...last, length: last.length + length };
        } else runs.push(chunk);
        rows += length;
      } else all = false;
    }
  }
  return all ? block : { runs, rows };
}

function inChunks({ start, length }: Run, bounds: readonly number[]): { start: number; length: number }[] {
  const inside = bounds.filter((at) => at > start && at < start + length);
  const cuts = [start, ...new Set(inside), start + length];
  return cuts.slice(0, -1).map((from, i) => ({ start: from, length: cuts[i + 1] - from }));
}

/** Whether a query of `q` sees a key of `kv`, both runs of one sequence. */
function sees(mask: Mask, q: Run, kv: Run): boolean {
  if (mask.kind === "full") return true;
  // The first query at or after the first key reaches back farthest of those that see any.
  const first = Math.max(q.start, kv.start);
  if (first >= q.start + q.length) return false;
  return firstSeen(mask, first) < kv.start + kv.length || kv.start < sinkTokensOf(mask);
}
