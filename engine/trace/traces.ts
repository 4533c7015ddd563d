/** Files of profiler traces: packed or not, and one for each rank. */
import { InputError } from "../errors.ts";
import type { KinetoTrace } from "./kineto.ts";

/** Most bytes of an unpacked trace: V8's longest string has hardly more characters. */
const MOST_BYTES = 500_000_000;

/** A file's text, unpacked if it is gzip. Errors: InputError. */
export async function textOf(bytes: Uint8Array, file: string): Promise<string> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) {
    if (bytes.length > MOST_BYTES) throw tooLong(file);
    return new TextDecoder().decode(bytes);
  }
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    const stream = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(new DecompressionStream("gzip"));
    for await (const part of stream as unknown as AsyncIterable<Uint8Array>) {
      size += part.length;
      if (size > MOST_BYTES) throw tooLong(file);
      parts.push(part);
    }
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(`${file}: cannot be unpacked (${(error as Error).message}), expected JSON or gzip of it`);
  }
  return new TextDecoder().decode(await new Blob(parts as BlobPart[]).arrayBuffer());
}

const tooLong = (file: string) =>
  new InputError(
    `${file}: found a trace of more than ${
      MOST_BYTES.toLocaleString("en-US")
    } bytes, expected fewer; profile fewer steps`,
  );

/** Throws InputError if two traces are of one rank. */
export function requireOneEach(traces: readonly KinetoTrace[]): void {
  const twice = traces.find(({ rank }, i) => traces.findIndex((other) => other.rank === rank) !== i);
  if (twice !== undefined) {
    const other = traces.find(({ rank, file }) => rank === twice.rank && file !== twice.file);
    throw new InputError(
      `${twice.file}: found a second trace of rank ${twice.rank}, after ${other?.file ?? twice.file}; ` +
        "expected one file a rank",
    );
  }
}
