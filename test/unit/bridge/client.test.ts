/**
 * The client against fake workers: good ones, slow ones, silent ones, and those that talk nonsense.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import test from "node:test";
import { writeFrame } from "../../../cuda-bridge/client/frames.ts";
import type { RemoteFace as Connected, RemoteOptions, SeededInput } from "../../../cuda-bridge/client/types.ts";
import { RemoteError } from "../../../cuda-bridge/client/errors.ts";
import { InputError, LimitError, RankError } from "../../../engine/errors.ts";
import { seededRows } from "../../../engine/tensor/seeded.ts";
import type { Span } from "../../../engine/trace/span.ts";
import { FACTS, fakeWorker, LIMITS, type Peer, Remote, runValue, TOKEN } from "./fake-worker.ts";
import { nodeFirst } from "../../tiers.ts";

const RUN: SeededInput = { seed: 1, sequences: [{ new: 8, cached: 0 }], heads: 2, kvHeads: 1, headDim: 16, ranks: 2 };
const SPAN: Span = { rank: 0, lane: "device", kind: "attend", hop: 0, start: 0, duration: 1, bytes: 0, flops: 5 };
const ROWS = { ...RUN, rows: [[0, 0], [7, 1]] as const };
/** O of ROWS as a worker might send it. */
const OUT = seededRows(9, "q", 0, 2, 16);
const LSE = Float32Array.of(1, -Infinity);
const refs = (out = 1, lse = 2) => ({
  out: { stream: out, dtype: "f32", shape: [2, 16], bytes: 128 },
  lse: { stream: lse, dtype: "f32", shape: [2], bytes: 8 },
});
const bytes = (x: Float32Array) => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

/**
 * Runs `use` on a remote whose worker is `serve`. Then checks that every message of the client fits the schema.
 */
async function withWorker(
  serve: (peer: Peer, n: number) => Promise<void>,
  use: (remote: Connected, peers: Peer[]) => Promise<void>,
  options: Partial<RemoteOptions> = {},
): Promise<void> {
  const worker = await fakeWorker(serve);
  try {
    const remote = await Remote.connect(worker.url, {
      token: TOKEN,
      idleSeconds: 1,
      connectSeconds: 5,
      ...options,
    });
    try {
      await use(remote, worker.peers);
    } catch (error) {
      console.error(worker.peers.flatMap((p) => p.complaints));
      throw error;
    } finally {
      await remote.dispose();
    }
    assert.deepEqual(worker.peers.flatMap((p) => p.complaints), []);
  } finally {
    await worker.close();
  }
}

/** Expects a RemoteError of this code that names the address, says what to do, and keeps the token. */
async function fails(promise: Promise<unknown>, code: string, message = /./): Promise<void> {
  await assert.rejects(promise, (error: Error) => {
    assert.ok(error instanceof RemoteError, `${error.name}: ${error.message}`);
    assert.equal(error.code, code, error.message);
    assert.match(error.message, /^ws:\/\/127\.0\.0\.1:\d+: .*; .+/);
    assert.match(error.message, message);
    assert.ok(!`${error.message} ${error.stack}`.includes(TOKEN), "the token is in the error");
    return true;
  });
}

test("a seeded call: its place, progress and spans as they come, and rows in frames of any size", () =>
  withWorker(async (peer) => {
    await peer.greet();
    const { id, method, params } = await peer.call();
    assert.deepEqual([method, params.rows, params.output, params.seed], ["attend", [[0, 0], [7, 1]], "rows", 1]);
    peer.say({ type: "queued", id, place: 2 });
    peer.say({ type: "queued", id, place: 0 });
    peer.say({ type: "progress", id, done: 1, total: 4, note: "hop 0" });
    peer.say({ type: "spans", id, spans: [SPAN] });
    peer.say({ type: "spans", id, spans: [{ ...SPAN, hop: 1 }] });
    peer.say({ type: "result", id, value: runValue(), tensors: refs() });
    peer.socket.send(writeFrame(2, 0, bytes(LSE)));
    for (const [from, to] of [[0, 1], [1, 64], [64, 128]]) {
      peer.socket.send(writeFrame(1, from, bytes(OUT).subarray(from, to)));
    }
    const last = await peer.hears((m) => m.type === "ack" && m.stream === 1 && m.received === 128);
    assert.ok(last);
  }, async (remote) => {
    assert.equal(remote.state, "open");
    assert.equal(remote.facts.devices[0].name, "a fake");
    const told: unknown[] = [];
    const { out, lse, report } = await remote.attendSeeded({
      ...ROWS,
      onQueued: (place) => told.push(place),
      onProgress: (...p) => told.push(p),
      onSpans: (s) => told.push(s.length),
    });
    assert.deepEqual(told, [2, 0, [1, 4, "hop 0"], 1, 1]);
    assert.deepEqual([out, lse], [OUT, LSE]);
    assert.deepEqual(report.spans.map((s) => s.hop), [0, 1]);
    assert.deepEqual([
      report.backend,
      report.adapter.name,
      report.kernel,
      report.remote.simulated,
      report.remote.address,
    ], ["remote", "a fake", "flash-cpu", true, remote.address]);
  }));

