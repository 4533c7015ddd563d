/** Binary frames of the protocol: a head of 16 bytes, then a piece of a tensor. */

/** Bytes of a frame's head. */
export const HEAD_BYTES = 16;
const MAGIC = 0x31425352; // "RSB1", little-endian

/** A parsed frame: `payload` begins at byte `offset` of the tensor that `stream` carries. */
export interface Frame {
  readonly stream: number;
  readonly offset: number;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** Makes a frame to send. */
export function writeFrame(stream: number, offset: number, payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(HEAD_BYTES + payload.length);
  const head = new DataView(frame.buffer);
  head.setUint32(0, MAGIC, true);
  head.setUint32(4, stream, true);
  head.setBigUint64(8, BigInt(offset), true);
  frame.set(payload, HEAD_BYTES);
  return frame;
}

/** Parses a received frame. Returns a text if it is invalid. The payload is a view of `bytes`. */
export function readFrame(bytes: ArrayBuffer): Frame | string {
  if (bytes.byteLength <= HEAD_BYTES) {
    return `found a frame of ${bytes.byteLength} bytes, expected more than its head of ${HEAD_BYTES}`;
  }
  const head = new DataView(bytes);
  if (head.getUint32(0, true) !== MAGIC) {
    return `found a frame that begins with 0x${head.getUint32(0).toString(16).padStart(8, "0")}, expected RSB1`;
  }
  const offset = Number(head.getBigUint64(8, true));
  if (!Number.isSafeInteger(offset)) return `found a frame at offset ${offset}, expected one below 2^53`;
  return { stream: head.getUint32(4, true), offset, payload: new Uint8Array(bytes, HEAD_BYTES) };
}
