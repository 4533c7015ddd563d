/**
 * Hugging Face's .safetensors files in and out: f32, f16 and bf16; f64 (read as f32) and the two fp8 types in.
 * Format: https://github.com/huggingface/safetensors#format
 */
import { InputError } from "../errors.ts";
import { bytesPer, type DType, fromBytes, fromF64, fromF8, toBytes } from "./dtype.ts";
import { elements, isShape, showShape, type Tensor } from "./tensor.ts";

/** Longest header, in bytes: the reference implementation's limit. */
const MAX_HEADER = 100_000_000;
const DTYPES: Readonly<Record<string, DType>> = { F32: "f32", F16: "f16", BF16: "bf16" };
/** Types that are read as another one: f64 rounded to f32, and fp8, whose values bf16 holds. */
const READ: Readonly<Record<string, { readonly as: DType; readonly read: typeof fromF64 }>> = {
  F64: { as: "f32", read: fromF64 },
  F8_E4M3: { as: "bf16", read: fromF8("e4m3") },
  F8_E5M2: { as: "bf16", read: fromF8("e5m2") },
};
const NAMES: Readonly<Record<DType, string>> = { f32: "F32", f16: "F16", bf16: "BF16" };
/** Bits per element of every dtype of the format: a file may hold others beside the wanted tensors. */
const BITS: Readonly<Record<string, number>> = {
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  BOOL: 8,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E5M2FNUZ: 8,
  F8_E4M3FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  I64: 64,
  U64: 64,
  F64: 64,
  C64: 64,
};

/** Levels that a header may nest: its object, an entry's object, an entry's list, and some to spare. */
const MOST_DEPTH = 8;
/** Most tensors of a file, or names in its metadata: the largest checkpoints' shards have some thousands. */
const MOST_NAMES = 200_000;
const [QUOTE, BACKSLASH, COLON, OBJECT, OBJECT_END, ARRAY, ARRAY_END] = Array.from('"\\:{}[]', (c) => c.charCodeAt(0));

/** A tensor's entry in the header, checked against its size. */
interface Entry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes after the header. */
  readonly begin: number;
  readonly end: number;
}

/**
 * Reads the `wanted` tensors from a .safetensors file called `name`, and the `optional` ones that it holds. Checks the
 * whole header, other tensors included. Errors: InputError, one line with file, tensor, what was found and expected.
 */
export function readSafetensors(
  bytes: Uint8Array,
  name: string,
  wanted: readonly string[],
  optional: readonly string[] = [],
): Record<string, Tensor> {
  const { header, start } = readHeader(bytes, name);
  const entries: Entry[] = [];
  for (const [tensor, entry] of Object.entries(header)) {
    if (tensor !== "__metadata__") entries.push(checkEntry(tensor, entry, name));
  }
  checkLayout(entries, bytes.length - start, name);
  const byName = new Map(entries.map((entry) => [entry.name, entry]));
  const missing = wanted.filter((tensor) => !byName.has(tensor));
  if (missing.length > 0) {
    throw new InputError(`${name}: found no tensor ${list(missing)}; the file holds ${list(byName.keys())}`);
  }
  // fromEntries defines own properties, so a tensor called __proto__ is a tensor and nothing else.
  const taken = [...wanted, ...optional.filter((tensor) => byName.has(tensor))];
  return Object.fromEntries(taken.map((tensor) => [tensor, readTensor(bytes, start, byName.get(tensor)!, name)]));
}

/** The names of the tensors in a .safetensors file called `name`, of whatever type. Errors: InputError. */
export function namesInSafetensors(bytes: Uint8Array, name: string): string[] {
  return Object.keys(readHeader(bytes, name).header).filter((tensor) => tensor !== "__metadata__");
}

/**
 * A .safetensors file of `tensors`, each stored in its dtype (rounded to nearest even). Wider types come first, then
 * tensors by name: so data is aligned, and equal tensors give equal bytes.
 * Throws InputError if a shape doesn't fit its data, or if a tensor is called `__metadata__`, which the format reserves.
 */
