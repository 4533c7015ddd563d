/** The computations of Learn that take longer than a frame. A worker answers them by name. */
import { rooms } from "./capacity.ts";
import { conversation } from "./conversation.ts";
import { storing } from "./merge.ts";

/** The computations by name. Arguments and answers can be posted between threads. */
export const slow = { conversation, rooms, storing };

/** The same computations for a chapter, in whichever thread they run. */
export type Slow = typeof slow;

/** A request to the worker. */
export interface SlowRequest {
  readonly name: keyof Slow;
  readonly args: readonly number[];
}

/** Its answer. */
export type SlowResponse = { readonly kind: "answer"; readonly value: unknown } | {
  readonly kind: "failed";
  readonly message: string;
};
