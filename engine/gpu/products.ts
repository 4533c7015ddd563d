/** What a kernel's products are computed from, which decides how far rounding may take its result. */

/** "f16" if one of these kernels multiplies in f16: `kernel` is a kernel's name, or what a report calls those that ran. */
export function productsOf(kernel: string): "f32" | "f16" {
  return /(^| \+ )attend-matrix(:|$)/.test(kernel) ? "f16" : "f32";
}