const MASKS = { capabilities: ["attend", "masks"] };
const WINDOW = { kind: "window", size: 4, sinkTokens: 2 } as const;

test("a mask, sinks, a dealing and values in keys go up, and the report repeats what the worker says", () =>
  withWorker(async (peer) => {
    await peer.greet(MASKS);
    for (const n of [0, 1]) {
      const { id, params } = await peer.call(n);
      const { mask, sinks, dealing, valueDim, valuesInKeys, causal } = params;
      const plain = n === 1;
      assert.deepEqual(
        [mask, sinks, dealing, valueDim, valuesInKeys, causal],
        plain
          ? [undefined, undefined, undefined, undefined, undefined, false]
          : [WINDOW, [0.5, -50], "contiguous", 16, true, true],
      );
      const shape = { ...(runValue().shape as object), valueDim: 16, valuesInKeys: !plain };
      const skipped = { messages: plain ? 0 : 1, bytes: plain ? 0 : 64 };
      peer.say({
        type: "result",
        id,
        value: runValue({
          mask: plain ? { kind: "full" } : { sinkTokens: 2, size: 4, kind: "window" },
          causal: !plain,
          sinks: !plain,
          dealing: plain ? "head-tail" : "contiguous",
          shape,
          perRank: [{ rank: 0, skipped }],
          skipped: { hops: plain ? 0 : 1, ...skipped },
        }),
        tensors: {},
      });
    }
  }, async (remote) => {
    const special = { sinks: Float32Array.of(0.5, -50), dealing: "contiguous", v: { prefixOfK: 16 } } as const;
    const { report } = await remote.attendSeeded({ ...RUN, mask: WINDOW, ...special });
    assert.deepEqual(
      [report.mask, report.causal, report.sinks, report.dealing, report.shape.valueDim, report.shape.valuesInKeys],
      [WINDOW, true, true, "contiguous", 16, true],
    );
    assert.deepEqual([report.skipped, report.perRank[0].skipped], [
      { hops: 1, messages: 1, bytes: 64 },
      { messages: 1, bytes: 64 },
    ]);
    const full = await remote.attendSeeded({ ...RUN, mask: { kind: "full" } });
    assert.deepEqual([full.report.mask, full.report.causal], [{ kind: "full" }, false]);
  }));

test("a mask with no sink tokens is the mask without the field, which a worker leaves out", () =>
  withWorker(async (peer) => {
    await peer.greet(MASKS);
    const { id } = await peer.call(0);
    peer.say({ type: "result", id, value: runValue({ mask: { kind: "window", size: 4 } }), tensors: {} });
  }, async (remote) => {
    const mask = { kind: "window", size: 4, sinkTokens: 0 } as const;
    const { report } = await remote.attendSeeded({ ...RUN, mask });
    assert.deepEqual(report.mask, mask);
  }));

test("a worker that knows no masks gets none: the error names what it takes; plain runs go on", () =>
  withWorker(async (peer) => {
    await peer.greet();
    const { id, params } = await peer.call();
    assert.deepEqual(Object.keys(params).filter((name) => name === "mask" || name === "dealing"), []);
    peer.say({ type: "result", id, value: runValue(), tensors: {} });
  }, async (remote) => {
    for (
      const [special, message] of [
        [
          { mask: WINDOW },
          /^mask: found window:4\+2, expected causal or full: the worker at ws:.* is too old for it; install/,
        ],
        [{ sinks: new Float32Array(2) }, /^sinks: found some, expected none: /],
        [{ dealing: "contiguous" }, /^dealing: found contiguous, expected head-tail: /],
        [{ valueDim: 32 }, /^valueDim: found 32, expected D: /],
        [{ v: { prefixOfK: 16 } }, /^v: found \{ prefixOfK: 16 \}, expected a tensor: /],
        [{ headDim: 320 }, /^head dimension: found D = 320, expected at most 256: /],
      ] as const
    ) {
      await assert.rejects(
        remote.attendSeeded({ ...RUN, ...special }),
        (e: Error) => e instanceof InputError && message.test(e.message),
      );
      await assert.rejects(
        remote.session({ heads: 2, kvHeads: 1, headDim: 16, ...special }),
        (e: Error) => e instanceof InputError && message.test(e.message),
      );
    }
    const { report } = await remote.attendSeeded({ ...RUN, mask: { kind: "causal" } });
    assert.deepEqual([report.mask, report.dealing, report.skipped.bytes], [{ kind: "causal" }, "head-tail", 0]);
  }));

test("a report of another attention than the one asked for is no result", () =>
  withWorker(async (peer) => {
    await peer.greet(MASKS);
    const values = [
      { mask: { kind: "causal" } },
      { mask: { kind: "window", size: 5 } },
      { mask: { kind: "window", size: 4 }, sinks: true },
      { causal: false },
    ];
    for (const [n, more] of values.entries()) {
      const { id } = await peer.call(n);
      peer.say({ type: "result", id, value: runValue(more), tensors: {} });
    }
  }, async (remote) => {
    for (const message of [/mask: found .*causal/, /mask: found .*5/, /sinks: found true/, /causal: found false/]) {
      await fails(remote.attendSeeded({ ...RUN, mask: { kind: "window", size: 4 } }), "bad-reply", message);
    }
  }));

