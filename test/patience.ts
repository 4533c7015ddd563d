/** Limits of time for tests: what holds on a quiet machine, stretched as the engine stretches its own. */
import { slowness } from "../engine/cluster/slowness.ts";

/** Milliseconds that something may take here and now which may take `quiet` on a quiet machine. */
export const patience = (quiet: number): number => quiet * slowness();
