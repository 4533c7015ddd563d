/** The part of protobuf's wire format that an ONNX model needs: whole numbers, floats, texts and nested messages. */

/** One field, encoded. */
export type Field = Uint8Array<ArrayBuffer>;

const VARINT = 0, BYTES = 2, FIXED32 = 5;

function varint(value: number): number[] {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`protobuf: found ${value}, expected a whole number of at least 0`);
  }
  const out: number[] = [];
  for (; value > 127; value = Math.floor(value / 128)) out.push((value % 128) | 128);
  return [...out, value];
}

/** A whole number (int32, int64, enum) of at least 0. */
export function whole(field: number, value: number): Field {
  return Uint8Array.from([...varint(field * 8 + VARINT), ...varint(value)]);
}

/** A float. */
export function float(field: number, value: number): Field {
  return Uint8Array.from([...varint(field * 8 + FIXED32), ...new Uint8Array(Float32Array.of(value).buffer)]);
}

/** A text. */
export function text(field: number, value: string): Field {
  return bytes(field, new TextEncoder().encode(value));
}

/** A nested message. */
export function message(field: number, ...fields: readonly Field[]): Field {
  return bytes(field, concat(fields));
}

/** Fields one after another: a message. */
export function concat(fields: readonly Uint8Array[]): Field {
  const out = new Uint8Array(fields.reduce((sum, f) => sum + f.length, 0));
  let at = 0;
  for (const f of fields) {
    out.set(f, at);
    at += f.length;
  }
  return out;
}

function bytes(field: number, value: Uint8Array): Field {
  return concat([Uint8Array.from([...varint(field * 8 + BYTES), ...varint(value.length)]), value]);
}
