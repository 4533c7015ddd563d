/** .safetensors files: the reference implementation's bytes, ours, and every way to be wrong. */
import assert from "node:assert/strict";
import test from "node:test";
import { readSafetensors, writeSafetensors } from "../../../engine/tensor/safetensors.ts";
import type { Tensor } from "../../../engine/tensor/tensor.ts";
import { damage } from "./damage.ts";

/** A file by hand: header text (or its object) and bytes of data. */
function file(header: unknown, size = 0): Uint8Array {
  const text = new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const out = new Uint8Array(8 + text.length + size);
  new DataView(out.buffer).setUint32(0, text.length, true);
  out.set(text, 8);
  return out;
}

function entry(dtype: unknown, shape: unknown, ...offsets: unknown[]): object {
  return { dtype, shape, data_offsets: offsets };
}

function tensor(dtype: Tensor["dtype"], shape: number[], ...data: number[]): Tensor {
  return { shape, dtype, data: Float32Array.from(data) };
}

function refuses(bytes: Uint8Array, message: RegExp, wanted: string[] = []): void {
  assert.throws(() => readSafetensors(bytes, "in.safetensors", wanted), (error: Error) => {
    assert.equal(error.name, "InputError");
    assert.match(error.message, /^in\.safetensors: [^\n]*$/);
    assert.match(error.message, message);
    return true;
  });
}

test("the bytes of the reference implementation's own tests", () => {
  const values = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);
  const aligned = Uint8Array.from([
    64,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    ...new TextEncoder().encode(`{"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}}`),
    ...values,
  ]);
  assert.deepEqual(writeSafetensors({ "attn.0": tensor("f32", [1, 2, 3], 0, 1, 2, 3, 4, 5) }), aligned);
  assert.deepEqual(readSafetensors(aligned, "x", ["attn.0"]), { "attn.0": tensor("f32", [1, 2, 3], 0, 1, 2, 3, 4, 5) });
  const padded = Uint8Array.from([
    72,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    ...new TextEncoder().encode(`{"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}}       `),
    ...values,
  ]);
  assert.deepEqual(writeSafetensors({ attn0: tensor("f32", [1, 1, 2, 3], 0, 1, 2, 3, 4, 5) }), padded);
  assert.deepEqual(writeSafetensors({}), Uint8Array.of(8, 0, 0, 0, 0, 0, 0, 0, 123, 125, 32, 32, 32, 32, 32, 32));
});

test("what we write we read: dtypes, scalars, empty tensors, odd names", () => {
  const tensors = {
    b: tensor("bf16", [3], 1, -2.5, Infinity),
    a: tensor("f16", [1, 1], 0.5),
    q: tensor("f32", [], 0.1),
    none: tensor("f16", [0, 4]),
    'ü "\n': tensor("f32", [2], 1, 2),
    "7": tensor("bf16", [], 3),
  };
  const bytes = writeSafetensors(tensors);
  assert.deepEqual(readSafetensors(bytes, "x", Object.keys(tensors)), tensors);
  assert.deepEqual(Object.keys(readSafetensors(bytes, "x", ["a", "q"])), ["a", "q"]);
  assert.deepEqual(writeSafetensors(Object.fromEntries(Object.entries(tensors).reverse())), bytes);
  const shifted = new Uint8Array(bytes.length + 1);
  shifted.set(bytes, 1);
  assert.deepEqual(readSafetensors(shifted.subarray(1), "x", Object.keys(tensors)), tensors);
});

test("rounds to the stored dtype", () => {
  assert.deepEqual([...readSafetensors(writeSafetensors({ x: tensor("bf16", [2], 1.001, 257) }), "x", ["x"]).x.data], [
    1,
    256,
  ]);
});

test("__metadata__ is skipped; other dtypes may lie beside the wanted tensors", () => {
  const header = {
    __metadata__: { format: "pt" },
    ids: entry("I64", [2], 0, 16),
    mask: entry("BOOL", [3], 16, 19),
    q: entry("F32", [1], 19, 23),
    packed: entry("F4", [2], 23, 24),
  };
  assert.deepEqual(readSafetensors(file(header, 24), "x", ["q"]).q, tensor("f32", [1], 0));
  refuses(file(header, 24), /tensor "ids": found dtype I64, expected F32, F16, BF16, F64, F8_E4M3 or F8_E5M2/, [
    "q",
    "ids",
  ]);
  refuses(file(header, 24), /no tensor "__metadata__"/, ["__metadata__"]);
});

