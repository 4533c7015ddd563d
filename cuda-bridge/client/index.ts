/**
 * The bridge's client, the same in every runtime; `browser.ts`, `deno.ts` and `node.ts` add `connect` and `verifyRows`.
 */
export { InputError, LimitError, RankError, RemoteError } from "../../engine/errors.ts";
export type * from "./types.ts";
export { sampleRows } from "./sample.ts";
