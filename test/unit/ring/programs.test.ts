/** The ring programs alone: who sends what to whom, how often, and that ranks forward chunks unchanged. */
import assert from "node:assert/strict";
import test from "node:test";
import type { Attention, Chunk, Ring } from "../../../engine/ring/contract.ts";
import { passKv } from "../../../engine/ring/pass-kv.ts";
import { passQ } from "../../../engine/ring/pass-q.ts";
import { localRings } from "../../../engine/rank/local.ts";

interface Token extends Chunk {
  readonly what: string;
}

/** A back-end that keeps a record in place of numbers: a partial is the list of (query owner, key owner) it covers. */
class Ledger implements Attention<Token, Token, Token, string[]> {
  readonly loaded: Token[] = [];
  loadQueries(chunk: Token) {
    this.loaded.push(chunk);
    return chunk;
  }
  loadKeys(chunk: Token) {
    this.loaded.push(chunk);
    return chunk;
  }
  attend(_: number, q: Token, kv: Token, into: string[] = []) {
    return Promise.resolve([...into, `q${q.owner} k${kv.owner}`]);
  }
  unload(_: number, partial: string[], owner: number) {
    return Promise.resolve({ owner, bytes: 1, what: partial.join() });
  }
  merge(own: string[], arrived: readonly Token[]) {
    return Promise.resolve([...own, ...arrived.map((c) => c.what)]);
  }
}

function counted(ring: Ring<Token>, sent: Token[], parcels: number[]): Ring<Token> {
  return {
    ...ring,
    shift(hop, chunk) {
      sent.push(chunk);
      return ring.shift(hop, chunk);
    },
    allToAll(given) {
      parcels.push(given.filter((p) => p !== undefined).length);
      return ring.allToAll(given);
    },
  };
}

for (const N of [1, 2, 3, 4, 8]) {
  test(`pass-KV, N = ${N}: each rank meets every rank's keys once, in N-1 transfers of unchanged chunks`, async () => {
    const chunks = Array.from({ length: N }, (_, owner): Token => ({ owner, bytes: 1, what: "kv" }));
    await Promise.all(
      localRings<Token>(N).map(async (ring, k) => {
        const [sent, parcels, device] = [[] as Token[], [] as number[], new Ledger()];
        const covered = await passKv(
          counted(ring, sent, parcels),
          device,
          { owner: k, bytes: 1, what: "q" },
          chunks[k],
        );
        assert.deepEqual(covered, Array.from({ length: N }, (_, j) => `q${k} k${(k - j + N) % N}`));
        assert.equal(sent.length, N - 1);
        assert.ok(sent.every((c, j) => c === chunks[(k - j + N) % N]), "a chunk was copied on its way");
        assert.deepEqual(parcels, []);
      }),
    );
  });

  test(`pass-Q, N = ${N}: all queries meet all keys, in N-1 transfers and one All2All of N-1 parcels`, async () => {
    const chunks = Array.from({ length: N }, (_, owner): Token => ({ owner, bytes: 1, what: "q" }));
    await Promise.all(
      localRings<Token>(N).map(async (ring, k) => {
        const [sent, parcels, device] = [[] as Token[], [] as number[], new Ledger()];
        const covered = await passQ(counted(ring, sent, parcels), device, chunks[k], {
          owner: k,
          bytes: 1,
          what: "kv",
        });
        assert.deepEqual(
          covered,
          [k, ...Array.from({ length: N }, (_, s) => s).filter((s) => s !== k)].map((s) => `q${k} k${s}`),
        );
        assert.equal(sent.length, N - 1);
        assert.ok(sent.every((c, j) => c === chunks[(k - j + N) % N]), "a chunk was copied on its way");
        assert.deepEqual(parcels, [N - 1]);
      }),
    );
  });
}