test("names of Object.prototype are names like others", () => {
  const bytes = file(
    `{"__proto__": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, ` +
      `"constructor": {"dtype": "F32", "shape": [], "data_offsets": [4, 8]}}`,
    8,
  );
  const read = readSafetensors(bytes, "x", ["__proto__", "constructor"]);
  assert.deepEqual(Object.keys(read), ["__proto__", "constructor"]);
  assert.equal(Object.getPrototypeOf(read), Object.prototype);
  assert.deepEqual(Object.getOwnPropertyDescriptor(read, "__proto__")?.value.shape, [1]);
  assert.equal(({} as Record<string, unknown>).dtype, undefined);
  assert.deepEqual(Object.keys(readSafetensors(writeSafetensors(read), "x", ["__proto__"])), ["__proto__"]);
  refuses(bytes, /no tensor "toString"/, ["toString"]);
  refuses(
    file(`{"a": {"__proto__": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}}`, 4),
    /tensor "a": found dtype nothing/,
  );
  refuses(file({ a: entry("toString", [], 0, 4) }, 4), /dtype "toString"/);
});

test("rejects missing tensors and names those that exist", () => {
  refuses(
    writeSafetensors({ k: tensor("f32", [], 1), v: tensor("f32", [], 1) }),
    /found no tensor "q", "o"; the file holds "k", "v"/,
    ["q", "k", "o"],
  );
  refuses(file({}), /no tensor "q"; the file holds none/, ["q"]);
  const many = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [`t${i}`, entry("F32", [0], 0, 0)]));
  refuses(file(many), /"t19" and 5 more$/, ["q"]);
});

test("rejects impossible header lengths", () => {
  refuses(Uint8Array.of(1, 2, 3), /truncated: found a \.safetensors file of 3 bytes, expected at least 8/);
  refuses(new Uint8Array(8).fill(255), /header length of 18446744073709551615 bytes, expected at most 100000000/);
  refuses(
    Uint8Array.of(0, 225, 245, 5, 0, 0, 0, 0),
    /header length of 100000000 bytes, expected at most the 0 that follow/,
  );
  refuses(file({ a: 1 }).slice(0, -1), /header length of 7 bytes, expected at most the 6 that follow/);
});

test("rejects headers that are no JSON object", () => {
  refuses(file(""), /no JSON in UTF-8/);
  refuses(file(`{"a":\n`), /no JSON in UTF-8 \(.*\), expected a JSON object/);
  refuses(file("\uFEFF{}"), /no JSON/);
  const invalid = file(`{"?":1}`);
  invalid[10] = 0xff;
  refuses(invalid, /no JSON in UTF-8/);
  refuses(file("[1, 2]"), /header \[1, 2\], expected a JSON object/);
  refuses(file("null"), /header null/);
  refuses(file("[".repeat(200000) + "]".repeat(200000)), /header/);
  refuses(file(`{"a": ${"[".repeat(200000)}${"]".repeat(200000)}}`), /nests deeper than 8 levels/);
});

test("rejects entries that do not describe a tensor", () => {
  for (const bad of [null, 3, "x", []]) refuses(file({ a: bad }), /tensor "a": found .* expected an object with dtype/);
  refuses(file({ a: {} }), /dtype nothing/);
  refuses(file({ a: entry("F128", [1], 0, 16) }, 16), /tensor "a": found dtype "F128", expected F32, F16 or BF16/);
  for (const shape of [null, "3", [-1], [1.5], ["1"], [2 ** 53], { 0: 1 }]) {
    refuses(
      file({ a: entry("F32", shape, 0, 4) }, 4),
      /tensor "a": found shape .*expected an array of non-negative whole numbers/,
    );
  }
  refuses(file(`{"a": {"dtype": "F32", "shape": [1e999], "data_offsets": [0, 4]}}`, 4), /shape \[Infinity\]/);
  refuses(
    file({ a: entry("F32", [2 ** 30, 2 ** 30, 0], 0, 0) }),
    /tensor "a": found shape \[1073741824, 1073741824, 0\], expected fewer than 2\^53/,
  );
});

