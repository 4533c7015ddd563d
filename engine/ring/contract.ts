/**
 * The contract that the ring programs are written against: a partial attention with its merge, and a ring.
 * No worker, port, buffer or shader appears here; back-ends and transports implement it (GPU, plain TypeScript,
 * the planner's simulated cluster, and tests).
 */

/** Which operand travels round the ring. */
export type Variant = "pass-kv" | "pass-q";

/** What travels round the ring; `owner` is the rank s that held it first (the paper's X_k^s is this on rank k). */
export interface Chunk {
  readonly owner: number;
  readonly bytes: number;
}

/**
 * attend and merge on one rank's device. Q and KV are chunks made ready on the device, P is a partial result (O, LSE):
 * O normalised f32 `[rows, H, D]`, LSE natural log f32 `[rows, H]`, O = 0 and LSE = -Infinity where a row sees no key.
 */
export interface Attention<C extends Chunk, Q, KV, P> {
  /**
   * Copies a chunk of queries, needed at ring step `hop`, to the device; the chunk's bytes may travel on afterwards.
   */
  loadQueries(chunk: C, hop: number): Q;
  /**
   * Copies a chunk of keys and values, needed at ring step `hop`, to the device; the chunk's bytes may travel on
   * afterwards.
   */
  loadKeys(chunk: C, hop: number): KV;
  /**
   * Attention of q to kv at ring step `hop`; with `into`, merged into that running partial by the same kernel (Eq. 4).
   */
  attend(hop: number, q: Q, kv: KV, into?: P): Promise<P>;
  /** Takes a partial off the device as a chunk that can travel; `owner` is the rank whose queries it answers. */
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
  /** Sends a chunk to rank k+1 and resolves to the one that arrives from rank k-1. The chunk's bytes are given away. */
  shift(hop: number, chunk: C): Promise<C>;
  /**
   * Sends `parcels[s]` to each other rank s and resolves to what the others sent here, in rank order, without an own
   * entry.
   */
  allToAll(parcels: readonly (C | undefined)[]): Promise<C[]>;
}

/** The rank that first owned the chunk that rank k holds at step j: s = (k - j) mod N. */
export function ownerAt(rank: number, hop: number, size: number): number {
  return (rank - hop + size) % size;
}
