/** The mask's picture of a check, if the layout deals a sequence as Ringside does: in two chunks to each rank. */
import type { Cell } from "../../engine/compare.ts";
import { layoutOf } from "../../engine/compare.ts";
import { type Dealing, type MaskBlock, maskOf, type MaskPicture } from "../../engine/run.ts";
import type { Sizes } from "./ask.ts";
import type { Settings } from "./state.ts";

/** The most ranks whose blocks are drawn: each has two chunks of queries and two of keys. */
export const MOST_RANKS = 32;

/** Ringside's dealing that gives every rank the same tokens as the layout; undefined if none does. */
export function dealingOf(layout: string, ranks: number, length: number): Dealing | undefined {
  const names = { "head-tail": "ringside", contiguous: "contiguous" } as const;
  const own = layoutOf(layout).deal(length, ranks);
  return (["head-tail", "contiguous"] as const).find((dealing) => {
    const ours = layoutOf(names[dealing]).deal(length, ranks);
    return own.every((tokens, k) => tokens.length === ours[k].length && tokens.every((t, i) => t === ours[k][i]));
  });
}

/** The picture of sequence `sequence`; undefined if the layout has none, or if it has too many blocks. */
export function pictureOf(
  { layout, ranks, variant, mask }: Settings,
  { sequences }: Pick<Sizes, "sequences">,
  sequence: number,
): MaskPicture | undefined {
  if (layout === undefined || ranks > MOST_RANKS) return undefined;
  const own = sequences[sequence];
  const dealing = dealingOf(layout, ranks, own.new);
  if (dealing === undefined || (own.cached > 0 && dealingOf(layout, ranks, own.cached) !== dealing)) return undefined;
  return maskOf([own], ranks, variant, mask, dealing);
}

/** Whether a block has wrong rows: its hop's partial result does or, without hops, its queries' rank. */
export function wrongBlocks(
  { queries }: Pick<MaskPicture, "queries">,
  grid: readonly Cell[],
): (block: MaskBlock) => boolean {
  const wrong = new Set(grid.filter((cell) => cell.wrong > 0).map(({ rank, hop }) => `${rank} ${hop}`));
  const whole = grid.every(({ hop }) => hop === null);
  return ({ rank, hop, query, pairs }) =>
    pairs > 0 && wrong.has(whole ? `${queries[query].owner} null` : `${rank} ${hop}`);
}
