/** What has to move if tokens that lie in one layout are wanted in another: from prefill to decode, say. */
import { PADDING } from "./catalog.ts";

/** Tokens that one rank of the first layout sends to one rank of the second. */
export interface Transfer {
  readonly from: number;
  readonly to: number;
  readonly tokens: number;
  /** Contiguous runs: consecutive tokens that lie side by side on both ranks. */
  readonly runs: readonly { readonly start: number; readonly length: number }[];
}

/**
 * The transfers of one sequence's tokens between two layouts, by `from` and then `to`; `from[k]` and `to[k]` are the
 * tokens of rank k in order. Tokens that stay on a rank of the same number are among them.
 */
export function transfersBetween(from: readonly Int32Array[], to: readonly Int32Array[]): Transfer[] {
  const place = new Map<number, readonly [rank: number, place: number]>();
  to.forEach((tokens, rank) => tokens.forEach((token, at) => token !== PADDING && place.set(token, [rank, at])));
  return from.flatMap((tokens, rank) => {
    const runs = new Map<number, { start: number; length: number }[]>();
    let last: { token: number; rank: number; place: number } | undefined;
    for (const token of tokens) {
      const [target, at] = token === PADDING ? [] : place.get(token) ?? [];
      if (target === undefined || at === undefined) {
        last = undefined;
        continue;
      }
      const own = runs.get(target) ?? [];
      runs.set(target, own);
      if (last?.rank === target && last.place + 1 === at && last.token + 1 === token) own[own.length - 1].length++;
      else own.push({ start: token, length: 1 });
      last = { token, rank: target, place: at };
    }
    return [...runs].sort(([a], [b]) => a - b).map(([target, own]): Transfer => ({
      from: rank,
      to: target,
      tokens: own.reduce((sum, { length }) => sum + length, 0),
      runs: own,
    }));
  });
}
