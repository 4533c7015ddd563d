/** Files and axes beside the engine's own: .npz, f64, fp8, and the four orders of axes. */
import assert from "node:assert/strict";
import test from "node:test";
import { DIMS, type Dims, LSE_DIMS, type LseDims, ordered } from "../../../engine/tensor/dims.ts";
import { fromF8 } from "../../../engine/tensor/dtype.ts";
import { readNpy, writeNpy, writeNpyInts } from "../../../engine/tensor/npy.ts";
import { readNpz } from "../../../engine/tensor/npz.ts";
import { readSafetensors } from "../../../engine/tensor/safetensors.ts";
import type { Tensor } from "../../../engine/tensor/tensor.ts";

/** A zip archive as numpy.savez (stored) or numpy.savez_compressed (deflated) writes it, without checksums. */
async function zip(files: Readonly<Record<string, Uint8Array<ArrayBuffer>>>, deflate: boolean): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const central: Uint8Array[] = [];
  let at = 0;
  const add = (list: Uint8Array[], bytes: Uint8Array) => (list.push(bytes), bytes.length);
  for (const [name, data] of Object.entries(files)) {
    const text = new TextEncoder().encode(name);
    const packed = deflate
      ? new Uint8Array(
        await new Response(new Blob([data]).stream().pipeThrough(new CompressionStream("deflate-raw"))).arrayBuffer(),
      )
      : data;
    const record = (signature: number, size: number, nameAt: number) => {
      const head = new DataView(new ArrayBuffer(size));
      head.setUint32(0, signature, true);
      head.setUint16(nameAt - 18, deflate ? 8 : 0, true);
      head.setUint32(nameAt - 8, packed.length, true);
      head.setUint32(nameAt - 4, data.length, true);
      head.setUint16(nameAt, text.length, true);
      return head;
    };
    const own = record(0x02014b50, 46, 28);
    own.setUint32(42, at, true);
    add(central, new Uint8Array(own.buffer));
    add(central, text);
    at += add(parts, new Uint8Array(record(0x04034b50, 30, 26).buffer)) + add(parts, text) + add(parts, packed);
  }
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(10, Object.keys(files).length, true);
  end.setUint32(12, central.reduce((sum, { length }) => sum + length, 0), true);
  end.setUint32(16, at, true);
  return new Uint8Array(await new Blob([...parts, ...central, new Uint8Array(end.buffer)] as BlobPart[]).arrayBuffer());
}

const array = writeNpy([2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));

test(".npz: stored and deflated arrays, by name; others are left alone", async () => {
  for (const deflate of [false, true]) {
    const bytes = await zip({ "q.npy": array, "note.txt": new TextEncoder().encode("hi"), "k.npy": array }, deflate);
    const read = await readNpz(bytes, "a.npz", ["q"], ["k", "v"]);
    assert.deepEqual(Object.keys(read), ["q", "k"]);
    assert.deepEqual([read.q.shape, [...read.q.data]], [[2, 3], [1, 2, 3, 4, 5, 6]]);
    await assert.rejects(
      readNpz(bytes, "a.npz", ["v"]),
      /^InputError: a\.npz: found no array "v"; the file holds "q", "k"$/,
    );
  }
});

test(".npz: damaged archives are refused in one line", async () => {
  const bytes = await zip({ "q.npy": array }, true);
  const refuses = async (damaged: Uint8Array, says: RegExp) =>
    await assert.rejects(readNpz(damaged, "a.npz", ["q"]), { name: "InputError", message: says });
  await refuses(new TextEncoder().encode("no zip"), /^a\.npz: found no zip archive, expected an \.npz file/);
  await refuses(new Uint8Array(0), /^a\.npz: found no zip archive/);
  for (let cut = 1; cut < 60; cut += 7) {
    await refuses(bytes.slice(0, -cut), /^a\.npz: found (no|a damaged) zip archive/);
  }
  for (let i = 0; i < bytes.length; i++) {
    const broken = bytes.slice();
    broken[i] ^= 0xff;
    await readNpz(broken, "a.npz", ["q"]).then(
      () => {},
      (error) => assert.equal(error.name, "InputError", `byte ${i}: ${error}`),
    );
  }
});

