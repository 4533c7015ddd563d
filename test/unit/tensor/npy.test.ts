/** .npy files: numpy's own bytes, ours, and every way to be wrong. */
import assert from "node:assert/strict";
import test from "node:test";
import { toBytes } from "../../../engine/tensor/dtype.ts";
import { readNpy, writeNpy } from "../../../engine/tensor/npy.ts";
import { damage } from "./damage.ts";

const MAGIC = "\x93NUMPY";

/** A file by hand: version, header text, data. */
function npy(header: string, data: Uint8Array = new Uint8Array(), version = 1): Uint8Array {
  const text = Uint8Array.from(header, (c) => c.charCodeAt(0));
  const length = version === 1
    ? [text.length & 255, text.length >> 8]
    : [text.length & 255, text.length >> 8 & 255, text.length >> 16, 0];
  return Uint8Array.from([...Uint8Array.from(MAGIC, (c) => c.charCodeAt(0)), version, 0, ...length, ...text, ...data]);
}

function header(descr: string, shape: string, order = "False"): string {
  return `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }\n`;
}

function f32(...values: number[]): Uint8Array {
  return new Uint8Array(toBytes(Float32Array.from(values), "f32"));
}

function refuses(file: Uint8Array, message: RegExp): void {
  assert.throws(() => readNpy(file, "dir/q.npy"), (error: Error) => {
    assert.equal(error.name, "InputError");
    assert.match(error.message, /^dir\/q\.npy: [^\n]*$/);
    assert.match(error.message, message);
    return true;
  });
}

test("the bytes of numpy 2.4.6: np.save of float32 [1, -2.5, 3]", () => {
  const bytes = Uint8Array.from([
    0x93,
    0x4e,
    0x55,
    0x4d,
    0x50,
    0x59,
    1,
    0,
    0x76,
    0,
    ...new TextEncoder().encode(`{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }${" ".repeat(60)}\n`),
    0,
    0,
    0x80,
    0x3f,
    0,
    0,
    0x20,
    0xc0,
    0,
    0,
    0x40,
    0x40,
  ]);
  assert.deepEqual(readNpy(bytes, "x.npy"), { shape: [3], dtype: "f32", data: Float32Array.of(1, -2.5, 3) });
  assert.deepEqual(writeNpy([3], Float32Array.of(1, -2.5, 3)), bytes);
});

test("what we write we read: any rank, empty axes, scalars", () => {
  for (const shape of [[], [1], [5], [2, 3, 4], [0], [3, 0, 2], [1, 1, 1, 1, 1, 7], new Array(40).fill(1)]) {
    const data = Float32Array.from(
      { length: shape.reduce((n: number, m: number) => n * m, 1) },
      (_, i) => Math.fround(i / 3),
    );
    const file = writeNpy(shape, data);
    assert.equal((file.length - data.byteLength) % 64, 0);
    assert.deepEqual(readNpy(file, "x.npy"), { shape, dtype: "f32", data });
  }
});

test("reads from the middle of a buffer, unaligned, and writes from one", () => {
  const file = writeNpy([2], Float32Array.of(7, 1, 2).subarray(1));
  const padded = new Uint8Array(file.length + 5);
  padded.set(file, 3);
  assert.deepEqual([...readNpy(padded.subarray(3, 3 + file.length), "x.npy").data], [1, 2]);
});

test("reads f16, versions 2.0 and 3.0, any order of keys, either quote", () => {
  const halves = new Uint8Array(toBytes(Float32Array.of(1.5, -2), "f16"));
  for (const version of [1, 2, 3]) {
    assert.deepEqual(readNpy(npy(header("'<f2'", "(1, 2)"), halves, version), "x.npy"), {
      shape: [1, 2],
      dtype: "f16",
      data: Float32Array.of(1.5, -2),
    });
  }
  assert.deepEqual(readNpy(npy(`{"shape": ( 2,), 'descr':"<f4" , "fortran_order" :False}`, f32(1, 2)), "x.npy").shape, [
    2,
  ]);
  assert.deepEqual(readNpy(npy(header("'<f4'", "(2, 1,)"), f32(1, 2)), "x.npy").shape, [2, 1]);
});

test("rejects files of other formats", () => {
  refuses(
    new TextEncoder().encode("PK\x03\x04 a zip"),
    /starts with 50 4b 03 04 20 61, expected the \.npy magic 93 4e 55 4d 50 59/,
  );
  refuses(Uint8Array.of(), /truncated .* 0 bytes, expected at least 8/);
  refuses(Uint8Array.of(0x93, 0x4e), /truncated .* 2 bytes, expected at least 8/);
  const file = npy(header("'<f4'", "(1,)"), f32(1));
  file[6] = 4;
  refuses(file, /version 4\.0, expected 1\.0, 2\.0, 3\.0/);
  file.set([1, 1], 6);
  refuses(file, /version 1\.1/);
});

