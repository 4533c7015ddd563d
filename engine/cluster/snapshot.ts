/** A session's cache as bytes: a checksum, a JSON header, then each rank's rows in their cached type. */
import { InputError } from "../errors.ts";
import { sayValue } from "../options.ts";
import { count, type Range } from "../layout/shards.ts";
import type { CachedRows } from "../rank/cache.ts";
import { bytesPer, type DType, fromBytes } from "../tensor/dtype.ts";

/** The content of a snapshot: the shape that it fits, and every rank's rows. */
export interface Snapshot {
  /** N. */
  readonly size: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly valueDim: number;
  readonly valuesInKeys: boolean;
  readonly wireDtype: DType;
  readonly steps: number;
  readonly ranks: readonly (readonly CachedRows[])[];
}

const MAGIC = new TextEncoder().encode("ringside snapshot 3\n");
/** Bytes of the checksum: the SHA-256 of everything after it. */
const SUM = 32;
/** Positions of the header's length (u32, little-endian) and of the header. */
const LENGTH_AT = MAGIC.length + SUM;
const HEADER_AT = LENGTH_AT + 4;
/** Largest header accepted, in bytes. */
const LARGEST_HEADER = 64 * 2 ** 20;

interface Header extends Omit<Snapshot, "ranks"> {
  readonly ranks: readonly (readonly { readonly sequence: number; readonly ranges: readonly Range[] }[])[];
}

/**
 * Bytes of a snapshot: the magic line, the checksum, the header's length, the header, the data of all ranks in order.
 */
export async function packSnapshot(snapshot: Snapshot): Promise<Uint8Array> {
  const header: Header = {
    ...snapshot,
    ranks: snapshot.ranks.map((rows) => rows.map(({ sequence, ranges }) => ({ sequence, ranges }))),
  };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const parts = snapshot.ranks.flatMap((rows) => rows.map((r) => new Uint8Array(r.data)));
  const out = new Uint8Array(HEADER_AT + text.length + parts.reduce((sum, p) => sum + p.length, 0));
  out.set(MAGIC);
  new DataView(out.buffer).setUint32(LENGTH_AT, text.length, true);
  out.set(text, HEADER_AT);
  let at = HEADER_AT + text.length;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  out.set(await sumOf(out), MAGIC.length);
  return out;
}

/**
 * Copies a snapshot's bytes: a Buffer's slice would share memory with other files, and its owner may change it. Errors:
 * InputError.
 */
export function snapshotBytes(given: unknown): Uint8Array<ArrayBuffer> {
  return given instanceof Uint8Array
    ? new Uint8Array(given)
    : bad(`found ${sayValue(given)}, expected the Uint8Array that snapshot() returned`);
}

/**
 * Reads a snapshot for a session. Checks its checksum, shape, positions and values. Errors: InputError with what was
 * found and expected.
 */
export async function unpackSnapshot(
  bytes: Uint8Array<ArrayBuffer>,
  fits: Omit<Snapshot, "steps" | "ranks">,
): Promise<Snapshot> {
  if (bytes.length < HEADER_AT || MAGIC.some((byte, i) => bytes[i] !== byte)) {
    bad("found other bytes, expected those that snapshot() of this version returned");
  }
  const sum = await sumOf(bytes);
  if (sum.some((byte, i) => bytes[MAGIC.length + i] !== byte)) {
    bad("found bytes that don't match its checksum, expected it unchanged: it was damaged or cut off");
  }
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(LENGTH_AT, true);
  const begin = HEADER_AT + length;
  if (length > LARGEST_HEADER || begin > bytes.length) {
    bad(`found a header of ${length} bytes in ${bytes.length} bytes, expected it to fit`);
  }
  const header = headerOf(bytes.subarray(HEADER_AT, begin), fits);
  const elements = fits.headDim + (fits.valuesInKeys ? 0 : fits.valueDim);
  const rowBytes = fits.kvHeads * elements * bytesPer(fits.wireDtype);
  let at = begin;
  const ranks = header.ranks.map((held, rank) =>
    held.map(({ sequence, ranges }): CachedRows => {
      const size = count(ranges) * rowBytes;
      if (at + size > bytes.length) bad(`found ${bytes.length} bytes, expected at least ${at + size}: it is cut off`);
      const data = bytes.slice(at, at + size).buffer;
      const wrong = fromBytes(data, fits.wireDtype).find((x) => !Number.isFinite(x));
      if (wrong !== undefined) {
        bad(`rank ${rank}, sequence ${sequence}: found ${wrong} among its keys and values, expected finite numbers`);
      }
      at += size;
      return { sequence, ranges: ranges.map(({ start, end }) => ({ start, end })), data };
    })
  );
  if (at !== bytes.length) bad(`found ${bytes.length} bytes, expected ${at}`);
  return { ...fits, steps: header.steps, ranks };
}

