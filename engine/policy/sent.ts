/** The bytes that a ring sends under a window or chunk mask, which drops what no later rank needs. */
import type { Variant } from "../ring/contract.ts";
import { tally } from "../ring/tally.ts";
import { elementsOf, type Setting } from "./setting.ts";

/** What all ranks send in one layer, counted exactly, and what the mask saves. */
export interface Sent {
  /** Bytes sent, in the messages of the ring and in pass-Q's All2All. */
  readonly bytes: number;
  /** Bytes that the mask made needless. */
  readonly skippedBytes: number;
  /** Hops of a rank, of N x N, in which no query sees a key. */
  readonly skippedHops: number;
}

/** What each variant sends under the setting's mask and dealing. Takes O(N^2) steps. */
export function sentBytes(s: Required<Setting>): Readonly<Record<Variant, Sent>> {
  const { q, kv } = elementsOf(s);
  const parcel = s.heads * (s.valueDim * s.bytes + 4);
  const of = (variant: Variant, row: number): Sent => {
    const { ring, parcels, skipped } = tally(variant, s.sequences, s.ranks, s.mask, s.dealing);
    return {
      bytes: ring.rows * row + parcels.rows * parcel,
      skippedBytes: skipped.ring.rows * row + skipped.parcels.rows * parcel,
      skippedHops: skipped.hops,
    };
  };
  return { "pass-kv": of("pass-kv", kv * s.bytes), "pass-q": of("pass-q", q * s.bytes) };
}
