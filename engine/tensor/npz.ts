/**
 * numpy's .npz files: a zip archive of .npy files, stored or deflated.
 * Format: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16
 */
import { InputError } from "../errors.ts";
import { readNpy } from "./npy.ts";
import type { Tensor } from "./tensor.ts";

const [END, CENTRAL, LOCAL] = [0x06054b50, 0x02014b50, 0x04034b50];
/** Bytes of these records without their texts. */
const [END_SIZE, CENTRAL_SIZE, LOCAL_SIZE] = [22, 46, 30];
const [STORED, DEFLATED] = [0, 8];
/** Most bytes of one array: more doesn't fit a typed array. */
const MOST_BYTES = 2 ** 31 - 1;

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly packed: number;
  readonly size: number;
  readonly at: number;
}

/**
 * The `wanted` arrays of an .npz file called `name`, and those of `optional` that it holds. Errors: InputError with the
 * file and the array.
 */
export async function readNpz(
  bytes: Uint8Array,
  name: string,
  wanted: readonly string[],
  optional: readonly string[] = [],
): Promise<Record<string, Tensor>> {
  const entries = entriesOf(bytes, name).filter((entry) => entry.name.endsWith(".npy"));
  const names = entries.map((entry) => entry.name.slice(0, -4));
  const missing = wanted.find((one) => !names.includes(one));
  if (missing !== undefined) {
    throw new InputError(
      `${name}: found no array ${JSON.stringify(missing)}; the file holds ${
        names.map((one) => JSON.stringify(one)).join(", ") || "none"
      }`,
    );
  }
  const read: [string, Tensor][] = [];
  for (const entry of entries) {
    const own = entry.name.slice(0, -4);
    if (!wanted.includes(own) && !optional.includes(own)) continue;
    read.push([own, readNpy(await dataOf(bytes, entry, name), `${name}, array ${own}`)]);
  }
  return Object.fromEntries(read);
}

/** The names of the arrays in an .npz file called `name`. Errors: InputError. */
export function namesInNpz(bytes: Uint8Array, name: string): string[] {
  return entriesOf(bytes, name).filter((entry) => entry.name.endsWith(".npy")).map((entry) => entry.name.slice(0, -4));
}

function entriesOf(bytes: Uint8Array, name: string): Entry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  // The end record stands before a comment of at most 65,535 bytes.
  let end = bytes.length - END_SIZE;
  while (end >= 0 && view.getUint32(end, true) !== END && end > bytes.length - END_SIZE - 65_536) end--;
  if (end < 0 || view.getUint32(end, true) !== END) {
    throw new InputError(`${name}: found no zip archive, expected an .npz file as numpy.savez writes it`);
  }
  const count = view.getUint16(end + 10, true);
  let at = view.getUint32(end + 16, true);
  const entries: Entry[] = [];
  for (let i = 0; i < count; i++) {
    if (at + CENTRAL_SIZE > bytes.length || view.getUint32(at, true) !== CENTRAL) throw damaged(name);
    const length = view.getUint16(at + 28, true);
    const extra = view.getUint16(at + 30, true);
    const entry: Entry = {
      name: new TextDecoder().decode(bytes.subarray(at + CENTRAL_SIZE, at + CENTRAL_SIZE + length)),
      method: view.getUint16(at + 10, true),
      packed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      at: view.getUint32(at + 42, true),
    };
    if (entry.method !== STORED && entry.method !== DEFLATED) {
      throw new InputError(
        `${name}: found ${JSON.stringify(entry.name)} packed by method ${entry.method}, expected stored or deflated`,
      );
    }
    if (entry.size > MOST_BYTES || entry.packed > MOST_BYTES) {
      throw new InputError(`${name}: found ${JSON.stringify(entry.name)} of over ${MOST_BYTES} bytes, expected fewer`);
    }
    entries.push(entry);
    at += CENTRAL_SIZE + length + extra + view.getUint16(at + 32, true);
  }
  return entries;
}

async function dataOf(
  bytes: Uint8Array,
  { name: own, method, packed, size, at }: Entry,
  name: string,
): Promise<Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  if (at + LOCAL_SIZE > bytes.length || view.getUint32(at, true) !== LOCAL) throw damaged(name);
  const start = at + LOCAL_SIZE + view.getUint16(at + 26, true) + view.getUint16(at + 28, true);
  if (start + packed > bytes.length) throw damaged(name);
  const data = bytes.slice(start, start + packed);
  const whole = method === STORED ? data : await inflated(data, size, `${name}, ${own}`);
  if (whole.length !== size) throw damaged(name);
  return whole;
}

/** Unpacks at most `size` bytes. */
async function inflated(data: Uint8Array<ArrayBuffer>, size: number, name: string): Promise<Uint8Array> {
  const out = new Uint8Array(size);
  let at = 0;
  try {
    const stream = new Blob([data]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    for await (const part of stream as unknown as AsyncIterable<Uint8Array>) {
      if (at + part.length > size) throw new Error("more bytes than it says");
      out.set(part, at);
      at += part.length;
    }
  } catch (error) {
    throw new InputError(`${name}: cannot be unpacked (${(error as Error).message}); the file is damaged`);
  }
  return out.subarray(0, at);
}

function damaged(name: string): InputError {
  return new InputError(`${name}: found a damaged zip archive, expected an .npz file as numpy.savez writes it`);
}
