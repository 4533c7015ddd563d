/** Storage types of tensor elements, and conversion between them and f32. */

/** f32, IEEE half precision, bfloat16 (the upper half of an f32). */
export type DType = "f32" | "f16" | "bf16";
