/** The messages in the native worker's tests (cuda-bridge/worker/tests/routes.json) are this engine's. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { type Mask, readMask } from "../../../engine/layout/mask.ts";
import { type Block, type Dealing, shard } from "../../../engine/layout/shards.ts";
import type { Variant } from "../../../engine/ring/contract.ts";
import { chunkBounds, Route } from "../../../engine/ring/route.ts";

/** A fused batch of [T, P] over N ranks, and who sends what. */
interface Case {
  readonly sequences: readonly (readonly [number, number])[];
  readonly ranks: number;
  readonly dealing: Dealing;
  readonly variant: Variant;
  readonly mask: string;
  /** `sent[rank][hop]`: the rows as "sequence:start-end", and their number. */
  readonly sent: readonly (readonly string[])[];
  /** `parcels[rank][owner]`. */
  readonly parcels: readonly (readonly string[])[];
}

/** What the engine sends. */
export function computed({ sequences, ranks, dealing, variant, mask }: Omit<Case, "sent" | "parcels">) {
  const batch = sequences.map(([T, P]) => ({ new: T, cached: P }));
  const bounds = new Map(batch.map((s, i) => [i, chunkBounds(s, ranks, dealing)]));
  const route = new Route(variant, { ...shard(batch, ranks, dealing), bounds }, readMask(mask) as Mask);
  const all = Array.from({ length: ranks }, (_, k) => k);
  const say = ({ runs, rows }: Block) =>
    `${runs.map((r) => `${r.sequence}:${r.start}-${r.start + r.length}`).join(" ")} = ${rows}`;
  return {
    sent: all.map((rank) => all.slice(1).map((hop) => say(route.sent(rank, hop - 1)))),
    parcels: all.map((rank) => all.map((owner) => say(route.parcel(rank, owner)))),
  };
}

test("the worker's messages under every mask", () => {
  const cases = JSON.parse(readFileSync("cuda-bridge/worker/tests/routes.json", "utf8")) as Case[];
  assert.ok(cases.length >= 16);
  for (const one of cases) {
    const { sent, parcels, ...of } = one;
    assert.deepEqual(computed(one), { sent, parcels }, JSON.stringify(of));
  }
});
