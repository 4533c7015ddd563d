/**
 * The time of a layer's matrix products on one GPU: tiles in waves over the machine, but never faster than reading the
 * weights.
 */
import type { GpuHeads } from "./heads.ts";
import { type FfnPrecision, latentWeights, type Model } from "./models.ts";
import type { GpuRates } from "./rates.ts";

/** One product `[rows, inner] x [inner, outer]` of a layer on one GPU. */
export interface Product {
  readonly name: "qkv" | "out" | "up" | "down";
  readonly outer: number;
  readonly inner: number;
  readonly precision: FfnPrecision;
}

/** The heights of tensor-core kernels. Short inputs take a short tile (with swapped operands below 64 rows). */
const TILE_ROWS = [16, 32, 64, 128] as const;
const TILE_COLUMNS = 128;

/**
 * The four products of a layer on one GPU. Every GPU that holds a replicated KV head projects it. Latent attention has
 * several products before the attention and two after it; one of as many weights stands for each group.
 */
export function products(m: Model, heads: GpuHeads, tp: number, ffn: FfnPrecision): readonly Product[] {
  const inner = Math.ceil(m.ffn / tp);
  const latent = m.latent && latentWeights(m, m.latent, tp);
  const [qkv, out] = latent === undefined
    ? [(heads.queries + 2 * heads.kv) * m.headDim, heads.queries * m.headDim]
    : [Math.ceil(latent.before / m.width), Math.ceil(latent.after / m.width)];
  return [
    { name: "qkv", outer: qkv, inner: m.width, precision: "bf16" },
    { name: "out", outer: m.width, inner: out, precision: "bf16" },
    { name: "up", outer: (m.ffnMatrices - 1) * inner, inner: m.width, precision: ffn },
    { name: "down", outer: m.width, inner, precision: ffn },
  ];
}

/** FLOPs of a product, `2 rows outer inner`. */
export function productFlops(p: Product, rows: number): number {
  return 2 * rows * p.outer * p.inner;
}

/** Bytes of a product's weights. */
export function productBytes(p: Product): number {
  return p.outer * p.inner * bytesOf(p.precision);
}

/** Bytes of one weight. */
export function bytesOf(precision: FfnPrecision): number {
  return precision === "fp8" ? 1 : 2;
}

/**
 * Seconds of one product: `max(tiles in whole waves x tile FLOPs / rate, weight bytes / HBM rate)`. A tile is 128 x
 * 128, and the machine runs `units` of them at a time, so few rows waste part of the last wave. Products with less than
 * a tile of rows (decode) split the inner dimension and waste nothing.
 */
export function productTime(p: Product, rows: number, rates: GpuRates): number {
  if (rows === 0) return 0;
  const height = TILE_ROWS.find((h) => h >= rows) ?? TILE_ROWS[TILE_ROWS.length - 1];
  const tiles = Math.ceil(rows / height) * Math.ceil(p.outer / TILE_COLUMNS);
  const slots = height < TILE_ROWS[TILE_ROWS.length - 1] ? tiles : Math.ceil(tiles / rates.units) * rates.units;
  const flops = slots * 2 * height * TILE_COLUMNS * p.inner;
  return Math.max(flops / (p.precision === "fp8" ? rates.fp8 : rates.tensor), productBytes(p) / rates.memory);
}
