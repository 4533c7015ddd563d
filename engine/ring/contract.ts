/**
 * The contract of the ring programs: a partial attention with its merge, and a ring.
 * No worker, port, buffer or shader appears here. Back-ends and transports implement it: GPU, plain TypeScript, the
 * planner's simulated cluster, and tests.
 */

/** The operand that travels round the ring: K and V, or Q. */
export type Variant = "pass-kv" | "pass-q";

/** What travels round the ring. `owner` is the rank s that held it first (the paper's X_k^s is this on rank k). */
export interface Chunk {
  readonly owner: number;
  readonly bytes: number;
}

/**
 * attend and merge on one rank's device. Q and KV are chunks loaded on the device. P is a partial result (O, LSE): O
 * normalised f32 `[rows, H, D]`, LSE natural log f32 `[rows, H]`. A row that sees no key has O = 0 and LSE = -Infinity.
 */
export interface Attention<C extends Chunk, Q, KV, P> {
  /**
   * Copies a chunk of queries, needed at hop `hop`, to the device. The chunk's bytes may travel on afterwards.
   */
  loadQueries(chunk: C, hop: number): Q;
  /**
   * Copies a chunk of keys and values, needed at hop `hop`, to the device. The chunk's bytes may travel on afterwards.
   */
  loadKeys(chunk: C, hop: number): KV;
  /**
   * Attention of q to kv at hop `hop`. With `into`, the same kernel merges it into that running partial (Eq. 4). Under a
   * local mask nothing runs if no query sees a key.
   */
  attend(hop: number, q: Q, kv: KV, into?: P): Promise<P>;
  /** Takes a partial off the device, as a chunk that can travel. `owner` is the rank whose queries it answers. */
  unload(hop: number, partial: P, owner: number): Promise<C>;
  /** Merges this rank's own partial with those that arrived, in the order of the ranks that computed them (Eq. 4). */
  merge(own: P, arrived: readonly C[]): Promise<P>;
}

/** One rank's place in the ring. */
export interface Ring<C extends Chunk> {
  /** This rank k, 0 .. N-1. */
  readonly rank: number;
  /** N. */
  readonly size: number;
  /**
   * Sends a chunk to rank k+1 and resolves to the one that arrives from rank k-1. Takes ownership of the chunk. Rows that
   * no later rank needs are left out (see Route), so a chunk may have none.
   */
  shift(hop: number, chunk: C): Promise<C>;
  /**
   * Sends `parcels[s]` to each other rank s. Resolves to the others' parcels for this rank, in rank order, without an
   * entry for itself or for a rank whose keys none of its queries sees.
   */
  allToAll(parcels: readonly (C | undefined)[]): Promise<C[]>;
}

/** The first owner of the chunk that rank k holds at hop j: s = (k - j) mod N. */
export function ownerAt(rank: number, hop: number, size: number): number {
  return (rank - hop + size) % size;
}
