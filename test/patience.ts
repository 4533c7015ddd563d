/** Time limits for tests: set for a quiet machine, and multiplied as the engine multiplies its own. */
import { slowness } from "../engine/cluster/slowness.ts";

/** Milliseconds that something may take here and now which may take `quiet` on a quiet machine. */
export const patience = (quiet: number): number => quiet * slowness();
