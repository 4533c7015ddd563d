/** How a call is cut into dispatches: tiles of query rows, segments and parts of keys, pieces of single rows. */
import { type Block, bySequence, type Run } from "../layout/shards.ts";
import { PAGE } from "../layout/pages.ts";
import type { Visibility } from "../layout/visibility.ts";
import { PIECE_HEADS, PIECE_KEYS, type PieceKernel } from "./kernels.ts";
import { KEYS_STEP } from "./slice-rows.ts";

/** A dispatch has at most this many workgroups along one side (the default limit). */
export const MAX_GROUPS = 65535;

/**
 * Most keys that a workgroup of a tile kernel goes through. More keys take further dispatches, which merge in the
 * epilogue. Mesa's llvmpipe stops a shader's loops after 65,535 turns in all and reports nothing: at D 256 that is some
 * 8,000 keys.
 */
const SEGMENT_KEYS = 4096;
/** The same on hardware, which has no such limit that we know of: a submission of a single tile stays short. */
const GPU_SEGMENT_KEYS = 65536;

/** Workgroups of tiles that fill a GPU: two for each processor of the largest GPUs. */
const FILL = 256;
/** Fewest keys that are worth their own workgroup. */
const SPREAD_KEYS = 256;
/** Most parts that keys are spread over. */
const MOST_PARTS = 8;

/** Words of a tile, and of a piece. */
const WORDS = 4;

/** Rows of u32 that a kernel reads, and how many there are. */
export interface Table {
  readonly words: Uint32Array<ArrayBuffer>;
  readonly count: number;
}

/** Most keys of a segment. `software`: the device emulates a GPU. */
export const segmentKeys = (software: boolean): number => (software ? SEGMENT_KEYS : GPU_SEGMENT_KEYS);

/** Keys that the row with the longest view sees. */
export function longestView(seen: Visibility): number {
  return seen.views.reduce((most, view) => Math.max(most, seen.ends[view.row + view.rows - 1] - view.first), 0);
}

/** Number of segments of `keys` keys in an attention, at least one. */
export function segmentsOf(seen: Visibility, keys = SEGMENT_KEYS): number {
  return Math.max(1, Math.ceil(longestView(seen) / keys));
}

/**
 * Number of parts that keys are spread over, each attended to by its own workgroups, if tiles alone give a GPU only
 * `workgroups` workgroups and the longest view has `keys` keys.
 */
export function spreadOf(workgroups: number, keys: number): number {
  if (workgroups === 0) return 1;
  return Math.max(1, Math.min(MOST_PARTS, Math.ceil(FILL / workgroups), Math.floor(keys / SPREAD_KEYS)));
}

/** What tiles are made from. */
export interface Tiling {
  readonly seen: Visibility;
  /** H/Hkv. */
  readonly group: number;
  /** Query rows (packed over the group) of a tile. */
  readonly tileRows: number;
  /** Which segment of the keys; default the first. */
  readonly segment?: number;
  /** Keys of a segment. */
  readonly keys?: number;
  /** Tiles for every row, also for rows that see no key of the segment. Default: in the first segment alone. */
  readonly every?: boolean;
}

/** Tiles of a kernel of many query rows: (first packed row, packed rows, first key, end of keys), four u32 each. */
export function tilesOf(
  { seen, group, tileRows, segment = 0, keys = SEGMENT_KEYS, every = segment === 0 }: Tiling,
): Table {
  const tiles: number[] = [];
  for (const view of seen.views) {
    const firstKey = view.first + segment * keys;
    const packed = view.rows * group;
    // The last rows see most keys. They begin first, so that none of them runs alone at the end.
    for (let at = Math.floor((packed - 1) / tileRows) * tileRows; at >= 0; at -= tileRows) {
      const rows = Math.min(tileRows, packed - at);
      const lastToken = view.row + Math.floor((at + rows - 1) / group);
      const end = seen.ends[lastToken];
      if (every || end > firstKey) {
        tiles.push(view.row * group + at, rows, firstKey, Math.min(Math.max(end, firstKey), firstKey + keys));
      }
    }
  }
  return { words: new Uint32Array(tiles), count: tiles.length / WORDS };
}

