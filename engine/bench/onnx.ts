/** The ONNX model that the peer runs: one com.microsoft GroupQueryAttention node, f32, causal, a whole prefill. */
import { concat, type Field, float, message, text, whole } from "./protobuf.ts";

/** The attention that the model computes. */
export interface GroupQueryAttention {
  /** T: no tokens are cached. */
  readonly tokens: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly scale: number;
}

/** A tensor's name, shape and type. */
interface Port {
  readonly name: string;
  readonly type: "f32" | "i32";
  readonly shape: readonly number[];
}

/** onnx.proto: TensorProto.DataType. */
const ELEMENT = { f32: 1, i32: 6 } as const;
/** onnx.proto: AttributeProto.AttributeType. */
const FLOAT = 1, INT = 2;
const IR_VERSION = 8, OPSET = 17;

/**
 * The model's inputs and outputs, in the operator's order
 * (https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md).
 */
export function ports(
  { tokens, heads, kvHeads, headDim }: GroupQueryAttention,
): { readonly inputs: readonly Port[]; readonly outputs: readonly Port[] } {
  const cache = (name: string, length: number): Port => ({ name, type: "f32", shape: [1, kvHeads, length, headDim] });
  return {
    inputs: [
      { name: "query", type: "f32", shape: [1, tokens, heads * headDim] },
      { name: "key", type: "f32", shape: [1, tokens, kvHeads * headDim] },
      { name: "value", type: "f32", shape: [1, tokens, kvHeads * headDim] },
      cache("past_key", 0),
      cache("past_value", 0),
      { name: "seqlens_k", type: "i32", shape: [1] },
      { name: "total_sequence_length", type: "i32", shape: [] },
    ],
    outputs: [
      { name: "output", type: "f32", shape: [1, tokens, heads * headDim] },
      cache("present_key", tokens),
      cache("present_value", tokens),
    ],
  };
}

/** The bytes of the model's file. */
export function groupQueryAttention(attention: GroupQueryAttention): Field {
  const { inputs, outputs } = ports(attention);
  const node = [
    ...inputs.map(({ name }) => text(1, name)),
    ...outputs.map(({ name }) => text(2, name)),
    text(3, "attention"),
    text(4, "GroupQueryAttention"),
    message(5, text(1, "num_heads"), whole(3, attention.heads), whole(20, INT)),
    message(5, text(1, "kv_num_heads"), whole(3, attention.kvHeads), whole(20, INT)),
    message(5, text(1, "scale"), float(2, attention.scale), whole(20, FLOAT)),
    text(7, "com.microsoft"),
  ];
  const graph = [
    message(1, ...node),
    text(2, "ringside-bench"),
    ...inputs.map((port) => valueInfo(11, port)),
    ...outputs.map((port) => valueInfo(12, port)),
  ];
  const opset = (domain: string, version: number) => message(8, text(1, domain), whole(2, version));
  return concat([
    whole(1, IR_VERSION),
    text(2, "ringside"),
    message(7, ...graph),
    opset("", OPSET),
    opset("com.microsoft", 1),
  ]);
}

function valueInfo(field: number, { name, type, shape }: Port): Field {
  const dims = shape.map((size) => message(1, whole(1, size)));
  return message(field, text(1, name), message(2, message(1, whole(1, ELEMENT[type]), message(2, ...dims))));
}
