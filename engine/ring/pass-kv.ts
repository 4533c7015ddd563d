/** Fused varseq ring pass-KV partial prefill: Algorithm 2. */
import type { Attention, Chunk, Ring } from "./contract.ts";

/**
 * The rank's program: its queries `q` stay, KV chunks go round. Resolves to the merged (O, LSE) of `q`. N-1 transfers.
 * Give `kv` if `own` is on the device already (a cache).
 */
export async function passKv<C extends Chunk, Q, KV, P>(
  ring: Ring<C>,
  device: Attention<C, Q, KV, P>,
  q: Q,
  own: C,
  kv: KV = device.loadKeys(own, 0),
): Promise<P> {
  let chunk = own;
  let merged: P | undefined;
  for (let hop = 0; hop < ring.size; hop++) {
    const transfer = hop < ring.size - 1
      ? ring.shift(hop, chunk).then((next) => ({ next, loaded: device.loadKeys(next, hop + 1) }))
      : undefined;
    const [partial, arrived] = await Promise.all([device.attend(hop, q, kv, merged), transfer]);
    merged = partial;
    if (arrived !== undefined) {
      chunk = arrived.next;
      kv = arrived.loaded;
    }
  }
  return merged!;
}
