/** A ring inside one thread: N programs that await each other, for tests and callers without workers. */
import type { Chunk, Ring } from "../ring/contract.ts";
import type { Mail } from "./job.ts";
import { Mailbox } from "./mailbox.ts";

/** The N places of one ring. Chunks are passed on without a copy. */
export function localRings<C extends Chunk>(size: number): Ring<C>[] {
  const boxes = Array.from({ length: size }, () => new Mailbox<C>());
  const put = (to: number, mail: Mail, chunk: C) => boxes[to].put(mail, chunk);
  return boxes.map((box, rank) => ({
    rank,
    size,
    shift(hop, chunk) {
      const previous = (rank + size - 1) % size;
      put((rank + 1) % size, { kind: "ring", hop, peer: rank }, chunk);
      return box.take({ kind: "ring", hop, peer: previous }, 0);
    },
    allToAll(parcels) {
      const others = parcels.map((_, s) => s).filter((s) => s !== rank);
      for (const s of others) put(s, { kind: "all2all", hop: 0, peer: rank }, parcels[s]!);
      return Promise.all(others.map((s) => box.take({ kind: "all2all", hop: 0, peer: s }, 0)));
    },
  }));
}