test("own tensors go up whole, within the window, and only as fast as the worker acknowledges them", () => {
  const heads = 4, T = 40;
  const [q, k] = [seededRows(1, "q", 0, T, heads * 16), seededRows(1, "k", 0, T, 16)];
  return withWorker(async (peer) => {
    await peer.greet();
    const { id, params } = await peer.call();
    const got = new Map<number, Uint8Array[]>();
    let seen = 0;
    for (const [name, x] of [["q", q], ["k", k], ["v", k]] as const) {
      const { stream, bytes: size } = params.tensors[name];
      assert.equal(size, x.byteLength);
      let received = 0;
      while (received < size) {
        await new Promise((resolve) => setTimeout(resolve, 20)); // a slow reader
        const underWay = peer.frames.slice(seen).filter((f) => f[4] === stream).reduce(
          (sum, f) => sum + f.length - 16,
          0,
        );
        assert.ok(underWay <= LIMITS.window, `${underWay} bytes unacknowledged`);
        for (; seen < peer.frames.length; seen++) {
          const frame = peer.frames[seen];
          assert.ok(frame.length <= LIMITS.frameBytes);
          const head = new DataView(frame.buffer, frame.byteOffset);
          if (head.getUint32(4, true) !== stream) break;
          assert.equal(Number(head.getBigUint64(8, true)), received);
          got.set(stream, [...(got.get(stream) ?? []), frame.subarray(16)]);
          received += frame.length - 16;
        }
        peer.say({ type: "ack", stream, received });
      }
      assert.deepEqual(Buffer.concat(got.get(stream)!), Buffer.from(x.buffer));
    }
    peer.say({ type: "queued", id, place: 0 });
    peer.say({
      type: "result",
      id,
      value: runValue(),
      tensors: {
        out: { stream: 1, dtype: "f32", shape: [T, heads, 16], bytes: T * heads * 64 },
        lse: { stream: 2, dtype: "f32", shape: [T, heads], bytes: T * heads * 4 },
      },
    });
    // The client acknowledges a result's bytes at every quarter of the window.
    for (let at = 0; at < T * heads * 64; at += 512) peer.socket.send(writeFrame(1, at, new Uint8Array(512)));
    await peer.hears((m) => m.type === "ack" && m.stream === 1 && m.received === 1024);
    peer.socket.send(writeFrame(2, 0, new Uint8Array(T * heads * 4)));
  }, async (remote) => {
    const result = await remote.attend({
      q,
      k,
      v: k,
      sequences: [{ new: T, cached: 0 }],
      heads,
      kvHeads: 1,
      headDim: 16,
      ranks: 2,
    });
    assert.equal(result.out.length, T * heads * 16);
  }, { idleSeconds: 10 });
});

test("errors of the protocol become the engine's", async () => {
  const said: [Record<string, unknown>, (error: Error) => boolean][] = [
    [{ code: "bad-input", message: "heads: found 3" }, (e) => e instanceof InputError && !(e instanceof LimitError)],
    [
      { code: "does-not-fit", message: "too much", details: { need: 10, have: 5, fits: "4 tokens" } },
      (e) =>
        e instanceof LimitError && e.need === 10 && e.have === 5 &&
        /too much; what would fit: 4 tokens/.test(e.message),
    ],
    [{ code: "rank-died", message: "gone", details: { rank: 3 } }, (e) => e instanceof RankError && e.rank === 3],
    [{ code: "rank-died", message: "gone" }, (e) => e instanceof RemoteError && e.code === "worker-failed"],
    [{ code: "queue-full", message: "4 wait" }, (e) => e instanceof RemoteError && e.code === "queue-full"],
    [
      { code: "worker-failed", message: `it said ${TOKEN}` },
      (e) => e instanceof RemoteError && !e.message.includes(TOKEN),
    ],
    [{ code: "time-limit", message: "60 s" }, (e) => e instanceof RemoteError && e.code === "time-limit"],
  ];
  await withWorker(async (peer) => {
    await peer.greet();
    for (const [n, [error]] of said.entries()) peer.say({ type: "error", id: (await peer.call(n)).id, ...error });
  }, async (remote) => {
    for (const [error, right] of said) {
      await assert.rejects(
        remote.attendSeeded(RUN),
        (e: Error) => right(e) && e.message.startsWith(remote.address) || e instanceof RankError,
        JSON.stringify(error),
      );
    }
    assert.equal(remote.state, "open");
  });
});