export function writeSafetensors(tensors: Readonly<Record<string, Tensor>>): Uint8Array<ArrayBuffer> {
  const sorted = Object.entries(tensors).sort(([a, x], [b, y]) =>
    bytesPer(y.dtype) - bytesPer(x.dtype) || (a < b ? -1 : 1)
  );
  let size = 0;
  const header = sorted.map(([tensor, { shape, dtype, data }]) => {
    if (tensor === "__metadata__") {
      throw new InputError(
        `writeSafetensors: found a tensor named "__metadata__", expected another name: the format reserves this one`,
      );
    }
    if (!isShape(shape) || elements(shape) !== data.length) {
      throw new InputError(
        `writeSafetensors: tensor ${JSON.stringify(tensor)}: found shape ${
          showShape(shape)
        } for ${data.length} elements, expected a shape of that many`,
      );
    }
    const begin = size;
    size += data.length * bytesPer(dtype);
    return [tensor, { dtype: NAMES[dtype], shape, data_offsets: [begin, size] }];
  });
  const text = new TextEncoder().encode(JSON.stringify(Object.fromEntries(header)));
  const length = Math.ceil(text.length / 8) * 8;
  const out = new Uint8Array(8 + length + size).fill(0x20, 8, 8 + length);
  new DataView(out.buffer).setBigUint64(0, BigInt(length), true);
  out.set(text, 8);
  let at = 8 + length;
  for (const [, { dtype, data }] of sorted) {
    out.set(new Uint8Array(toBytes(data, dtype)), at);
    at += data.length * bytesPer(dtype);
  }
  return out;
}

/** The header's JSON object and the first byte after it. */
function readHeader(bytes: Uint8Array, name: string): { header: object; start: number } {
  if (bytes.length < 8) {
    throw new InputError(`${name}: truncated: found a .safetensors file of ${bytes.length} bytes, expected at least 8`);
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true);
  if (length > MAX_HEADER) {
    throw new InputError(
      `${name}: found a header length of ${length} bytes, expected at most ${MAX_HEADER}; is it a .safetensors file?`,
    );
  }
  const start = 8 + Number(length);
  if (start > bytes.length) {
    throw new InputError(
      `${name}: found a header length of ${length} bytes, expected at most the ${
        bytes.length - 8
      } that follow; the file is truncated or no .safetensors file`,
    );
  }
  return { header: parseHeader(bytes.slice(8, start), name), start };
}

function parseHeader(bytes: Uint8Array, name: string): object {
  scanHeader(bytes, name);
  let header: unknown;
  try {
    // A byte order mark stays, and fails: the format says that a header begins with "{".
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch (error) {
    const why = error instanceof Error ? error.message.replaceAll(/\s+/g, " ") : String(error);
    throw new InputError(`${name}: found a header that is no JSON in UTF-8 (${why}), expected a JSON object`);
  }
  if (!isObject(header)) throw new InputError(`${name}: found the header ${show(header)}, expected a JSON object`);
  return header;
}

/**
 * Scans the header's bytes before JSON.parse sees them. Rejects nesting deeper than any header has, and names that come
 * twice: JSON.parse would keep the last.
 */
function scanHeader(bytes: Uint8Array, name: string): void {
  const text = new TextDecoder();
  // Names seen in each open object; an array has none.
  const open: (Set<string> | undefined)[] = [];
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i];
    if (byte === OBJECT || byte === ARRAY) {
      if (open.length === MOST_DEPTH) {
        throw new InputError(
          `${name}: found a header that nests deeper than ${MOST_DEPTH} levels at byte ${
            8 + i
          }, expected names, objects of dtype, shape and data_offsets, and nothing below them`,
        );
      }
      open.push(byte === OBJECT ? new Set() : undefined);
    } else if (byte === OBJECT_END || byte === ARRAY_END) open.pop();
    else if (byte === QUOTE) {
      const start = i;
      for (i++; i < bytes.length && bytes[i] !== QUOTE; i++) if (bytes[i] === BACKSLASH) i++;
      let next = i + 1;
      while (bytes[next] === 0x20 || bytes[next] === 0x09 || bytes[next] === 0x0a || bytes[next] === 0x0d) next++;
      const names = open.at(-1);
      if (bytes[next] !== COLON || names === undefined) continue;
      const key = keyOf(text.decode(bytes.subarray(start, i + 1)));
      if (names.has(key)) {
        throw new InputError(
          `${name}: found ${show(key)} twice in ${
            open.length === 1 ? "the header" : "one entry of the header"
          }, expected each name once`,
        );
      }
      if (names.size === MOST_NAMES) {
        throw new InputError(
          `${name}: found more than ${MOST_NAMES} names in ${
            open.length === 1 ? "the header" : "one entry of the header"
          }, expected no more`,
        );
      }
      names.add(key);
    }
  }
}

