/** The bridge's client, the same in every runtime; `browser.ts`, `deno.ts` and `node.ts` add `Remote`. */
export { InputError, LimitError, RankError } from "../../engine/index.ts";
export { type RemoteCode, RemoteError } from "./errors.ts";
export type * from "./types.ts";