test("rejects data_offsets that do not fit", () => {
  for (const offsets of [[], [0], [0, 4, 8], [0, 1.5], [-4, 0], ["0", "4"], [null, 4]]) {
    refuses(
      file({ a: entry("F32", [1], ...offsets) }, 4),
      /tensor "a": found data_offsets .*two non-negative whole numbers/,
    );
  }
  refuses(file({ a: { dtype: "F32", shape: [1] } }, 4), /data_offsets nothing/);
  refuses(file({ a: entry("F32", [1], 4, 0) }, 4), /data_offsets \[4, 0\], expected a begin that is not after the end/);
  refuses(
    file({ a: entry("F32", [2], 0, 4) }, 4),
    /data_offsets \[0, 4\], 4 bytes, expected 8 bytes for shape \[2\] of F32/,
  );
  refuses(
    file({ a: entry("F32", [2], 0, 8) }, 4),
    /tensor "a": found data_offsets \[0, 8\], expected an end within the 4 bytes/,
  );
});

test("rejects overlaps, holes and trailing bytes", () => {
  refuses(
    file({ a: entry("F32", [2], 0, 8), b: entry("F32", [1], 4, 8) }, 8),
    /tensor "b": .*expected a begin of 8: it overlaps/,
  );
  refuses(file({ a: entry("F32", [1], 0, 4), b: entry("F32", [1], 0, 4) }, 4), /tensor "b": .*it overlaps/);
  refuses(file({ a: entry("F32", [1], 4, 8) }, 8), /tensor "a": .*expected a begin of 0: there is a hole/);
  refuses(
    file({ a: entry("F32", [1], 0, 4), b: entry("F32", [1], 8, 12) }, 12),
    /tensor "b": .*expected a begin of 4: there is a hole/,
  );
  refuses(file({ a: entry("F32", [1], 0, 4) }, 6), /found 6 bytes of data, expected 4: there are 2 trailing bytes/);
  refuses(file({}, 1), /1 trailing bytes/);
});

test("writeSafetensors rejects shapes that don't fit the data, and __metadata__", () => {
  assert.throws(() => writeSafetensors({ a: tensor("f32", [2], 1) }), {
    name: "InputError",
    message: /tensor "a": found shape \[2\] for 1 elements/,
  });
  assert.throws(() => writeSafetensors({ a: tensor("f32", [-1]) }), { name: "InputError" });
  assert.throws(() => writeSafetensors({ __metadata__: tensor("f32", []) }), {
    name: "InputError",
    message: /reserves this one/,
  });
});

test("damaged files are read or rejected with InputError, nothing else", () => {
  const bytes = writeSafetensors({
    q: tensor("f32", [2, 2], 1, 2, 3, 4),
    k: tensor("bf16", [3], 1, 2, 3),
    v: tensor("f16", [1], 1),
  });
  const refused = damage(bytes, 3000, (damaged) => readSafetensors(damaged, "x", ["q", "k", "v"]));
  assert.ok(refused > 3000 && refused < 6000, `${refused}`);
});

test("a name that comes twice is rejected, in the header and in an entry, however it is written", () => {
  const one = JSON.stringify(entry("F32", [1], 0, 4));
  refuses(file(`{"a":${one},"a":${one}}`, 4), /found "a" twice in the header, expected each name once$/);
  refuses(file(`{"a":${one},"\\u0061" :${one}}`, 4), /found "a" twice in the header/);
  refuses(
    file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"dtype":"I32"}}`, 4),
    /found "dtype" twice in one entry of the header/,
  );
  refuses(file(`{"__metadata__":{"x":"1","x":"2"},"a":${one}}`, 4), /found "x" twice/);
  // Equal names in different objects, and text that looks like a name, don't count.
  readSafetensors(
    file(
      `{"__metadata__":{"x":"\\"x\\":{[","y":"x"},"a":${one},"x":{"dtype":"F32","shape":[0],"data_offsets":[4,4]}}`,
      4,
    ),
    "f",
    ["a", "x"],
  );
});

test("a header of 20 MB that nests, or has millions of names, is rejected at once", () => {
  const size = 2e7;
  const start = performance.now();
  refuses(
    file(`{"a":${"[".repeat(size / 2)}${"]".repeat(size / 2)}}`),
    /nests deeper than 8 levels at byte 20, expected /,
  );
  refuses(file(`${'{"a":'.repeat(size / 6)}1${"}".repeat(size / 6)}`), /nests deeper than 8 levels/);
  refuses(file("[".repeat(size)), /nests deeper than 8 levels/);
  refuses(
    file(`{"a":{${Array.from({ length: 2e6 }, (_, i) => `"${i}":1`).join(",")}}}`),
    /found more than 200000 names in one entry of the header/,
  );
  assert.ok(performance.now() - start < 5000, `${performance.now() - start} ms`);
});