/** A name as JSON reads it. If JSON rejects it, the parse of the whole header does too. */
function keyOf(json: string): string {
  try {
    return JSON.parse(json) as string;
  } catch {
    return json;
  }
}

function checkEntry(tensor: string, entry: unknown, file: string): Entry {
  const bad = (found: string, expected: string) =>
    new InputError(`${file}: tensor ${show(tensor)}: found ${found}, expected ${expected}`);
  if (!isObject(entry)) throw bad(show(entry), "an object with dtype, shape and data_offsets");
  const { dtype, shape, data_offsets: offsets } = entry as Record<string, unknown>;
  if (typeof dtype !== "string" || !Object.hasOwn(BITS, dtype)) {
    throw bad(`dtype ${show(dtype)}`, "F32, F16 or BF16 (or another dtype of the format)");
  }
  if (!isShape(shape)) throw bad(`shape ${show(shape)}`, "an array of non-negative whole numbers below 2^53");
  if (!isShape(offsets) || offsets.length !== 2) {
    throw bad(`data_offsets ${show(offsets)}`, "two non-negative whole numbers below 2^53");
  }
  const [begin, end] = offsets;
  if (begin > end) throw bad(`data_offsets ${show(offsets)}`, "a begin that is not after the end");
  const count = elements(shape);
  if (count === undefined) throw bad(`shape ${showShape(shape)}`, "fewer than 2^53 elements");
  const size = (count * BITS[dtype]) / 8;
  if (end - begin !== size) {
    throw bad(
      `data_offsets ${show(offsets)}, ${end - begin} bytes`,
      `${size} bytes for shape ${showShape(shape)} of ${dtype}`,
    );
  }
  return { name: tensor, dtype, shape, begin, end };
}

/** Throws unless tensors lie one after the other, from the first byte of the data to the last. */
function checkLayout(entries: readonly Entry[], size: number, file: string): void {
  let next = 0;
  for (const entry of entries.toSorted((a, b) => a.begin - b.begin || a.end - b.end)) {
    const at = `${file}: tensor ${show(entry.name)}: found data_offsets [${entry.begin}, ${entry.end}]`;
    if (entry.end > size) {
      throw new InputError(`${at}, expected an end within the ${size} bytes of data; the file may be truncated`);
    }
    if (entry.begin < next) throw new InputError(`${at}, expected a begin of ${next}: it overlaps the tensor before`);
    if (entry.begin > next) throw new InputError(`${at}, expected a begin of ${next}: there is a hole before it`);
    next = entry.end;
  }
  if (next !== size) {
    throw new InputError(
      `${file}: found ${size} bytes of data, expected ${next}: there are ${
        size - next
      } trailing bytes after the last tensor`,
    );
  }
}

function readTensor(bytes: Uint8Array, start: number, entry: Entry, file: string): Tensor {
  const at = bytes.byteOffset + start + entry.begin;
  if (Object.hasOwn(READ, entry.dtype)) {
    const { as, read } = READ[entry.dtype];
    return { shape: entry.shape, dtype: as, data: read(bytes.buffer, at, elements(entry.shape)!) };
  }
  if (!Object.hasOwn(DTYPES, entry.dtype)) {
    throw new InputError(
      `${file}: tensor ${show(entry.name)}: found dtype ${entry.dtype}, ` +
        `expected F32, F16, BF16, F64, F8_E4M3 or F8_E5M2; save it as one of them, such as with x.to(torch.float32)`,
    );
  }
  const dtype = DTYPES[entry.dtype];
  return {
    shape: entry.shape,
    dtype,
    data: fromBytes(bytes.buffer, dtype, at, elements(entry.shape)),
  };
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value from a header as JSON, cut short. */
function show(value: unknown): string {
  const text = Array.isArray(value) ? `[${value.slice(0, 20).map(showLeaf).join(", ")}]` : showLeaf(value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

/** Without deeper levels, which could exceed the stack. */
function showLeaf(value: unknown): string {
  if (typeof value === "object" && value !== null) return Array.isArray(value) ? "an array" : "an object";
  if (typeof value === "string") return JSON.stringify(value);
  return value === undefined ? "nothing" : String(value);
}

function list(names: Iterable<string>): string {
  const all = Array.from(names, show);
  if (all.length === 0) return "none";
  return all.length > 20 ? `${all.slice(0, 20).join(", ")} and ${all.length - 20} more` : all.join(", ");
}