test("f64 is read as f32, whole numbers are written as i8", () => {
  const f4 = writeNpy([2], Float32Array.of(0, 0));
  const head = String.fromCharCode(...f4.slice(0, 128)).replace("<f4", "<f8");
  const bytes = new Uint8Array(128 + 16);
  bytes.set(Uint8Array.from(head, (c) => c.charCodeAt(0)));
  new Float64Array(bytes.buffer, 128).set([Math.PI, -1e-30]);
  assert.deepEqual([...readNpy(bytes, "x.npy").data], [Math.fround(Math.PI), Math.fround(-1e-30)]);
  const ints = writeNpyInts([3], BigInt64Array.of(5n, -1n, 2n ** 40n));
  assert.match(
    String.fromCharCode(...ints.slice(0, 128)),
    /'descr': '<i8', 'fortran_order': False, 'shape': \(3,\)/,
  );
  assert.deepEqual([...new BigInt64Array(ints.buffer.slice(128))], [5n, -1n, 2n ** 40n]);
});

test("fp8: every number of both types", () => {
  const all = Uint8Array.from({ length: 256 }, (_, i) => i).buffer;
  const e4m3 = fromF8("e4m3")(all, 0, 256);
  const e5m2 = fromF8("e5m2")(all, 0, 256);
  // Table 1 of arXiv 2209.05433: largest, smallest normal, smallest subnormal.
  assert.deepEqual([e4m3[0x7e], e4m3[0x08], e4m3[0x01]], [448, 2 ** -6, 2 ** -9]);
  assert.deepEqual([e5m2[0x7b], e5m2[0x04], e5m2[0x01]], [57_344, 2 ** -14, 2 ** -16]);
  assert.ok(Number.isNaN(e4m3[0x7f]) && Number.isNaN(e4m3[0xff]) && Number.isNaN(e5m2[0x7d]));
  assert.deepEqual([e5m2[0x7c], e5m2[0xfc]], [Infinity, -Infinity]);
  for (let i = 0; i < 128; i++) {
    assert.ok(Object.is(e4m3[i + 128], -e4m3[i]) || Number.isNaN(e4m3[i]));
    if (i > 0 && i < 0x7f) assert.ok(e4m3[i] > e4m3[i - 1]);
  }
  const header = JSON.stringify({ x: { dtype: "F8_E4M3", shape: [2], data_offsets: [0, 2] } });
  const file = new Uint8Array(8 + header.length + 2);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(new TextEncoder().encode(header), 8);
  file.set([0x38, 0xb8], 8 + header.length);
  const { x } = readSafetensors(file, "x.safetensors", ["x"]);
  assert.deepEqual([x.dtype, ...x.data], ["bf16", 1, -1]);
});

test("axes in every order come to [T, H, D]: element (b, t, h, d) keeps its value", () => {
  const sizes: Readonly<Record<string, number>> = { b: 2, t: 3, h: 4, d: 5, 1: 1 };
  const value = (b: number, t: number, h: number, d: number) => 1000 * b + 100 * t + 10 * h + d;
  for (const dims of [...DIMS, ...LSE_DIMS] as (Dims | LseDims)[]) {
    const axes = [...dims];
    const data: number[] = [];
    const fill = (index: Record<string, number>, rest: string[]): void => {
      if (rest.length === 0) {
        data.push(value(index.b ?? 0, index.t, index.h, index.d ?? 0));
        return;
      }
      for (let i = 0; i < sizes[rest[0]]; i++) fill({ ...index, [rest[0]]: i }, rest.slice(1));
    };
    fill({}, axes);
    const tensor: Tensor = { shape: axes.map((axis) => sizes[axis]), dtype: "f32", data: Float32Array.from(data) };
    const out = ordered(tensor, dims, "x");
    const [B, D] = [axes.includes("b") ? 2 : 1, axes.includes("d") ? 5 : 1];
    assert.deepEqual(out.shape, axes.includes("d") ? [3 * B, 4, 5] : [3 * B, 4]);
    assert.equal(out.sequences, B);
    let at = 0;
    for (let b = 0; b < B; b++) {
      for (let t = 0; t < 3; t++) {
        for (let h = 0; h < 4; h++) {
          for (let d = 0; d < D; d++) assert.equal(out.data[at++], value(b, t, h, d), `${dims}`);
        }
      }
    }
  }
  const odd: Tensor = { shape: [2, 3], dtype: "f32", data: new Float32Array(6) };
  assert.throws(() => ordered(odd, "thd", "x"), /^InputError: x: found shape \[2, 3\], expected 3 axes \[T, H, D\]$/);
  assert.throws(() => ordered({ ...odd, shape: [1, 1, 3, 2] }, "bht1", "x"), /expected 4 axes \[B, H, T, 1\]/);
});
