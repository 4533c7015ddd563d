/** What the page allows between a result and the float64 reference, by the type on the wire. */
import type { DType, Tolerance } from "./engine.ts";

/**
 * The bars of the engine's own `check`. f32: PyTorch's for its ring attention. 16 bit: twice the error of a single pass plus
 * 1e-3, where the first is 0 here because seeded inputs are exact in bf16 and f16.
 */
const tolerances: Readonly<Record<DType, Tolerance>> = {
  f32: { absolute: 2e-6, relative: 1e-5 },
  f16: { absolute: 1e-3, relative: 0 },
  bf16: { absolute: 1e-3, relative: 0 },
};

/** The tolerance of a wire type. */
export function toleranceOf(wire: DType): Tolerance {
  return tolerances[wire];
}

/** The tolerance in words. */
export function sayTolerance({ absolute, relative }: Tolerance): string {
  return relative === 0 ? `${absolute.toExponential()} absolute` : `${absolute.toExponential()} absolute or ${relative.toExponential()} relative`;
}
