/** How a call is cut into dispatches: tiles of query rows, segments and parts of keys, pieces of single rows. */
import { type Block, bySequence, type Run } from "../layout/shards.ts";
import { PAGE } from "../layout/pages.ts";
import type { Band, View, Visibility } from "../layout/visibility.ts";
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

/** Most keys that a row of a band sees. */
function longestRow(views: readonly View[], band: Band): number {
  let most = 0;
  for (const { row, rows } of views) {
    for (let r = row; r < row + rows; r++) most = Math.max(most, band[2 * r + 1] - band[2 * r]);
  }
  return most;
}

/**
 * Number of parts that keys are spread over, each attended to by its own workgroups, if tiles alone give a GPU only
 * `workgroups` workgroups and the longest tile has `keys` keys.
 */
export function spreadOf(workgroups: number, keys: number): number {
  if (workgroups === 0) return 1;
  return Math.max(1, Math.min(MOST_PARTS, Math.ceil(FILL / workgroups), Math.floor(keys / SPREAD_KEYS)));
}

/** What tiles are made from. */
export interface Tiling {
  readonly views: readonly View[];
  /** What each query row sees, in one pass over the keys. */
  readonly band: Band;
  /** H/Hkv. */
  readonly group: number;
  /** Query rows (packed over the group) of a tile. */
  readonly tileRows: number;
}

/** Packed query rows, and the keys that any of them sees. */
export interface Tile {
  /** The first packed row. */
  readonly at: number;
  readonly rows: number;
  /** The first of those keys, or up to three before it: a multiple of 4. */
  readonly first: number;
  readonly end: number;
}

/** The tiles of a kernel of many query rows: every row of a view is in one of them. */
export function tilesOf({ views, band, group, tileRows }: Tiling): Tile[] {
  return views.flatMap((view) => {
    const packed = view.rows * group;
    // The last rows see most keys under a causal mask. They begin first, so that none of them runs alone at the end.
    return Array.from({ length: Math.ceil(packed / tileRows) }, (_, i) => {
      const at = (Math.ceil(packed / tileRows) - 1 - i) * tileRows;
      const rows = Math.min(tileRows, packed - at);
      const [top, bottom] = [at, at + rows - 1].map((row) => view.row + Math.floor(row / group));
      const first = Math.floor(band[2 * top] / KEYS_STEP) * KEYS_STEP;
      return { at: view.row * group + at, rows, first, end: Math.max(first, band[2 * bottom + 1]) };
    });
  });
}

/** Keys of the tile that has most. */
export function longestTile(tiles: readonly Tile[]): number {
  return tiles.reduce((most, { first, end }) => Math.max(most, end - first), 0);
}

/**
 * Tables of tiles, each of `keys` keys of every tile: (first packed row, packed rows, first key, end of keys), four u32
 * each. `full`: the tables that have every tile, even one without keys.
 */
function tables(tiles: readonly Tile[], keys: number, full: "none" | "first" | "all"): readonly Table[] {
  const length = Math.max(1, Math.ceil(longestTile(tiles) / keys));
  return Array.from({ length }, (_, segment) => {
    const words: number[] = [];
    for (const { at, rows, first, end } of tiles) {
      const from = Math.min(end, first + segment * keys);
      if (full === "all" || (full === "first" && segment === 0) || from < end) {
        words.push(at, rows, from, Math.min(end, from + keys));
      }
    }
    return { words: new Uint32Array(words), count: words.length / WORDS };
  });
}

/**
 * The tiles in segments of at most `keys` keys, a multiple of every kernel's KEYS. `fresh`: nobody has written O and LSE
 * yet, so the first segment has tiles without keys too.
 */
export function segmentTiles(tiles: readonly Tile[], keys = SEGMENT_KEYS, fresh = true): readonly Table[] {
  return tables(tiles, keys, fresh ? "first" : "none");
}

/** The tiles in at most `parts` parts of their keys, each with every row; a part has whole pages of keys. */
export function spreadTiles(tiles: readonly Tile[], parts: number): readonly Table[] {
  return tables(tiles, Math.max(1, Math.ceil(longestTile(tiles) / parts / PAGE)) * PAGE, "all");
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
  const { views, bands } = seen;
  const most = Math.max(0, ...bands.map((band) => longestRow(views, band)));
  const keys = pieceKeys?.(most, views.length * across) ?? PIECE_KEYS;
  const rows = views.flatMap((view) =>
    Array.from({ length: view.rows }, (_, i) => {
      const row = view.row + i;
      return { row, pieces: bands.flatMap((band) => pieces(band[2 * row], band[2 * row + 1], keys)) };
    })
  );
  const slots = rows.reduce((most, { pieces }) => Math.max(most, pieces.length), 1);
  const words = rows.flatMap(({ row, pieces }) =>
    Array.from({ length: slots }, (_, slot) => [row, ...(pieces[slot] ?? [0, 0]), slot])
  );
  return { words: new Uint32Array(words.flat()), count: words.length, slots };
}

/** The keys `first` to before `end` in pieces of at most `keys`. */
function pieces(first: number, end: number, keys: number): [from: number, to: number][] {
  return Array.from({ length: Math.ceil((end - first) / keys) }, (_, i) => {
    const from = first + i * keys;
    return [from, Math.min(end, from + keys)];
  });
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
