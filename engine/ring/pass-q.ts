/** Fused varseq ring pass-Q partial prefill with All2All: Algorithm 3. */
import { type Attention, type Chunk, ownerAt, type Ring } from "./contract.ts";

/**
 * The rank's program: its keys and values `kv` stay, Q chunks go round, partial results go home. N-1 transfers and one
 * All2All.
 */
export async function passQ<C extends Chunk, Q, KV, P>(
  ring: Ring<C>,
  device: Attention<C, Q, KV, P>,
  own: C,
  kv: KV,
): Promise<P> {
  let chunk = own;
  let q = device.loadQueries(own, 0);
  let mine: P | undefined;
  const parcels: Promise<C | undefined>[] = Array.from({ length: ring.size }, () => Promise.resolve(undefined));
  for (let hop = 0; hop < ring.size; hop++) {
    const owner = ownerAt(ring.rank, hop, ring.size);
    const transfer = hop < ring.size - 1
      ? ring.shift(hop, chunk).then((next) => ({ next, loaded: device.loadQueries(next, hop + 1) }))
      : undefined;
    const [partial, arrived] = await Promise.all([device.attend(hop, q, kv), transfer]);
    if (hop === 0) mine = partial;
    else {
      parcels[owner] = device.unload(hop, partial, owner);
      parcels[owner].catch(() => {}); // awaited below, unless a hop fails first
    }
    if (arrived !== undefined) {
      chunk = arrived.next;
      q = arrived.loaded;
    }
  }
  return device.merge(mine!, await ring.allToAll(await Promise.all(parcels)));
}
