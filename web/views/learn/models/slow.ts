/** The computations of Learn that take longer than a frame: a worker answers them by name. */
import { rooms } from "./capacity.ts";
import { conversation } from "./conversation.ts";
import { storing } from "./merge.ts";

/** By name; arguments and answers can be posted. */
export const slow = { conversation, rooms, storing };

/** What chapters ask, wherever it is computed. */
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
