/** Progress on a line of stderr that overwrites itself, if a person watches. */
import type { Io } from "./io.ts";

/** Writes the line anew. An empty text clears it. */
export function progressLine({ watched, stderr }: Pick<Io, "watched" | "stderr">): (text: string) => void {
  return watched ? (text) => stderr(`\r\x1b[K${text}`) : () => {};
}
