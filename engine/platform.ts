/** What a runtime brings to the engine: workers for ranks, threads that verify, a GPU, and the shaders' texts. */
import type { ClusterPlatform } from "./cluster/platform.ts";
import type { VerifyPlatform } from "./reference/verify/platform.ts";

/** One runtime: what `browser.ts`, `deno.ts` and `node.ts` each give. */
export interface Platform extends ClusterPlatform, VerifyPlatform {}