/** The tiles of every segment. */
export function segmentTiles(tiling: Tiling & { readonly keys: number }): readonly Table[] {
  const length = segmentsOf(tiling.seen, tiling.keys);
  return Array.from({ length }, (_, segment) => tilesOf({ ...tiling, segment }));
}

/** The tiles of `parts` parts of the keys, each with every row: parts end at pages. */
export function spreadTiles(tiling: Tiling, parts: number): readonly Table[] {
  const keys = Math.ceil(longestView(tiling.seen) / parts / PAGE) * PAGE;
  return Array.from({ length: parts }, (_, segment) => tilesOf({ ...tiling, segment, keys, every: true }));
}

/** Workgroups of a kernel of single query rows that share one piece of keys: each takes PIECE_HEADS heads. */
export const pieceGroups = (heads: number, kvHeads: number): number =>
  kvHeads * Math.ceil(heads / kvHeads / PIECE_HEADS);

/**
 * Pieces of the kernels of single query rows: (query row, first key, end of keys, slot), four u32 each. Every row has
 * all slots, even if they have no keys. `across`: workgroups that share a piece.
 */
export function piecesOf(
  seen: Visibility,
  { pieceKeys }: Pick<PieceKernel, "pieceKeys">,
  across: number,
): Table & { readonly slots: number } {
  const keys = pieceKeys?.(longestView(seen), seen.views.length * across) ?? PIECE_KEYS;
  const rows = seen.views.flatMap((view) =>
    Array.from(
      { length: view.rows },
      (_, i) => ({ row: view.row + i, first: view.first, end: seen.ends[view.row + i] }),
    )
  );
  const slots = rows.reduce((most, { first, end }) => Math.max(most, Math.ceil((end - first) / keys)), 1);
  const pieces = rows.flatMap(({ row, first, end }) =>
    Array.from(
      { length: slots },
      (_, slot) => [row, Math.min(end, first + slot * keys), Math.min(end, first + (slot + 1) * keys), slot],
    )
  );
  return { words: new Uint32Array(pieces.flat()), count: pieces.length, slots };
}

/** Rows to copy so that each sequence of a block begins at a multiple of KEYS_STEP, and the block they make. */
export function aligned(block: Block): { block: Block; moves: { from: number; to: number; rows: number }[] } {
  const runs: Run[] = [];
  const moves: { from: number; to: number; rows: number }[] = [];
  let to = 0;
  for (const own of bySequence(block).values()) {
    const from = own[0].row;
    const rows = own.reduce((sum, run) => sum + run.length, 0);
    for (const run of own) runs.push({ ...run, row: run.row - from + to });
    moves.push({ from, to, rows });
    to = Math.ceil((to + rows) / KEYS_STEP) * KEYS_STEP;
  }
  return { block: { runs, rows: to }, moves };
}

/** A grid of `count` workgroups along x and z, `high` along y. */
export function gridOf(count: number, high: number): [number, number, number] {
  const wide = Math.min(count, MAX_GROUPS);
  return [wide, high, Math.ceil(count / Math.max(1, wide))];
}

/** What an attention kernel reads as `Params`. */
export interface AttendParams {
  readonly heads: number;
  readonly kvHeads: number;
  /** Tiles, or pieces, of the table. */
  readonly count: number;
  /** For tiles: 1 to merge into what `o` and `lse` hold, else 0. For pieces: query rows. */
  readonly last: number;
  readonly scale: number;
  /** The first tile of the dispatch. */
  readonly first?: number;
}

/** The words of `Params`. */
export function paramsOf({ heads, kvHeads, count, last, scale, first = 0 }: AttendParams): Uint32Array<ArrayBuffer> {
  const words = Uint32Array.of(heads, kvHeads, count, last, 0, first, 0, 0);
  new Float32Array(words.buffer)[4] = scale;
  return words;
}
