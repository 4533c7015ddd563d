/** The room's public face: storage types, shapes and head counts. */
export { bytesPer, type DType, fromBytes, toBytes } from "./dtype.ts";
export { validateHeads } from "./heads.ts";
export { elements, showShape } from "./tensor.ts";
