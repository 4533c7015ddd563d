/** The generated ONNX model, read back by a separate parser. */
import assert from "node:assert/strict";
import test from "node:test";
import { groupQueryAttention } from "../../../engine/bench/onnx.ts";
import { concat, float, text, whole } from "../../../engine/bench/protobuf.ts";

/** A message's fields by number: numbers, bytes, or a float's four bytes. */
function parse(bytes: Uint8Array): Map<number, (number | Uint8Array)[]> {
  const fields = new Map<number, (number | Uint8Array)[]>();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 1;; shift *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * shift;
      if (byte < 128) return value;
    }
  };
  const take = (count: number) => bytes.subarray(at, at += count);
  while (at < bytes.length) {
    const key = varint();
    const value = key % 8 === 0
      ? varint()
      : key % 8 === 2
      ? take(varint())
      : key % 8 === 5
      ? take(4)
      : assert.fail(`wire type ${key % 8}`);
    fields.set(Math.floor(key / 8), [...(fields.get(Math.floor(key / 8)) ?? []), value]);
  }
  assert.equal(at, bytes.length, "fields end where the message ends");
  return fields;
}

const sub = (fields: ReturnType<typeof parse>, field: number) =>
  (fields.get(field) ?? []).map((value) => parse(value as Uint8Array));
const texts = (fields: ReturnType<typeof parse>, field: number) =>
  (fields.get(field) ?? []).map((value) => new TextDecoder().decode(value as Uint8Array));

test("the model is one GroupQueryAttention node with its inputs, outputs and attributes", () => {
  const model = parse(groupQueryAttention({ tokens: 300, heads: 8, kvHeads: 2, headDim: 64, scale: 0.125 }));
  assert.deepEqual(sub(model, 8).map((o) => [texts(o, 1)[0], o.get(2)![0]]), [["", 17], ["com.microsoft", 1]]);
  const [graph] = sub(model, 7);
  const [node, ...others] = sub(graph, 1);
  assert.equal(others.length, 0);
  assert.deepEqual([texts(node, 4), texts(node, 7)], [["GroupQueryAttention"], ["com.microsoft"]]);
  assert.deepEqual(texts(node, 1), [
    "query",
    "key",
    "value",
    "past_key",
    "past_value",
    "seqlens_k",
    "total_sequence_length",
  ]);
  assert.deepEqual(texts(node, 2), ["output", "present_key", "present_value"]);
  const attributes = sub(node, 5).map((a) => {
    const real = a.get(2)?.[0] as Uint8Array | undefined;
    return [
      texts(a, 1)[0],
      a.get(3)?.[0] ?? new DataView(real!.buffer, real!.byteOffset, 4).getFloat32(0, true),
      a.get(20)![0],
    ];
  });
  assert.deepEqual(attributes, [["num_heads", 8, 2], ["kv_num_heads", 2, 2], ["scale", 0.125, 1]]);
  const port = (p: ReturnType<typeof parse>) => {
    const [tensor] = sub(sub(p, 2)[0], 1);
    return [texts(p, 1)[0], tensor.get(1)![0], ...sub(sub(tensor, 2)[0], 1).map((d) => d.get(1)![0])];
  };
  assert.deepEqual(sub(graph, 11).map(port), [
    ["query", 1, 1, 300, 512],
    ["key", 1, 1, 300, 128],
    ["value", 1, 1, 300, 128],
    ["past_key", 1, 1, 2, 0, 64],
    ["past_value", 1, 1, 2, 0, 64],
    ["seqlens_k", 6, 1],
    ["total_sequence_length", 6],
  ]);
  assert.deepEqual(sub(graph, 12).map(port), [["output", 1, 1, 300, 512], ["present_key", 1, 1, 2, 300, 64], [
    "present_value",
    1,
    1,
    2,
    300,
    64,
  ]]);
});

test("the wire format: bytes of the specification's own examples, and what it refuses", () => {
  assert.deepEqual([...whole(1, 150)], [0x08, 0x96, 0x01]);
  assert.deepEqual([...text(2, "testing")], [0x12, 7, ...new TextEncoder().encode("testing")]);
  assert.deepEqual([...float(3, 1)], [0x1d, 0, 0, 0x80, 0x3f]);
  assert.equal(parse(whole(5, 2 ** 40 + 3)).get(5)![0], 2 ** 40 + 3);
  assert.deepEqual([...concat([])], []);
  assert.throws(() => whole(1, -1), /found -1/);
});
