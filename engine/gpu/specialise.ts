/** Rewrites the marked lines of a kernel's text for a head size and storage types. */
import type { DType } from "../tensor/dtype.ts";
import { type AttendShape, pieceQuads } from "./kernels.ts";

/**
 * How four stored elements look in WGSL, and how they become a vec4f. A core builtin unpacks f16, so no `shader-f16` is
 * needed.
 */
const STORAGE: Readonly<Record<DType, { readonly type: string; readonly unpack: string }>> = {
  f32: { type: "vec4f", unpack: "x" },
  f16: { type: "vec2u", unpack: "vec4f(unpack2x16float(x.x), unpack2x16float(x.y))" },
  bf16: {
    type: "vec2u",
    unpack: "bitcast<vec4f>(vec4u(x.x << 16u, x.x & 0xffff0000u, x.y << 16u, x.y & 0xffff0000u))",
  },
};

/**
 * The text of an attention kernel with its `specialise` lines rewritten. Throws if one of them is missing: otherwise an
 * edited shader would run at its defaults and nobody would notice.
 */
export function specialise(text: string, shape: AttendShape): string {
  const lines: readonly (readonly [RegExp, string])[] = [
    [/^const D: u32 = .*$/m, `const D: u32 = ${shape.headDim}u;`],
    [/^alias Q4 = .*$/m, `alias Q4 = ${STORAGE[shape.q].type};`],
    [/^alias KV4 = .*$/m, `alias KV4 = ${STORAGE[shape.kv].type};`],
    [/^fn unpack_q\(.*$/m, `fn unpack_q(x: Q4) -> vec4f { return ${STORAGE[shape.q].unpack}; }`],
    [/^fn unpack_kv\(.*$/m, `fn unpack_kv(x: KV4) -> vec4f { return ${STORAGE[shape.kv].unpack}; }`],
  ];
  const { headDim, valueDim = headDim, valuesInKeys = false } = shape;
  // Only the kernels of single query rows have the first of these lines, and those of other head sizes the others.
  const sized = text
    .replace(/^const QUADS: u32 = \d+u;/m, `const QUADS: u32 = ${pieceQuads(shape.group)}u;`)
    .replace(/^const DV: u32 = \d+u;/m, `const DV: u32 = ${valueDim}u;`)
    .replace(/^const V_ROW: u32 = \d+u;/m, `const V_ROW: u32 = ${(valuesInKeys ? headDim : valueDim) / 4}u;`);
  return lines.reduce((source, [line, replacement]) => {
    if (!line.test(source)) throw new Error(`attention kernel: no line matches ${line}; the host replaces it`);
    return source.replace(line, replacement);
  }, sized);
}
