/** The case that tests of Check share: inputs, and parts of the result with or without a fault. */
import { Rows } from "../engine/reference/compare/row.ts";
import type { Setting } from "../engine/reference/compare/setting.ts";
import { seededRows } from "../engine/tensor/seeded.ts";
import { writeSafetensors } from "../engine/tensor/safetensors.ts";

/** Sizes of every case. */
export const [H, Hkv, D, N]: readonly number[] = [4, 2, 16, 4];

/** f32 data of a shape. */
const f32 = (shape: readonly number[], data: Float32Array) => ({ shape, dtype: "f32" as const, data });

/** One sequence of T new tokens. */
export function checkCase(T: number) {
  const sequences = [{ new: T, cached: 0 }];
  const [q, k, v] = (["q", "k", "v"] as const).map((name) => seededRows(3, name, 0, T, (name === "q" ? H : Hkv) * D));
  const rows = new Rows({ q, k, v, heads: H, kvHeads: Hkv, headDim: D, sequences, dtype: "f32" });
  return {
    sequences,
    /** q, k and v as a .safetensors file. */
    inputs: writeSafetensors({ q: f32([T, H, D], q), k: f32([T, Hkv, D], k), v: f32([T, Hkv, D], v) }),
    /** O and LSE of rows; `scale` plants a fault. */
    part(own: ArrayLike<number>, held?: Setting["keys"][number], scale = 1 / Math.sqrt(D)) {
      const o = new Float32Array(own.length * H * D), lse = new Float32Array(own.length * H);
      Array.from(own).forEach((row, place) => {
        for (let h = 0; h < H; h++) {
          const made = rows.attend(row, h, { keys: rows.seen(row, rows.mask, held), scale });
          o.set(made.o, (place * H + h) * D);
          lse[place * H + h] = made.lse;
        }
      });
      return { o: f32([own.length, H, D], o), lse: f32([own.length, H], lse) };
    },
  };
}