function headerOf(text: Uint8Array, fits: Omit<Snapshot, "steps" | "ranks">): Header {
  let header: Header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(text));
  } catch {
    return bad("found a header that is no JSON, expected JSON");
  }
  for (const name of ["size", "heads", "kvHeads", "headDim", "valueDim", "valuesInKeys", "wireDtype"] as const) {
    if (header?.[name] !== fits[name]) {
      bad(`found ${name} ${JSON.stringify(header?.[name])}, expected this session's ${JSON.stringify(fits[name])}`);
    }
  }
  if (
    !Number.isSafeInteger(header.steps) || header.steps < 0 || !Array.isArray(header.ranks) ||
    header.ranks.length !== fits.size
  ) {
    bad(`found a header without the steps and rows of ${fits.size} ranks`);
  }
  const held = new Map<number, Range[][]>();
  for (const [rank, sequences] of header.ranks.entries()) {
    if (!Array.isArray(sequences)) bad(`rank ${rank}: found no list of sequences`);
    for (const entry of sequences as unknown[]) {
      const { sequence, ranges } = (entry ?? {}) as Header["ranks"][number][number];
      if (!Number.isSafeInteger(sequence) || sequence < 0 || !Array.isArray(ranges)) {
        bad(`rank ${rank}: found sequence ${sequence} without ranges, expected both`);
      }
      const perRank = held.get(sequence) ?? Array.from({ length: fits.size }, () => []);
      if (perRank[rank].length > 0) bad(`rank ${rank}: found sequence ${sequence} twice, expected it once`);
      perRank[rank] = ranges;
      held.set(sequence, perRank);
    }
  }
  for (const [sequence, perRank] of held) requireDealt(sequence, perRank);
  return header;
}

/**
 * Throws unless the ranks hold every position of a sequence once, up to its length, and their counts differ by at most 1
 * as after a deal.
 */
function requireDealt(sequence: number, perRank: readonly (readonly Range[])[]): void {
  for (const [rank, ranges] of perRank.entries()) {
    let end = 0;
    for (const range of ranges) {
      if (
        !Number.isSafeInteger(range?.start) || !Number.isSafeInteger(range?.end) || range.start < end ||
        range.end <= range.start
      ) {
        bad(`rank ${rank}, sequence ${sequence}: found range ${JSON.stringify(range)}, expected ascending positions`);
      }
      end = range.end;
    }
  }
  let next = 0;
  for (const { start, end } of perRank.flat().sort((a, b) => a.start - b.start)) {
    if (start !== next) {
      bad(
        `sequence ${sequence}: found position ${Math.min(start, next)} ${
          start > next ? "on no rank" : "on two ranks"
        }, expected each on one`,
      );
    }
    next = end;
  }
  const counts = perRank.map((ranges) => count(ranges));
  if (Math.max(...counts) - Math.min(...counts) > 1) {
    bad(
      `sequence ${sequence}: found ${counts.join(", ")} tokens on the ranks, expected numbers that differ by at most 1`,
    );
  }
}

/** SHA-256 of the bytes after the checksum. */
async function sumOf(bytes: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes.subarray(LENGTH_AT) as Uint8Array<ArrayBuffer>));
}

function bad(what: string): never {
  throw new InputError(`snapshot: ${what}`);
}
