/**
 * numpy's .npy files in and out: f32, f16 and f64 (read as f32), little-endian, C order.
 * Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */
import { InputError } from "../errors.ts";
import { bytesPer, type DType, fromBytes, fromF64 } from "./dtype.ts";
import { parseNpyHeader } from "./npy-header.ts";
import { elements, isShape, showShape, type Tensor } from "./tensor.ts";

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]; // "\x93NUMPY"
const VERSIONS = ["1.0", "2.0", "3.0"];
const DTYPES: Readonly<Record<string, DType>> = { "<f4": "f32", "<f2": "f16", "<f8": "f32" };
/** Longest header accepted. Ours take one line; versions 2.0 and 3.0 allow 4 GiB, for structured dtypes. */
const MAX_HEADER = 65535;

/**
 * Reads a .npy file of version 1.0, 2.0 or 3.0; `name` is the file's name. Errors: InputError, one line with what was
 * found and expected.
 */
export function readNpy(bytes: Uint8Array, name: string): Tensor {
  const { text, end } = headerText(bytes, name);
  const { descr, fortranOrder, shape } = parseNpyHeader(text, name);
  const dtype = Object.hasOwn(DTYPES, descr) ? DTYPES[descr] : undefined;
  if (dtype === undefined) {
    throw new InputError(`${name}: found dtype '${descr}', expected '<f4', '<f2' or '<f8'; ${hint(descr)}`);
  }
  if (fortranOrder) {
    throw new InputError(`${name}: found Fortran order, expected C order; save np.ascontiguousarray(x)`);
  }
  const count = elements(shape);
  if (count === undefined) {
    throw new InputError(`${name}: found shape ${showShape(shape)}, expected fewer than 2^53 elements`);
  }
  const have = bytes.length - end;
  const wide = descr === "<f8";
  const need = count * (wide ? 8 : bytesPer(dtype));
  if (have !== need) {
    const what = have < need ? "the file is truncated" : `there are ${have - need} trailing bytes`;
    throw new InputError(
      `${name}: found ${have} bytes of data, expected ${need} for shape ${showShape(shape)} of '${descr}'; ${what}`,
    );
  }
  const at = bytes.byteOffset + end;
  return { shape, dtype, data: wide ? fromF64(bytes.buffer, at, count) : fromBytes(bytes.buffer, dtype, at, count) };
}

/**
 * A .npy file, version 1.0, of `data` in C order as '<f4': the bytes that numpy.save writes (numpy 2.4).
 * Throws InputError if the shape doesn't fit the data.
 */
export function writeNpy(shape: readonly number[], data: Float32Array): Uint8Array<ArrayBuffer> {
  return written("<f4", shape, data);
}

/** The same of whole numbers, as '<i8'. */
export function writeNpyInts(shape: readonly number[], data: BigInt64Array): Uint8Array<ArrayBuffer> {
  return written("<i8", shape, data);
}

function written(
  descr: string,
  shape: readonly number[],
  data: Float32Array | BigInt64Array,
): Uint8Array<ArrayBuffer> {
  if (!isShape(shape) || elements(shape) !== data.length) {
    throw new InputError(
      `writeNpy: found shape ${showShape(shape)} for ${data.length} elements, expected a shape of that many`,
    );
  }
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(", ")})`;
  // numpy leaves room for the first axis to grow to 21 digits, then pads to a multiple of 64 with 1 to 64 characters.
  const room = shape.length === 0 ? 0 : 21 - `${shape[0]}`.length;
  const text = `{'descr': '${descr}', 'fortran_order': False, 'shape': ${tuple}, }${" ".repeat(room)}`;
  const start = 10 + text.length + 1;
  const end = start + 64 - (start % 64);
  if (end - 10 > MAX_HEADER) {
    throw new InputError(
      `writeNpy: found a shape of ${shape.length} axes, expected a header of at most ${MAX_HEADER} bytes`,
    );
  }
  const out = new Uint8Array(end + data.byteLength).fill(0x20, 0, end);
  out.set([...MAGIC, 1, 0]);
  new DataView(out.buffer).setUint16(8, end - 10, true);
  out.set(new TextEncoder().encode(text), 10);
  out[end - 1] = 0x0a;
  out.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), end);
  return out;
}

/** The header's dictionary and the first byte after it. */
function headerText(bytes: Uint8Array, name: string): { text: string; end: number } {
  const known = Math.min(bytes.length, MAGIC.length);
  if (MAGIC.some((byte, i) => i < known && bytes[i] !== byte)) {
    throw new InputError(
      `${name}: found a file that starts with ${hex(bytes.subarray(0, MAGIC.length))}, expected the .npy magic ${
        hex(MAGIC)
      }; save it with numpy.save`,
    );
  }
  if (bytes.length < 8) throw truncated(name, bytes.length, "at least 8");
  const version = `${bytes[6]}.${bytes[7]}`;
  if (!VERSIONS.includes(version)) {
    throw new InputError(`${name}: found .npy version ${version}, expected ${VERSIONS.join(", ")}`);
  }
  const start = version === "1.0" ? 10 : 12;
  if (bytes.length < start) throw truncated(name, bytes.length, `at least ${start}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const length = version === "1.0" ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_HEADER) {
    throw new InputError(`${name}: found a .npy header of ${length} bytes, expected at most ${MAX_HEADER}`);
  }
  const end = start + length;
  if (bytes.length < end) throw truncated(name, bytes.length, `${end}`);
  // Versions 1.0 and 2.0 are Latin-1, but what we accept is ASCII, and that reads the same.
  return { text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes.slice(start, end)), end };
}

function truncated(name: string, have: number, need: string): InputError {
  return new InputError(`${name}: truncated .npy header: found a file of ${have} bytes, expected ${need}`);
}

/** What to do about a dtype that this module can't read. */
function hint(descr: string): string {
  if (/^>f[248]$/.test(descr)) return `big-endian: save x.astype('<${descr.slice(1)}')`;
  if (/^[<|]V2$/.test(descr)) {
    return "numpy has no name for bfloat16: save it in a .safetensors file, or x.astype('<f4')";
  }
  return "save x.astype('<f4')";
}

function hex(bytes: Iterable<number>): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ") || "nothing";
}