test("a signal cancels on the worker, before, during and after; the client doesn't wait for a worker that never confirms", () =>
  withWorker(async (peer) => {
    await peer.greet();
    const first = await peer.call();
    await peer.hears((m) => m.type === "cancel" && m.id === first.id);
    peer.say({ type: "error", id: first.id, code: "cancelled", message: "as you wish" });
    // The worker never confirms the second in time, and its result comes too late.
    const second = await peer.call(1);
    await peer.hears((m) => m.type === "cancel" && m.id === second.id);
    const third = await peer.call(2);
    peer.say({ type: "result", id: second.id, value: runValue(), tensors: refs(1, 2) });
    peer.socket.send(writeFrame(1, 0, bytes(OUT)));
    peer.socket.send(writeFrame(2, 0, bytes(LSE)));
    peer.say({ type: "result", id: third.id, value: runValue(), tensors: {} });
  }, async (remote) => {
    const reason = new DOMException("enough", "AbortError");
    await assert.rejects(remote.attendSeeded({ ...ROWS, signal: AbortSignal.abort(reason) }), reason);
    for (const least of [0, 1.5]) {
      const controller = new AbortController();
      const start = performance.now();
      setTimeout(() => controller.abort(reason), 50);
      await assert.rejects(remote.attendSeeded({ ...ROWS, signal: controller.signal }), reason);
      const took = (performance.now() - start) / 1000;
      assert.ok(took >= least && took < least + 4, `${took} s`);
    }
    await remote.attendSeeded(RUN);
    assert.equal(remote.state, "open");
  }, { idleSeconds: 20 }));

test("a call is cancelled while its result's tensors come: on the worker too, and the client ignores the rest", () => {
  const controller = new AbortController();
  return withWorker(async (peer) => {
    await peer.greet();
    const { id } = await peer.call();
    peer.say({ type: "result", id, value: runValue(), tensors: refs() });
    peer.socket.send(writeFrame(1, 0, bytes(OUT).subarray(0, 64)));
    setTimeout(() => controller.abort(), 100);
    await peer.hears((m) => m.type === "cancel" && m.id === id);
    peer.socket.send(writeFrame(1, 64, bytes(OUT).subarray(64)));
    peer.say({ type: "result", id: (await peer.call(1)).id, value: runValue(), tensors: {} });
  }, async (remote) => {
    await assert.rejects(remote.attendSeeded({ ...ROWS, signal: controller.signal }), { name: "AbortError" });
    await remote.attendSeeded(RUN);
  });
});

test("silence: a worker that never answers, one that forgets a call, one whose bytes stop", async () => {
  const stops = async (peer: Peer) => {
    await peer.greet();
    const { id } = await peer.call();
    peer.say({ type: "result", id, value: runValue(), tensors: refs() });
    peer.socket.send(writeFrame(1, 0, bytes(OUT).subarray(0, 64)));
    for (let n = 1;; n++) peer.say({ type: "result", id: (await peer.call(n)).id, value: {}, tensors: {} });
  };
  const forgets = async (peer: Peer) => {
    await peer.greet();
    for (let n = 1;; n++) peer.say({ type: "result", id: (await peer.call(n)).id, value: {}, tensors: {} });
  };
  const start = performance.now();
  await withWorker(
    (peer) => peer.greet(),
    (remote) => fails(remote.attendSeeded(RUN), "silent", /no sign of life for 1\.\d s, while attend was under way/),
  );
  await withWorker(
    forgets,
    (remote) => fails(remote.attendSeeded(RUN), "silent", /said nothing about it for 1 s/),
  );
  await withWorker(
    stops,
    (remote) => fails(remote.attendSeeded(ROWS), "silent", /the bytes of its result stopped coming for 1 s/),
  );
  assert.ok(performance.now() - start < 15_000);
});

test(
  "a long run of a live worker outlasts the idle limit: the client asks for its health",
  nodeFirst,
  () =>
    withWorker(async (peer, n) => {
      await peer.greet();
      assert.equal(n, 0);
      const { id } = await peer.call();
      peer.say({ type: "queued", id, place: 0 });
      setTimeout(() => peer.say({ type: "result", id, value: runValue(), tensors: {} }), 4000);
      for (let i = 1;; i++) {
        const probe = await peer.call(i);
        assert.equal(probe.method, "health");
        peer.say({ type: "result", id: probe.id, value: {}, tensors: {} });
      }
    }, async (remote, peers) => {
      await remote.attendSeeded(RUN);
      assert.ok(peers[0].heard.filter((m) => m.method === "health").length >= 3);
    }),
);

test("a run beyond the worker's own limit ends here too", () =>
  withWorker(async (peer) => {
    await peer.greet({ limits: { ...LIMITS, runSeconds: 0.5 } });
    const { id } = await peer.call();
    peer.say({ type: "queued", id, place: 0 });
    for (let n = 1;; n++) peer.say({ type: "result", id: (await peer.call(n)).id, value: {}, tensors: {} });
  }, (remote) => fails(remote.attendSeeded(RUN), "time-limit")));

