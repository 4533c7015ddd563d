/**
 * Every path validates a cluster's input alike: options, shapes, types, and the ranges that f32 and a wire type can hold.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import type { AttendInput, ClusterOptions, SessionOptions, SessionRows } from "../../../engine/cluster/types.ts";
import {
  type Elsewhere,
  validateAttend,
  validateRows,
  validateSeeded,
  validateSession,
  validateStep,
} from "../../../engine/cluster/validate.ts";
import { validateLink, validateRun } from "../../../engine/cluster/link.ts";
import type { Cached } from "../../../engine/cluster/ranges.ts";
import { InputError } from "../../../engine/errors.ts";
import { validateHeads } from "../../../engine/tensor/heads.ts";
import { check, type CheckInput } from "../../../engine/reference/check.ts";
import { experiment } from "../../experiment.ts";
import { testPlatform } from "../../platform.ts";

const platform = await testPlatform();

const D = 16;
const ELSEWHERE: Elsewhere = { attend: ["ranks", "link"], session: [], step: ["onQueued"] };
const rows = (n: number, value: number) => new Float32Array(n * D).fill(value);
const attend = (more: Record<string, unknown>, where?: Elsewhere) =>
  validateAttend(
    {
      q: rows(2, 1),
      k: rows(3, 1),
      v: rows(3, 1),
      sequences: [{ new: 2, cached: 1 }],
      heads: 1,
      kvHeads: 1,
      headDim: D,
      ...more,
    } as AttendInput,
    where,
  );
const session = (more: Record<string, unknown>, where?: Elsewhere) =>
  validateSession({ heads: 1, kvHeads: 1, headDim: D, ...more } as SessionOptions, where);
const step = (
  values: readonly [q: number, k: number, v: number],
  options: { scale?: number; wireDtype?: "f32" | "f16" | "bf16" } = {},
  cached?: Cached,
) => {
  const [q, k, v] = values.map((x) => rows(2, x));
  return validateRows(
    { sequence: 0, q, k, v },
    { heads: 1, kvHeads: 1, headDim: D, wireDtype: "f32", ...options },
    cached,
  );
};
const refused = (what: () => unknown, says: RegExp) =>
  assert.throws(what, (error: unknown) => error instanceof InputError && (assert.match(error.message, says), true));

test("a bad signal, callback, rate, link or planned fault of a call is rejected by name", async () => {
  const start = (options: unknown) => Cluster.start(platform, options as ClusterOptions);
  for (
    const options of [
      undefined,
      null,
      { ranks: 2, fault: null },
      { ranks: 2, fault: { rank: 0, hop: 0, kind: "explode" } },
      { ranks: 2, fault: { rank: 0, hop: 0, kind: "exit", stepp: 1 } },
      { ranks: 2, fault: { rank: 0, hop: 0, kind: "exit", step: -1.5 } },
      { ranks: 2, backend: "cpu", fault: { rank: 0, hop: 0, kind: "lose-device" } },
      { ranks: 2, shaders: null },
      { ranks: 2, shaders: { attend: null } },
      { ranks: 2, shaders: { attend: { name: "mine" } } },
      { ranks: 2, timeout: "5" },
      { ranks: 2, link: { bandwidth: "1e6", latency: 0 } },
      { ranks: 2, link: { bandwidth: 1e6, latency: true } },
      { ranks: 2, signal: {} },
    ]
  ) await assert.rejects(start(options), InputError, JSON.stringify(options));
  await assert.rejects(start({ ranks: 2, remote: { url: "ws://127.0.0.1:8787" } }), {
    name: "InputError",
    message: /^cluster: found the option "remote".*import \{ Remote \} from "ringside-cp\/remote"/,
  });
  const cluster = await Cluster.start(platform, { ranks: 1, backend: "cpu" });
  const input = experiment({ sequences: [{ new: 4, cached: 0 }] });
  for (
    const more of [{ signal: {} }, { signal: null }, { onProgress: 5 }, { onHalt: 5 }, { watch: 5 }, { rates: "x" }, {
      rates: { flops: "a", bandwidth: 1 },
    }]
  ) {
    await assert.rejects(cluster.attend({ ...input, ...more } as AttendInput), InputError, JSON.stringify(more));
  }
  const session = await cluster.session({ heads: 4, kvHeads: 4, headDim: 16 });
  const rows = { sequence: 0, q: input.q, k: input.k, v: input.v };
  for (
    const options of [{ signal: 5 }, { onProgress: 1 }, { fault: null }, { fault: { rank: 9, hop: 0, kind: "exit" } }]
  ) {
    await assert.rejects(session.prefill([rows], options as object), InputError, JSON.stringify(options));
  }
  await assert.rejects(
    cluster.session(
      { heads: 4, kvHeads: 4, headDim: 16, rates: { flops: "a", bandwidth: 1 } } as unknown as SessionOptions,
    ),
    InputError,
  );
  const result = await cluster.attend(input);
  for (const wrong of [{ ...input, k: undefined }, { ...input, wireDtype: "f8" }, { ...input, wireDType: "f16" }]) {
    assert.throws(() => check(wrong as CheckInput, result), InputError);
  }
  await cluster.dispose();
});

test("unknown options are rejected with the nearest name, on every call", () => {
  refused(() => attend({ wireDType: "f16" }), /^attend: found the option "wireDType".*did you mean "wireDtype"\?$/);
  refused(() => attend({ ranks: 4 }), /^attend: found the option "ranks"/);
  attend({ ranks: 4, link: undefined }, ELSEWHERE);
  validateStep({ onQueued: 1 } as never, undefined, undefined, ELSEWHERE);
  refused(() => session({ capcity: 5 }), /did you mean "capacity"\?$/);
  refused(() => validateStep({ varient: "pass-q" } as never), /^step: .*did you mean "variant"\?$/);
  refused(
    () =>
      validateRows({ sequence: 0, q: rows(1, 1), k: rows(1, 1), v: rows(1, 1), rows: 1 } as unknown as SessionRows, {
        heads: 1,
        kvHeads: 1,
        headDim: D,
        wireDtype: "f32",
      }),
    /^rows: found the option "rows"/,
  );
  refused(() => attend({ sequences: [{ new: 2, cached: 1, len: 3 }] }), /^sequence 0: found the option "len"/);
});

test("an input that is missing or has another type is an InputError that names it", () => {
  refused(() => attend({ sequences: undefined }), /^sequences: found undefined, expected an array/);
  refused(() => attend({ sequences: [null] }), /^sequence 0: found null/);
  refused(() => attend({ sequences: [{ new: 3 }] }), /^sequence 0: found undefined cached tokens/);
  for (const name of ["q", "k", "v"]) {
    refused(
      () => attend({ [name]: Array.from({ length: 2 * D }, () => 1) }),
      new RegExp(`^${name}: found an array of 32, expected a Float32Array$`),
    );
    refused(() => attend({ [name]: undefined }), new RegExp(`^${name}: found undefined, expected a Float32Array$`));
    refused(
      () => attend({ [name]: new Float64Array(2 * D) }),
      new RegExp(`^${name}: found an object \\(Float64Array\\), expected a Float32Array$`),
    );
  }
  refused(() => attend({ causal: "no" }), /^causal: found "no", expected true or false$/);
  refused(
    () =>
      validateRows({ sequence: 0, q: [1], k: [1], v: [1] } as never, {
        heads: 1,
        kvHeads: 1,
        headDim: D,
        wireDtype: "f32",
      }),
    /^sequence 0, q: found an array of 1, expected a Float32Array$/,
  );
  refused(
    () =>
      validateRows({ sequence: "a", q: rows(1, 1), k: rows(1, 1), v: rows(1, 1) } as never, {
        heads: 1,
        kvHeads: 1,
        headDim: D,
        wireDtype: "f32",
      }),
    /^sequence: found "a"/,
  );
});

test("variant, wire type, scale and head counts are checked for attends and sessions alike", () => {
  for (const path of [attend, session]) {
    refused(() => path({ variant: "ring" }), /^variant: found "ring", expected "pass-kv", "pass-q" or "auto"$/);
    refused(() => path({ wireDtype: "fp8" }), /^wire dtype: found "fp8"/);
    for (const scale of [NaN, Infinity, "0.1", null]) {
      refused(() => path({ scale }), /^scale: found .*, expected a finite number$/);
    }
    for (const scale of [1e39, -1e39, 1.1e38]) {
      refused(() => path({ scale }), /^scale: found -?1.*e\+3[89], which may overflow f32/);
    }
    path({ scale: -0.3 });
    path({ scale: 0 });
    for (const scale of [0, -0.3]) {
      refused(
        () => path({ scale }, ELSEWHERE),
        /^scale: found .*, expected a number above 0: the machine that computes takes no other$/,
      );
    }
    refused(() => path({ kvHeads: 70_000, heads: 70_000 }), /^heads \(H\): found 70000, expected at most 65535: /);
  }
  refused(() => validateStep({ variant: "ring" as never }), /^variant: found "ring"/);
  validateHeads(65_535, 65_535, D);
});

test("scores that may overflow f32 are rejected on every path: the scale before or after the sum, and keys cached earlier", () => {
  const over = /scores may overflow f32/;
  for (const scale of [1e36, 1e37, 9e37]) {
    refused(() => attend({ scale, q: rows(2, 50) }), over);
    refused(() => step([50, 1, 1], { scale }), over);
    refused(() => validateSeeded({ heads: 1, kvHeads: 1, headDim: D, scale }), over);
  }
  // The product with q alone overflows, though the scores would not: some kernels take it first.
  refused(() => attend({ scale: 1e20, q: rows(2, 1e19), k: rows(3, 1e-30) }), over);
  validateSeeded({ heads: 1, kvHeads: 1, headDim: D, scale: 1e30 });
  const { cached } = step([1, 1e30, 1]);
  step([1e6, 1, 1], {}, cached);
  refused(
    () => step([1e30, 1, 1], {}, cached),
    /^sequence 0, q and k: found values up to 1\.0.*e\+30 and 1\.0.*e\+30, whose scores .* scale \(0\.25\)/,
  );
  assert.deepEqual(step([2, 3, 4], {}, { tokens: 5, k: 1, v: 9 }), {
    T: 2,
    largest: { q: 2, k: 3, v: 4 },
    cached: { tokens: 7, k: 3, v: 9 },
  });
});

test("sums of v that may overflow f32 are rejected on every path, cached rows included", () => {
  refused(() => attend({ v: rows(3, 1e38) }), /^v: found values up to .*sums may overflow f32/);
  refused(() => step([1, 1, 3e38]), /^sequence 0, v: .*sums may overflow f32/);
  step([1, 1, 1e35]);
  refused(() => step([1, 1, 1e35], {}, { tokens: 2000, k: 1, v: 1 }), /^sequence 0, v: /);
});

test("a wire type that the data overflows is rejected, from its largest value on", () => {
  for (const [wireDtype, fits, over] of [["f16", 65504, 65505], ["bf16", 3.3895313892515355e38, 3.39e38]] as const) {
    attend({ wireDtype, k: rows(3, fits), q: rows(2, 0) });
    refused(
      () => attend({ wireDtype, k: rows(3, over), q: rows(2, 0) }),
      new RegExp(`^k: found a value of magnitude .*, which ${wireDtype} on the wire cannot hold`),
    );
    step([0, fits, 0], { wireDtype });
    for (const values of [[over, 0, 0], [0, over, 0]] as const) {
      refused(() => step(values, { wireDtype }), new RegExp(`${wireDtype} on the wire cannot hold`));
    }
  }
  // Operands that don't travel are held in f32 here; another machine holds everything in the wire type.
  attend({ wireDtype: "f16", q: rows(2, 1e6), variant: "pass-kv" });
  refused(
    () => attend({ wireDtype: "f16", q: rows(2, 1e6), variant: "pass-kv" }, ELSEWHERE),
    /^q: .*f16 on the wire cannot hold/,
  );
  refused(() => attend({ wireDtype: "f16", q: rows(2, 1e6), variant: "auto" }), /^q: .*f16 on the wire cannot hold/);
});

test("a session's capacity is bounded, with the bytes that it would take", () => {
  session({ capacity: 100_000 });
  for (const capacity of [0, 1.5, NaN, "7"]) {
    refused(() => session({ capacity }), /^capacity: found .* tokens, expected a whole number of at least 1$/);
  }
  refused(
    () => session({ capacity: 1e9 }),
    /^capacity: found 1000000000 tokens a rank, expected at most 33554432: a rank's K and its V take 64 bytes a token each/,
  );
  session({ capacity: 1e9 }, ELSEWHERE);
});

test("a link is bounded by the time that a run would take on it", () => {
  const shape = { heads: 8, kvHeads: 2, headDim: 64 };
  const tokens = { new: 128, cached: 384 };
  validateLink({ bandwidth: 1e6, latency: 0.002 });
  validateLink({ bandwidth: Infinity, latency: 0 });
  for (
    const link of [
      { bandwidth: 0, latency: 0 },
      { bandwidth: NaN, latency: 0 },
      { bandwidth: 1, latency: -1 },
      { bandwidth: 1, latency: 3e6 },
      { bandwidth: "1", latency: NaN },
      { bandwidth: 1, latency: 0, jitter: 1 },
    ]
  ) {
    refused(() => validateLink(link as never), /^link: found /);
  }
  validateRun(shape, tokens, 4, { bandwidth: 1000, latency: 0.1 });
  validateRun(shape, tokens, 1, { bandwidth: 1e-3, latency: 0 });
  refused(
    () => validateRun(shape, tokens, 4, { bandwidth: 1e-3, latency: 0 }),
    /^link: found 0\.001 bytes\/s and 0 s, on which a rank's 393216 bytes in 3 messages take 3\.93e\+8 s, expected at most 3600 \(/,
  );
  refused(
    () => validateRun({ ...shape, variant: "pass-q" }, tokens, 4, { bandwidth: 1e-3, latency: 0 }),
    /in 3 messages take/,
  );
  refused(() => validateRun(shape, tokens, 64, { bandwidth: 1e9, latency: 100 }), /in 63 messages take 6\.30e\+3 s/);
});
