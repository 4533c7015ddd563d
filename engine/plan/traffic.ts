/** Bytes on the wire: Tables 2 and 3 of the paper, and the All2All of Appendix C. */

/** Bytes of an LSE in partial results. It is f32, because a 16-bit LSE ruins the merge. */
const LSE_BYTES = 4;

/** One KV message, `2 rows N_KV D_H e` (Table 3). `rows` counts padding. */
export function kvMessage(rows: number, kvHeads: number, headDim: number, bytes: number): number {
  return 2 * rows * kvHeads * headDim * bytes;
}

/** One Q message, `rows N_H D_H e` (Table 3). */
export function qMessage(rows: number, heads: number, headDim: number, bytes: number): number {
  return rows * heads * headDim * bytes;
}

/**
 * Partial results of some query rows on their way home: O with `bytes` an element, and an f32 LSE for each row and head
 * (Appendix C has D + 1; this is D + N_H).
 */
export function parcel(rows: number, heads: number, valueDim: number, bytes: number): number {
  return rows * heads * (valueDim * bytes + LSE_BYTES);
}

/** One all-reduce of activations, `T D e`. A block has two (Table 2). */
export function activations(rows: number, width: number, bytes = 2): number {
  return rows * width * bytes;
}

/** Table 2: the elements of one block that tensor parallelism all-reduces, `2 T N_H D_H`. */
export function tpElements(T: number, heads: number, headDim: number): number {
  return 2 * T * heads * headDim;
}

/** Table 2 as printed: the elements of one block that context parallelism sends, `T N_KV D_H` (K only, without V). */
export function cpElements(T: number, kvHeads: number, headDim: number): number {
  return T * kvHeads * headDim;
}
