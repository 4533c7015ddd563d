/** Storage types: every pattern, rounding, overflow, alignment. */
import assert from "node:assert/strict";
import test from "node:test";
import { setFloat16 } from "@petamoriken/float16";
import { InputError } from "../../../engine/errors.ts";
import { bytesPer, type DType, fromBytes, toBytes } from "../../../engine/tensor/dtype.ts";

const half = ["f16", "bf16"] as const;

function patterns(...values: number[]): ArrayBuffer {
  return Uint16Array.from(values).buffer;
}

function encoded(value: number, dtype: "f16" | "bf16"): number {
  return new Uint16Array(toBytes(Float32Array.of(value), dtype))[0];
}

test("bytesPer is the paper's e", () => {
  assert.deepEqual((["f32", "f16", "bf16"] as const).map(bytesPer), [4, 2, 2]);
});

for (const dtype of half) {
  test(`${dtype}: all 65,536 patterns survive fromBytes and toBytes`, () => {
    const all = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const values = fromBytes(all.buffer, dtype);
    const back = new Uint16Array(toBytes(values, dtype));
    const infinity = dtype === "f16" ? 0x7c00 : 0x7f80;
    for (let i = 0; i < 65536; i++) {
      const isNaN = (i & 0x7fff) > infinity;
      assert.equal(Number.isNaN(values[i]), isNaN);
      if (isNaN) assert.ok((back[i] & 0x7fff) > infinity, `NaN ${i.toString(16)} became ${back[i].toString(16)}`);
      else assert.equal(back[i], i);
    }
  });

  test(`${dtype}: rounds to nearest, ties to even, between all neighbours`, () => {
    const infinity = dtype === "f16" ? 0x7c00 : 0x7f80;
    const values = fromBytes(Uint16Array.from({ length: infinity }, (_, i) => i).buffer, dtype);
    const middle = new Float32Array(1);
    const bits = new Uint32Array(middle.buffer);
    for (let i = 0; i + 1 < infinity; i++) {
      middle[0] = values[i] / 2 + values[i + 1] / 2;
      if (middle[0] === 0) continue; // half the least f32 is no f32
      const even = i + (i & 1);
      assert.equal(encoded(middle[0], dtype), even);
      assert.equal(encoded(-middle[0], dtype), even | 0x8000);
      const at = bits[0];
      bits[0] = at - 1;
      assert.equal(encoded(middle[0], dtype), i);
      bits[0] = at + 1;
      assert.equal(encoded(middle[0], dtype), i + 1);
    }
  });
}

test("decoded values: a few of each type", () => {
  assert.deepEqual(
    [...fromBytes(patterns(0x3c00, 0xc000, 0x7bff, 0x0001, 0x03ff, 0x0400, 0x7c00, 0xfc00, 0x8000), "f16")],
    [1, -2, 65504, 2 ** -24, 1023 * 2 ** -24, 2 ** -14, Infinity, -Infinity, -0],
  );
  assert.deepEqual([...fromBytes(patterns(0x3f80, 0xc000, 0x7f7f, 0x0001, 0x0080, 0x7f80, 0xff80, 0x8000), "bf16")], [
    1,
    -2,
    255 * 2 ** 120,
    2 ** -133,
    2 ** -126,
    Infinity,
    -Infinity,
    -0,
  ]);
});

test("overflow becomes infinity, underflow zero, each with its sign", () => {
  assert.equal(encoded(65519.996, "f16"), 0x7bff);
  assert.equal(encoded(65520, "f16"), 0x7c00);
  assert.equal(encoded(-65536, "f16"), 0xfc00);
  assert.equal(encoded(3.4028234663852886e38, "f16"), 0x7c00);
  assert.equal(encoded(2 ** -25, "f16"), 0);
  assert.equal(encoded(-(2 ** -25) * 1.001, "f16"), 0x8001);
  assert.equal(encoded(-(2 ** -149), "f16"), 0x8000);
  assert.equal(encoded(3.4028234663852886e38, "bf16"), 0x7f80);
  assert.equal(encoded(-3.3961775292304957e38, "bf16"), 0xff80);
  assert.equal(encoded(2 ** -149, "bf16"), 0);
  assert.equal(encoded(-0, "bf16"), 0x8000);
});

test("a NaN whose payload lies in the lower half stays NaN", () => {
  const values = new Float32Array(Uint32Array.of(0x7f800001, 0xff800001, 0x7fffffff).buffer);
  for (const dtype of half) assert.ok(fromBytes(toBytes(values, dtype), dtype).every(Number.isNaN), dtype);
});

test("f16 agrees with @petamoriken/float16", () => {
  const bits = Uint32Array.from({ length: 20000 }, (_, i) => Math.imul(i, 0x9e3779b9));
  const values = new Float32Array(bits.buffer);
  const view = new DataView(new ArrayBuffer(2));
  const own = new Uint16Array(toBytes(values, "f16"));
  values.forEach((value, i) => {
    setFloat16(view, 0, value);
    if (!Number.isNaN(value)) assert.equal(own[i], view.getUint16(0), `${value}`);
  });
});

test("toBytes gives a fresh buffer of exactly the size", () => {
  const values = Float32Array.of(9, 1, 2, 9).subarray(1, 3);
  for (const dtype of ["f32", ...half] satisfies DType[]) {
    const out = toBytes(values, dtype);
    assert.equal(out.byteLength, 2 * bytesPer(dtype));
    assert.notEqual(out, values.buffer);
    assert.deepEqual([...fromBytes(out, dtype)], [1, 2]);
  }
});

test("fromBytes reads from any byte and copies", () => {
  for (const dtype of ["f32", ...half] satisfies DType[]) {
    const bytes = new Uint8Array([
      ...new Array(3).fill(0),
      ...new Uint8Array(toBytes(Float32Array.of(1, -2, 3), dtype)),
    ]);
    const values = fromBytes(bytes.buffer, dtype, 3);
    assert.deepEqual([...values], [1, -2, 3]);
    assert.deepEqual([...fromBytes(bytes.buffer, dtype, 3 + bytesPer(dtype), 1)], [-2]);
    bytes.fill(0);
    assert.equal(values[0], 1);
    assert.equal(fromBytes(bytes.buffer, dtype, bytes.length).length, 0);
  }
});

test("fromBytes rejects what the bytes do not hold", () => {
  for (
    const [offset, count] of [[0, 3], [1, undefined], [8, 1], [-4, 1], [0, -1], [0.5, 1], [12, undefined]] as const
  ) {
    assert.throws(() => fromBytes(new ArrayBuffer(8), "f32", offset, count), InputError);
  }
});
