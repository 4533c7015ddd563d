/** Progress on a line of stderr that overwrites itself, if a person watches. */
import type { Io } from "./io.ts";

/** Writes the line anew. An empty text clears it. */
export function progressLine({ watched, stderr }: Pick<Io, "watched" | "stderr">): (text: string) => void {
  return watched ? (text) => stderr(`\r\x1b[K${text}`) : () => {};
}

/** Progress of a run on this machine, in hops. Undefined if nobody watches. */
export function hopsProgress(io: Pick<Io, "watched" | "stderr">) {
  if (!io.watched) return undefined;
  const line = progressLine(io);
  return (done: number, total: number): void => {
    line(`${done} of ${total} hops`);
    if (done === total) line("");
  };
}

/** Progress of a call to a worker: its place in the queue, then its parts. Empty if nobody watches. */
export function workerProgress(io: Pick<Io, "watched" | "stderr">, parts = "hops") {
  if (!io.watched) return {};
  const line = progressLine(io);
  return {
    onQueued: (place: number) => line(place === 0 ? "" : `waiting: ${place} before this one`),
    onProgress: (done: number, total: number, note?: string) =>
      line(done === total ? "" : `${done} of ${total} ${parts}${note === undefined ? "" : `: ${note}`}`),
  };
}
