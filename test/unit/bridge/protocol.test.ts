/** The client judges the protocol's recorded examples as the worker does; and frames of all kinds. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";
import fc from "fast-check";
import { readFrame, writeFrame } from "../../../cuda-bridge/client/frames.ts";
import type { Side } from "../../../cuda-bridge/client/schema.ts";
import { Inbox, Outgoing } from "../../../cuda-bridge/client/streams.ts";
import { complaint } from "./fake-worker.ts";

interface Example {
  readonly name: string;
  readonly message?: unknown;
  readonly text?: string;
  readonly verdict: "good" | "bad" | "dropped";
  readonly field?: string;
}

const examples = async (name: string) =>
  JSON.parse(await readFile(new URL(`../../../cuda-bridge/protocol/examples/${name}.json`, import.meta.url), "utf8"));

for (
  const [file, side] of [["client-messages", "clientMessage"], ["server-messages", "serverMessage"]] as [string, Side][]
) {
  test(`${file}: each example has its verdict, and a complaint names the field`, async () => {
    const recorded = (await examples(file)).examples as Example[];
    assert.ok(recorded.some((e) => e.verdict === "good") && recorded.some((e) => e.verdict === "bad"));
    for (const { name, message, text, verdict, field } of recorded) {
      let found: string | undefined;
      try {
        found = complaint(side, text === undefined ? message : JSON.parse(text));
      } catch (error) {
        found = `no JSON: ${error}`;
      }
      assert.equal(found === undefined, verdict === "good", `${name}: ${found}`);
      if (found === undefined || !field) continue;
      for (const part of field.match(/[^.[\]]+/g)!) {
        assert.ok(found.includes(part), `${name}: "${found}" does not name ${field}`);
      }
      assert.ok(found.length < 400, `${name}: ${found}`);
    }
  });
}

interface Frames {
  readonly frameBytes: number;
  readonly streams: Readonly<
    Record<string, { readonly bytes: number; readonly received: number; readonly ended?: boolean }>
  >;
  readonly examples: readonly (Example & {
    readonly hex: string;
    readonly stream: number;
    readonly offset: number;
    readonly payload: string;
  })[];
}

test("frames: each example is accepted, ignored or rejected", async () => {
  const { frameBytes, streams, examples: recorded } = await examples("frames") as Frames;
  const bytesOf = (hex: string) => Uint8Array.from(hex.match(/../g) ?? [], (byte) => parseInt(byte, 16));
  for (const { name, hex, verdict, stream, offset, payload } of recorded) {
    const inbox = new Inbox(frameBytes, 64);
    const tensors = Object.entries(streams).map(([number, { bytes = 1, received = 0, ended = false }]) => {
      // The test makes no tensor of 4 GiB: only its place in the stream matters here.
      const incoming = inbox.name(
        { stream: Number(number), dtype: "f32", shape: [1], bytes: Math.min(bytes, 1024) },
        0,
      )!;
      Object.assign(incoming, { at: received });
      if (bytes > 1024) Object.assign(incoming, { ref: { ...incoming.ref, bytes }, put: Endless.put });
      if (ended) inbox.drop(incoming);
      // A tensor that was complete before: its last frame completed it.
      if (bytes === received) {
        [incoming.at] = [received - 1],
          inbox.take(writeFrame(Number(number), received - 1, Uint8Array.of(0)).buffer, 0);
      }
      return incoming;
    });
    const taken = inbox.take(bytesOf(hex).buffer, 1);
    const found = typeof taken === "string" ? "bad" : taken === undefined ? "dropped" : "good";
    assert.equal(found, verdict, `${name}: ${typeof taken === "string" ? taken : ""}`);
    if (verdict !== "good" || typeof taken !== "object") continue;
    assert.equal(taken.incoming, tensors[stream - 1], name);
    assert.deepEqual(writeFrame(stream, offset, bytesOf(payload)), bytesOf(hex), name);
  }
});

/** Takes bytes anywhere. */
const Endless = {
  put(this: { at: number }, payload: Uint8Array): number {
    return (this.at += payload.length);
  },
};

test("any frame is read as it was written; any bytes are a frame or are rejected with a text", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 2 ** 32 - 1 }),
      fc.maxSafeNat(),
      fc.uint8Array({ minLength: 1, maxLength: 100 }),
      (stream, offset, payload) => {
        assert.deepEqual(readFrame(writeFrame(stream, offset, payload).buffer), {
          stream,
          offset,
          payload: Uint8Array.from(payload),
        });
      },
    ),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
    const frame = readFrame(Uint8Array.from(bytes).buffer);
    assert.ok(typeof frame === "string" ? frame.startsWith("found a frame") : frame.payload.length > 0);
  }));
});

test("a tensor cut anyhow arrives whole, acknowledged in time; a frame out of place is rejected and changes nothing", () => {
  const cut = fc.record({
    bytes: fc.uint8Array({ minLength: 4, maxLength: 400 }),
    cuts: fc.array(fc.nat(400)),
    window: fc.integer({ min: 4, max: 64 }),
    wrong: fc.nat(500),
  });
  fc.assert(fc.property(cut, ({ bytes, cuts, window, wrong }) => {
    const whole = Uint8Array.from(bytes.subarray(0, bytes.length - (bytes.length % 4)));
    const inbox = new Inbox(1000, window);
    const incoming = inbox.name({ stream: 7, dtype: "f32", shape: [whole.length / 4], bytes: whole.length }, 0)!;
    const edges = [...new Set([0, whole.length, ...cuts.map((c) => Math.min(c, whole.length))])].sort((a, b) => a - b);
    let acknowledged = 0;
    edges.slice(1).forEach((to, i) => {
      if (wrong !== incoming.at) {
        assert.equal(typeof inbox.take(writeFrame(7, wrong, Uint8Array.of(1)).buffer, 0), "string");
      }
      const taken = inbox.take(writeFrame(7, edges[i], whole.subarray(edges[i], to)).buffer, 0);
      assert.ok(typeof taken === "object");
      if (taken.received !== undefined) acknowledged = taken.received;
      assert.ok(incoming.at - acknowledged < Math.max(1, window / 4));
    });
    assert.ok(incoming.done && acknowledged === whole.length);
    assert.deepEqual(new Uint8Array(incoming.values().buffer), whole);
    assert.equal(inbox.name({ stream: 7, dtype: "f32", shape: [1], bytes: 4 }, 0), undefined);
  }));
});

test("sending: never more than the window unacknowledged; impossible acknowledgements are rejected", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.integer({ min: 1, max: 100 }),
      fc.array(fc.tuple(fc.boolean(), fc.nat(1100))),
      (bytes, window, moves) => {
        const out = new Outgoing(bytes, window, 0);
        let acknowledged = 0;
        for (const [send, n] of moves) {
          if (send) out.sent += Math.min(n, out.leave);
          else {
            const right = n >= acknowledged && n <= out.sent;
            assert.equal(out.acknowledge(n, 1), right);
            if (right) acknowledged = n;
          }
          assert.ok(out.leave >= 0 && out.sent - acknowledged <= window && out.sent <= bytes);
        }
      },
    ),
  );
});
