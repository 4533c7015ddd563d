/** A session's cache as bytes: a JSON header, then each rank's rows as they are cached. */
import { InputError } from "../errors.ts";
import { count, type Range } from "../layout/shards.ts";
import type { CachedRows } from "../rank/cache.ts";
import { bytesPer, type DType } from "../tensor/dtype.ts";

/** What a snapshot holds: the shape it fits, and every rank's rows. */
export interface Snapshot {
  /** N. */
  readonly size: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly wireDtype: DType;
  readonly steps: number;
  readonly ranks: readonly (readonly CachedRows[])[];
}

const MAGIC = "ringside snapshot 1\n";
/** Headers above this are not read. */
const LARGEST_HEADER = 64 * 2 ** 20;

interface Header extends Omit<Snapshot, "ranks"> {
  readonly ranks: readonly (readonly { readonly sequence: number; readonly ranges: readonly Range[] }[])[];
}

/** Bytes of a snapshot: the magic line, the header's length (u32, little-endian), the header, the data of all ranks in order. */
export function packSnapshot(snapshot: Snapshot): Uint8Array {
  const header: Header = { ...snapshot, ranks: snapshot.ranks.map((rows) => rows.map(({ sequence, ranges }) => ({ sequence, ranges }))) };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const parts = snapshot.ranks.flatMap((rows) => rows.map((r) => new Uint8Array(r.data)));
  const begin = MAGIC.length + 4 + text.length;
  const out = new Uint8Array(begin + parts.reduce((sum, p) => sum + p.length, 0));
  out.set(new TextEncoder().encode(MAGIC));
  new DataView(out.buffer).setUint32(MAGIC.length, text.length, true);
  out.set(text, MAGIC.length + 4);
  let at = begin;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Reads a snapshot that must fit a session. Errors: InputError saying what was found and expected. */
export function unpackSnapshot(bytes: Uint8Array, fits: Omit<Snapshot, "steps" | "ranks">): Snapshot {
  const bad = (what: string): never => {
    throw new InputError(`snapshot: ${what}`);
  };
  if (bytes.length < MAGIC.length + 4 || new TextDecoder().decode(bytes.subarray(0, MAGIC.length)) !== MAGIC) bad("found other bytes, expected those of a Ringside snapshot");
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(MAGIC.length, true);
  const begin = MAGIC.length + 4 + length;
  if (length > LARGEST_HEADER || begin > bytes.length) bad(`found a header of ${length} bytes in ${bytes.length} bytes, expected it to fit`);
  let header: Header;
  try {
    header = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes.subarray(MAGIC.length + 4, begin)));
  } catch {
    return bad("found a header that is no JSON, expected JSON");
  }
  for (const name of ["size", "heads", "kvHeads", "headDim", "wireDtype"] as const) {
    if (header?.[name] !== fits[name]) bad(`found ${name} ${JSON.stringify(header?.[name])}, expected this session's ${JSON.stringify(fits[name])}`);
  }
  if (!Number.isSafeInteger(header.steps) || header.steps < 0 || !Array.isArray(header.ranks) || header.ranks.length !== fits.size) bad(`found a header without the steps and rows of ${fits.size} ranks`);
  const rowBytes = 2 * fits.kvHeads * fits.headDim * bytesPer(fits.wireDtype);
  let at = begin;
  const ranks = header.ranks.map((held, rank) => {
    if (!Array.isArray(held)) bad(`rank ${rank}: found no list of sequences`);
    const seen = new Set<number>();
    return held.map(({ sequence, ranges }): CachedRows => {
      if (!Number.isSafeInteger(sequence) || sequence < 0 || seen.has(sequence) || !Array.isArray(ranges)) bad(`rank ${rank}: found sequence ${sequence} twice or without ranges`);
      seen.add(sequence);
      let end = 0;
      for (const range of ranges) {
        if (!Number.isSafeInteger(range?.start) || !Number.isSafeInteger(range?.end) || range.start < end || range.end <= range.start) bad(`rank ${rank}, sequence ${sequence}: found range ${JSON.stringify(range)}, expected ascending positions`);
        end = range.end;
      }
      const size = count(ranges) * rowBytes;
      if (at + size > bytes.length) bad(`found ${bytes.length} bytes, expected at least ${at + size}: it is cut off`);
      const data = bytes.slice(at, at + size).buffer;
      at += size;
      return { sequence, ranges: ranges.map(({ start, end }) => ({ start, end })), data };
    });
  });
  if (at !== bytes.length) bad(`found ${bytes.length} bytes, expected ${at}`);
  return { ...fits, steps: header.steps, ranks };
}