test("nonsense ends the connection with what was found, and every call on it", async () => {
  const result = (peer: Peer, id: number, tensors: unknown) =>
    peer.say({ type: "result", id, value: runValue(), tensors });
  const cases: [RegExp, (peer: Peer, id: number) => void][] = [
    [/found no JSON: "\{nonsense"/, (peer) => peer.socket.send("{nonsense")],
    [/type: found "dance", expected welcome, queued/, (peer) => peer.say({ type: "dance" })],
    [/type: found nothing/, (peer) => peer.say(null)],
    [/progress\/done/, (peer, id) => peer.say({ type: "progress", id, done: -1, total: 1 })],
    [/spans\/spans/, (peer, id) => peer.say({ type: "spans", id, spans: [{ ...SPAN, lane: "moon" }] })],
    [/queued of call 77, which was never made/, (peer) => peer.say({ type: "queued", id: 77, place: 0 })],
    [/second welcome/, (peer) => void peer.greet()],
    [/ack of 5 bytes of stream 1, which were not sent/, (peer) => peer.say({ type: "ack", stream: 1, received: 5 })],
    [/found no tensor as lse of attend, expected f32 \[2\]/, (peer, id) => result(peer, id, { out: refs().out })],
    [
      /found f32 \[3, 16\] of 192 bytes as out/,
      (peer, id) => result(peer, id, { ...refs(), out: { ...refs().out, shape: [3, 16], bytes: 192 } }),
    ],
    [/of 129 bytes as out/, (peer, id) => result(peer, id, { ...refs(), out: { ...refs().out, bytes: 129 } })],
    [/found stream 1, expected a number greater than all before/, (peer, id) => result(peer, id, refs(1, 1))],
    [/frame of stream 9, which no result has named/, (peer) => peer.socket.send(writeFrame(9, 0, Uint8Array.of(1)))],
    [/frame of 3 bytes/, (peer) => peer.socket.send(Uint8Array.of(1, 2, 3))],
    [/begins with 0x/, (peer) => peer.socket.send(new Uint8Array(64))],
    [/frame of 2000 bytes, expected at most 1040/, (peer) => peer.socket.send(new Uint8Array(2000))],
    [
      /frame of stream 2, which is complete/,
      (
        peer,
        id,
      ) => (result(peer, id, refs()),
        peer.socket.send(writeFrame(2, 0, bytes(LSE))),
        peer.socket.send(writeFrame(2, 8, Uint8Array.of(1)))),
    ],
    [
      /found a frame at byte 64, expected byte 0/,
      (peer, id) => (result(peer, id, refs()), peer.socket.send(writeFrame(1, 64, Uint8Array.of(1)))),
    ],
    [
      /beyond the tensor's 8/,
      (peer, id) => (result(peer, id, refs()), peer.socket.send(writeFrame(2, 0, new Uint8Array(9)))),
    ],
    [/second result of call 1/, (peer, id) => (result(peer, id, refs()), result(peer, id, refs(3, 4)))],
    [/the report's kernel: found nothing/, (peer, id) => {
      peer.say({ type: "result", id, value: runValue({ kernel: undefined }), tensors: refs() });
      peer.socket.send(writeFrame(1, 0, bytes(OUT)));
      peer.socket.send(writeFrame(2, 0, bytes(LSE)));
    }],
  ];
  for (const [message, talk] of cases) {
    await withWorker(
      async (peer) => {
        await peer.greet();
        talk(peer, (await peer.call()).id);
      },
      (remote) => fails(remote.attendSeeded(ROWS), "bad-reply", message),
      { idleSeconds: 10 },
    );
  }
});