test("rejects truncated and oversized headers", () => {
  refuses(
    npy(header("'<f4'", "()")).slice(0, 9),
    /truncated \.npy header: found a file of 9 bytes, expected at least 10/,
  );
  refuses(npy(header("'<f4'", "()"), undefined, 2).slice(0, 11), /expected at least 12/);
  refuses(npy(header("'<f4'", "()")).slice(0, 40), /truncated \.npy header: found a file of 40 bytes, expected 66/);
  refuses(
    Uint8Array.from([...npy("", undefined, 2).slice(0, 8), 0, 0, 0, 255]),
    /header of 4278190080 bytes, expected at most 65535/,
  );
});

test("rejects dtypes and orders it can't read, and says how to convert", () => {
  refuses(npy(header("'<i4'", "(1,)")), /dtype '<i4', expected '<f4', '<f2' or '<f8'; save x\.astype\('<f4'\)/);
  refuses(npy(header("'>f4'", "(1,)")), /'>f4', .*big-endian: save x\.astype\('<f4'\)/);
  refuses(npy(header("'>f2'", "(1,)")), /big-endian: save x\.astype\('<f2'\)/);
  refuses(npy(header("'|O'", "(1,)")), /dtype '\|O'/);
  refuses(npy(header("'|V2'", "(1,)")), /bfloat16: save it in a \.safetensors file/);
  refuses(npy(header("'__proto__'", "(1,)")), /dtype '__proto__'/);
  refuses(npy(header("[('a', '<f4'), ('b', '<i4')]", "(1,)")), /a structured dtype, expected '<f4' or '<f2'/);
  refuses(npy(header("5", "(1,)")), /descr "5", expected a string/);
  refuses(
    npy(header("'<f4'", "(2, 2)", "True"), f32(1, 2, 3, 4)),
    /Fortran order, expected C order; save np\.ascontiguousarray/,
  );
  refuses(npy(header("'<f4'", "(1,)", "0")), /fortran_order "0", expected True or False/);
});

test("rejects shapes that are no tuple of non-negative whole numbers", () => {
  for (
    const shape of [
      "(-1,)",
      "(3)",
      "3",
      "(1.5, 2)",
      "(1,,2)",
      "(,)",
      "('a',)",
      "(03, 1)",
      "(3L, 2)",
      "(9007199254740992,)",
      "None",
    ]
  ) {
    refuses(npy(header("'<f4'", shape)), /\.npy header: found (shape )?".*expected a (tuple|dictionary)/);
  }
  refuses(npy(header("'<f4'", "((1, 2), 3)")), /\.npy header/);
  refuses(
    npy(header("'<f4'", "(3037000500, 3037000500)")),
    /shape \[3037000500, 3037000500\], expected fewer than 2\^53 elements/,
  );
});

test("rejects other headers than such a dictionary", () => {
  refuses(npy("__import__('os')\n"), /found "__import__\('os'\)\\n" at character 0, expected a dictionary/);
  refuses(npy(""), /at character 0/);
  refuses(npy("{"), /\.npy header/);
  refuses(npy("{}\n"), /no 'descr', 'fortran_order', 'shape' in "\{\}\\n"/);
  refuses(npy("{'descr': '<f4', 'shape': (1,)}"), /no 'fortran_order'/);
  refuses(npy("{'descr': '<f4', 'descr': '<f4'}"), /key 'descr' twice/);
  refuses(npy("{'descr': '<f4', 'evil': 1}"), /key "evil", expected only/);
  refuses(npy("{'descr': '<f4' 'shape': (1,)}"), /at character 16/);
  refuses(npy(`${header("'<f4'", "(1,)").trimEnd()} + 1`), /\.npy header/);
  refuses(npy(`{'descr': '<f4', 'fortran_order': False, 'shape': ${"(".repeat(60000)}}`), /\.npy header/);
  refuses(npy("\xef\xbb\xbf{}"), /at character 0/);
});

test("rejects data shorter or longer than the shape", () => {
  refuses(
    npy(header("'<f4'", "(3,)"), f32(1, 2)),
    /found 8 bytes of data, expected 12 for shape \[3\] of '<f4'; the file is truncated/,
  );
  refuses(npy(header("'<f4'", "(1,)"), f32(1, 2)), /there are 4 trailing bytes/);
  refuses(npy(header("'<f2'", "()"), Uint8Array.of(1)), /found 1 bytes of data, expected 2/);
  refuses(npy(header("'<f4'", "(0, 3)"), Uint8Array.of(1)), /expected 0 for shape \[0, 3\]/);
});

test("writeNpy rejects a shape that doesn't fit the data", () => {
  for (const shape of [[2], [], [-3], [1.5, 2], [0, 3]]) {
    assert.throws(() => writeNpy(shape, new Float32Array(3)), {
      name: "InputError",
      message: /writeNpy: found shape \[.*for 3 elements/,
    });
  }
  assert.throws(() => writeNpy(new Array(40000).fill(1), new Float32Array(1)), {
    name: "InputError",
    message: /40000 axes/,
  });
});

test("damaged files are read or rejected with InputError, nothing else", () => {
  const file = writeNpy([2, 3], Float32Array.of(1, 2, 3, 4, 5, 6));
  const refused = damage(file, 3000, (bytes) => readNpy(bytes, "x.npy"));
  assert.ok(refused > 3000 && refused < 6000, `${refused}`);
});
