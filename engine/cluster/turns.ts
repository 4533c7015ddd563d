/** A cluster's own work on the thread that owns it comes in turns too. */
export { Turns } from "../turns.ts";