test("text of the worker is printed without characters that a terminal obeys", () => {
  const evil = "\u001b]0;owned\u0007\u001b[2J\u009b31m\u202etxt\r\nnext";
  const harmless = (text: string) =>
    // deno-lint-ignore no-control-regex -- what must not be there
    assert.ok(!/[\u0000-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/.test(text), JSON.stringify(text));
  return withWorker(async (peer) => {
    await peer.greet({ facts: { ...FACTS, devices: [{ ...FACTS.devices[0], name: evil }], notes: [evil] } });
    const first = await peer.call();
    peer.say({ type: "progress", id: first.id, done: 1, total: 2, note: evil });
    peer.say({
      type: "result",
      id: first.id,
      value: runValue({ kernel: evil, notes: [evil], [evil]: { deep: [evil] } }),
      tensors: {},
    });
    for (const [n, code] of ["worker-failed", "bad-input", "does-not-fit", "rank-died"].entries()) {
      const details = { need: 2, have: 1, fits: evil, rank: 1, awaited: evil };
      peer.say({ type: "error", id: (await peer.call(n + 1)).id, code, message: evil, details });
    }
    await peer.call(5);
    peer.socket.close(4400, "\u009b31m\u202e");
  }, async (remote) => {
    const told: string[] = [];
    const { report } = await remote.attendSeeded({ ...RUN, onProgress: (_done, _total, note) => told.push(note!) });
    const { value } = report.remote;
    for (
      const text of [told[0], report.kernel, report.adapter.name, ...Object.keys(value), ...value.notes as string[]]
    ) harmless(text);
    for (const text of remote.facts.notes!) harmless(text);
    assert.ok(told[0].endsWith("txt  next") && told[0].includes("\ufffd[2J"), JSON.stringify(told));
    for (let n = 0; n < 5; n++) {
      await assert.rejects(remote.attendSeeded(RUN), (error: Error) => (harmless(error.message), true));
    }
  });
});

test(
  "a flood of spans ends the connection; those of a run of many ranks are no flood",
  nodeFirst,
  () =>
    withWorker(async (peer) => {
      await peer.greet();
      for (let n = 0;; n++) {
        const { id, params } = await peer.call(n);
        const many = Array.from({ length: 1000 }, () => SPAN);
        for (let sent = 0; sent < 300_000; sent += 1000) peer.say({ type: "spans", id, spans: many });
        peer.say({ type: "result", id, value: runValue({ ranks: params.ranks }), tensors: {} });
      }
    }, async (remote) => {
      assert.equal((await remote.attendSeeded({ ...RUN, ranks: 64 })).report.spans.length, 300_000);
      await fails(remote.attendSeeded(RUN), "bad-reply", /found more than 208224 spans of a run of 2 ranks/);
    }, { idleSeconds: 60 }),
);

test("infinite numbers in a result's value are rejected", () =>
  withWorker(async (peer) => {
    await peer.greet();
    const { id } = await peer.call();
    const result = JSON.stringify({ type: "result", id, value: runValue({ flops: 7 }), tensors: {} });
    peer.socket.send(result.replace('"flops":7', '"flops":1e999'));
  }, (remote) => fails(remote.attendSeeded(RUN), "bad-reply", /the message\/value\/flops: found an infinite number/)));

test("ws:// to a port with TLS says so; a server of another kind too", async () => {
  // OpenSSL's answer to a connection without TLS: an alert, or just the end.
  for (const answer of [[0x15, 3, 1, 0, 2, 2, 70], []]) {
    const server = createServer((socket) => {
      socket.on("error", () => {});
      socket.once("data", () => socket.end(Uint8Array.from(answer)));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    try {
      const connecting = Remote.connect(`ws://127.0.0.1:${port}`, { token: TOKEN, connectSeconds: 10 });
      await fails(connecting, "unreachable", new RegExp(`hung up.*--cert.*wss://127\\.0\\.0\\.1:${port}`));
    } finally {
      server.close();
    }
  }
});

test("a second result of a call that has ended", () =>
  withWorker(async (peer) => {
    await peer.greet();
    const { id } = await peer.call();
    peer.say({ type: "result", id, value: runValue(), tensors: {} });
    const second = await peer.call(1);
    assert.equal(second.id, id + 1);
    peer.say({ type: "result", id, value: runValue(), tensors: {} });
  }, async (remote) => {
    await remote.attendSeeded(RUN);
    await fails(remote.attendSeeded(RUN), "bad-reply", /result of call 1, which has ended.*while attend was under way/);
  }));

test("a connection lost within a frame: the call ends and isn't run again; the next call connects again", () => {
  const states: string[] = [];
  return withWorker(async (peer, n) => {
    await peer.greet();
    const { id } = await peer.call();
    if (n === 0) {
      peer.say({ type: "result", id, value: runValue(), tensors: refs() });
      peer.socket.send(writeFrame(1, 0, bytes(OUT).subarray(0, 64)), () => peer.socket.terminate());
    } else peer.say({ type: "result", id, value: runValue({ kernel: "another" }), tensors: {} });
  }, async (remote, peers) => {
    await fails(
      remote.attendSeeded(ROWS),
      "lost",
      /while attend was under way: its result is unknown; nothing was run again/,
    );
    assert.equal(remote.state, "lost");
    assert.equal(peers.length, 1);
    assert.equal((await remote.attendSeeded(RUN)).report.kernel, "another");
    assert.equal(peers.length, 2);
    await remote.dispose();
    assert.equal(remote.state, "closed");
    await fails(remote.attendSeeded(RUN), "closed");
    assert.deepEqual(states.map((s) => s.split(" ")[0]), ["lost", "open", "closed"]);
  }, { onState: (state, why = "") => states.push(`${state} ${why}`), idleSeconds: 10 });
});

test(
  "the client reaches a worker that comes back late, gives up one that doesn't, and stops at a signal",
  nodeFirst,
  async () => {
    const serve = async (peer: Peer, n: number) => {
      await peer.greet();
      for (let i = 0;; i++) {
        peer.say({
          type: "result",
          id: (await peer.call(i)).id,
          value: runValue({ kernel: `connection ${n}` }),
          tensors: {},
        });
      }
    };
    const worker = await fakeWorker(serve);
    const remote = await Remote.connect(worker.url, { token: TOKEN, retrySeconds: 1.5 });
    try {
      await worker.close();
      while (remote.state === "open") await new Promise((resolve) => setTimeout(resolve, 10));
      const start = performance.now();
      await fails(remote.attendSeeded(RUN), "unreachable");
      assert.ok(performance.now() - start > 500 && performance.now() - start < 8000);
      const reason = new DOMException("enough", "AbortError");
      await assert.rejects(remote.attendSeeded({ ...RUN, signal: AbortSignal.timeout(100) }), { name: "TimeoutError" });
      await assert.rejects(remote.attendSeeded({ ...RUN, signal: AbortSignal.abort(reason) }), reason);
      let back: Awaited<ReturnType<typeof fakeWorker>> | undefined;
      setTimeout(async () => (back = await fakeWorker(serve, { port: worker.port })), 300);
      const results = await Promise.all([remote.attendSeeded(RUN), remote.health()]);
      assert.equal(results[0].report.kernel, "connection 0");
      await remote.dispose();
      await back!.close();
    } finally {
      await remote.dispose();
      await worker.close();
    }
  },
);

test("a session is gone with its connection, and says so", () =>
  withWorker(async (peer, n) => {
    await peer.greet();
    if (n > 0) return;
    const open = await peer.call();
    assert.deepEqual([open.method, open.params.dtype, open.params.capacity], ["session.open", "bf16", 64]);
    peer.say({ type: "result", id: open.id, value: { session: 7, capacity: 64 }, tensors: {} });
    const { id, params } = await peer.call(1);
    assert.deepEqual([params.session, params.batch, params.tensors.q.bytes], [
      7,
      [{ sequence: 3, new: 2 }],
      2 * 2 * 16 * 2,
    ]);
    const report = {
      step: 0,
      mode: "prefill",
      batch: [{ sequence: 3, new: 2, cached: 0 }],
      missRate: 1,
      paddingBytes: 0,
      tokens: [{ sequence: 3, perRank: [1, 1] }],
    };
    peer.say({
      type: "result",
      id,
      value: { ...runValue({ dtype: "bf16" }), ...report },
      tensors: {
        out: { stream: 1, dtype: "f32", shape: [2, 2, 16], bytes: 256 },
        lse: { stream: 2, dtype: "f32", shape: [2, 2], bytes: 16 },
      },
    });
    peer.socket.send(writeFrame(2, 0, new Uint8Array(16)));
    peer.socket.send(writeFrame(1, 0, new Uint8Array(256)));
    const evict = await peer.call(2);
    assert.equal(evict.method, "session.evict");
    peer.socket.terminate();
  }, async (remote) => {
    const session = await remote.session({
      ranks: 2,
      heads: 2,
      kvHeads: 1,
      headDim: 16,
      wireDtype: "bf16",
      capacity: 64,
    });
    const batch = [{ sequence: 3, q: new Float32Array(64), k: new Float32Array(32), v: new Float32Array(32) }];
    const { outputs, report } = await session.prefill(batch);
    assert.deepEqual([outputs[0].out.length, outputs[0].lse.length, report.mode, session.tokens, session.steps], [
      64,
      4,
      "prefill",
      [{ sequence: 3, perRank: [1, 1] }],
      1,
    ]);
    assert.deepEqual(session.capacity, { tokensPerRank: 64, pageTokens: 1, pages: 64, pagesUsed: [1, 1] });
    await assert.rejects(session.prefill(batch, { variant: "pass-q" }), InputError);
    await assert.rejects(session.prefill(batch, { varient: "pass-q" } as object), /step: .*did you mean "variant"/);
    await assert.rejects(remote.session({ heads: 2, kvHeads: 1, headDim: 16, capcity: 1 } as never), /"capacity"/);
    await assert.rejects(session.snapshot(), InputError);
    await fails(session.drop(3), "lost");
    await fails(session.prefill(batch), "session-gone", /session 7 is gone with its connection.*open a new session/);
    await session.dispose();
    await assert.rejects(session.decode(batch), /it was disposed/);
  }, { idleSeconds: 10 }));

test("ranks and link are the connection's unless a call has its own; the worker's processes by default", async () => {
  const link = { bandwidth: 1e9, latency: 0 };
  const serve = async (peer: Peer) => {
    await peer.greet({ facts: { ...FACTS, processes: 3 } });
    for (let i = 0;; i++) peer.say({ type: "result", id: (await peer.call(i)).id, value: runValue(), tensors: {} });
  };
  const { ranks: _, ...run } = RUN;
  const sent = ({ heard }: Peer) => heard.slice(1).map(({ params }) => [params.ranks, params.link]);
  await withWorker(serve, async (remote, [peer]) => {
    assert.equal(remote.size, 3);
    await remote.attendSeeded(run);
    assert.deepEqual(sent(peer), [[3, undefined]]);
  });
  await withWorker(serve, async (remote, [peer]) => {
    assert.equal(remote.size, 2);
    for (const own of [{}, { ranks: 4 }, { link: { ...link, latency: 1 } }]) {
      await remote.attendSeeded({ ...run, ...own });
    }
    assert.deepEqual(sent(peer), [[2, link], [4, link], [2, { ...link, latency: 1 }]]);
  }, { ranks: 2, link });
});

test(
  "connecting: refused, unanswered, wrong token, wrong version, another server, and a cancelled one",
  nodeFirst,
  async () => {
    const attempt = (url: string, more: Partial<RemoteOptions> = {}) =>
      Remote.connect(url, { token: TOKEN, connectSeconds: 1, ...more });
    const gone = await fakeWorker(() => Promise.resolve());
    await gone.close();
    await fails(attempt(gone.url), "unreachable", /check that the worker runs/);
    const cases: [string, RegExp, (peer: Peer) => Promise<void>, { protocol?: string | false }?][] = [
      ["connect-timeout", /did not say welcome within 1 s/, () => Promise.resolve()],
      ["bad-token", /wrong token.*use the token that the worker printed/, async (peer) => {
        await peer.hears((m) => m.type === "hello");
        peer.say({ type: "error", code: "bad-token", message: `wrong token: found ${TOKEN}` });
        peer.socket.close(4401);
      }],
      ["bad-token", /close code 4401/, async (peer) => {
        await peer.hears((m) => m.type === "hello");
        peer.socket.close(4401);
      }],
      ["bad-version", /speaks protocol 2, this client 1/, (peer) => peer.greet({ protocol: 2 })],
      ["too-many-connections", /4429/, (peer) => Promise.resolve(peer.socket.close(4429))],
      [
        "bad-reply",
        /found queued before welcome/,
        (peer) => Promise.resolve(peer.say({ type: "queued", id: 1, place: 0 })),
      ],
      ["bad-reply", /welcome\/facts/, (peer) => peer.greet({ facts: {} })],
    ];
    for (const [code, message, serve, options] of cases) {
      const worker = await fakeWorker(serve, options);
      try {
        await fails(attempt(worker.url), code, message);
      } finally {
        await worker.close();
      }
    }
    const slow = await fakeWorker(() => Promise.resolve());
    try {
      const reason = new DOMException("enough", "AbortError");
      const controller = new AbortController();
      setTimeout(() => controller.abort(reason), 100);
      await assert.rejects(attempt(slow.url, { signal: controller.signal, connectSeconds: 20 }), reason);
      await assert.rejects(attempt(slow.url, { signal: AbortSignal.abort(reason) }), reason);
    } finally {
      await slow.close();
    }
  },
);

test("bad options are rejected before anything is sent, without the secret", async () => {
  const attempt = ({ url = "ws://127.0.0.1:1", ...options }: { readonly url?: string } & Partial<RemoteOptions>) =>
    Remote.connect(url, { token: TOKEN, ...options });
  for (
    const [options, message] of [
      [{ url: "nonsense" }, /remote address: found "nonsense", expected one such as ws:/],
      [{ url: "http://127.0.0.1:8787" }, /found "http:", expected ws:/],
      [{ url: `ws://127.0.0.1:1/?token=${TOKEN}` }, /a token does not belong in an address/],
      [{ url: `ws://me:${TOKEN}@127.0.0.1:1` }, /found a user/],
      [{ url: `ws://127.0.0.1:1/#${TOKEN}` }, /fragment/],
      [{ token: "" }, /token: found none/],
      [{ token: `${TOKEN}\n` }, /token: found a blank/],
      [{ token: "x".repeat(257) }, /more than 256/],
      [{ idleSeconds: 0 }, /idleSeconds: found 0/],
      [{ connectSeconds: NaN }, /connectSeconds: found NaN/],
      [{ ranks: 0.5 }, /ranks: found 0.5/],
      [{ link: { bandwidth: 0, latency: 0 } }, /link: found 0 bytes\/s/],
      [{ idleSecond: 3 }, /remote: found the option "idleSecond".*did you mean "idleSeconds"/],
      [{ backend: "cpu" }, /remote: found the option "backend"/],
    ] as const
  ) {
    await assert.rejects(attempt(options as Partial<RemoteOptions>), (error: Error) => {
      assert.ok(error instanceof InputError && message.test(error.message), `${error.name}: ${error.message}`);
      assert.ok(!error.message.includes(TOKEN));
      return true;
    });
  }
});

test("bad calls are rejected before they are sent", () =>
  withWorker((peer) => peer.greet(), async (remote, peers) => {
    for (
      const [input, message] of [
        [{ ...RUN, output: "rows" }, /expected rows if output is "rows"/],
        [{ ...RUN, rows: [[0, 0]], output: "none" }, /expected rows if output is "rows"/],
        [{ ...RUN, heads: 3, kvHeads: 2 }, /H a multiple of Hkv/],
        [{ ...RUN, seed: -1 }, /attend: call\/params\/seed/],
        [{ ...RUN, ranks: 0 }, /ranks/],
        [{ ...RUN, scale: Infinity }, /scale: found Infinity/],
        [{ ...RUN, variant: "auto", rates: { flops: 1e308, bandwidth: 1e-300 } }, /params\/rates/],
        [{ ...RUN, link: { bandwidth: 1e9, latency: Infinity } }, /params\/link\/latency/],
      ] as const
    ) {
      await assert.rejects(
        remote.attendSeeded(input as SeededInput),
        (e: Error) => e instanceof InputError && message.test(e.message),
      );
    }
    await assert.rejects(remote.layer({ tokens: 0, ranks: 1 }), InputError);
    assert.deepEqual(peers[0].heard.map((m) => m.type), ["hello"]);
  }));
