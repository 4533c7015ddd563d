/**
 * A run that halts: before each attention, All2All and merge, a rank reports what it holds and waits for leave. The
 * ring programs know nothing of it.
 */
import type { Block, Run } from "../layout/shards.ts";
import type { Ring } from "../ring/contract.ts";
import type { RankChunk } from "../ring/chunk.ts";
import type { HaltState, Held, MailState, WatchedTokens } from "./job.ts";
import type { Device } from "./run.ts";

/** The fields of a device's handle that a halt reads. */
interface OfBlock {
  readonly owner: number;
  readonly block: Block;
}

/** A ring that lists the messages sent and awaited. */
interface MailRing extends Ring<RankChunk> {
  readonly mail: MailState;
}

/** Asks for leave. Resolves with it, and rejects if the run ends first. */
type AskLeave = (state: HaltState) => Promise<void>;

/**
 * Wraps a ring and a device so that a program halts on them unawares. After each attention and merge, the watched rows
 * of its partial are copied and stay on the device. So the result equals that of a run without halts to the last bit.
 */
export function halting<Q extends OfBlock, KV extends OfBlock, P extends { readonly block: Block }>(
  ring: MailRing,
  device: Device<Q, KV, P>,
  ask: AskLeave,
  watch: WatchedTokens,
): { ring: Ring<RankChunk>; device: Device<Q, KV, P> } {
  const last = ring.size - 1;
  let made: HaltState["made"];
  const halt = async (next: HaltState["next"], hop: number, reads: { queries?: Held; keys?: Held } = {}) => {
    const state: HaltState = { next, hop, ...reads, made, mail: ring.mail };
    made = undefined;
    await ask(state);
  };
  const note = async (partial: P, of: Omit<NonNullable<HaltState["made"]>, "runs" | "data">) => {
    const rows = watched(partial.block, watch);
    let row = 0;
    const runs = rows.map((run) => ({ ...run, row: (row += run.length) - run.length }));
    made = { ...of, runs, data: await device.copy(of.hop, partial, rows) };
  };
  return {
    ring: {
      rank: ring.rank,
      size: ring.size,
      shift: (hop, chunk) => ring.shift(hop, chunk),
      async allToAll(parcels) {
        if (last > 0) await halt("all2all", last);
        return await ring.allToAll(parcels);
      },
    },
    device: {
      get used() {
        return device.used;
      },
      loadQueries: (chunk, hop) => device.loadQueries(chunk, hop),
      loadKeys: (chunk, hop) => device.loadKeys(chunk, hop),
      async attend(hop, q, kv, into) {
        const reads = { queries: heldOf(q), keys: heldOf(kv) };
        await halt("attend", hop, reads);
        const partial = await device.attend(hop, q, kv, into);
        await note(partial, { kind: "attend", hop, ...reads });
        return partial;
      },
      unload: (hop, partial, owner) => device.unload(hop, partial, owner),
      async merge(own, arrived) {
        if (last === 0) return await device.merge(own, arrived);
        await halt("merge", last);
        const merged = await device.merge(own, arrived);
        await note(merged, { kind: "merge", hop: last, queries: { owner: ring.rank, runs: merged.block.runs } });
        return merged;
      },
      copy: (hop, partial, rows) => device.copy(hop, partial, rows),
      async result(partial) {
        await halt("end", last);
        return await device.result(partial);
      },
      prepare: (work) => device.prepare(work),
      abandon: (reason) => device.abandon(reason),
      dispose: (failed) => device.dispose(failed),
    },
  };
}

function heldOf({ owner, block }: OfBlock): Held {
  return { owner, runs: block.runs };
}

/** The runs of a block that hold watched tokens, each with its first row in the block. */
function watched(block: Block, watch: WatchedTokens): Run[] {
  if (watch === undefined) return [...block.runs];
  return block.runs.flatMap((run) =>
    watch.flatMap(({ sequence, start, length }) => {
      const first = Math.max(run.start, start);
      const end = Math.min(run.start + run.length, start + length);
      return sequence === run.sequence && end > first
        ? [{ sequence, start: first, length: end - first, row: run.row + first - run.start }]
        : [];
    })
  );
}
