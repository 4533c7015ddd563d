/** `ringside attend` on good input: its results, its files and its report. */
import assert from "node:assert/strict";
import { readFile, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import test from "node:test";
import { attend } from "../../../engine/cli/attend.ts";
import type { FixedInput } from "../../../engine/cluster/in-process.ts";
import type { RankTraffic } from "../../../engine/cluster/types.ts";
import { reference } from "../../../engine/reference/attention.ts";
import { difference } from "../../../engine/reference/error.ts";
import { type DType, fromBytes, toBytes } from "../../../engine/tensor/dtype.ts";
import { readNpy } from "../../../engine/tensor/npy.ts";
import { writeSafetensors } from "../../../engine/tensor/safetensors.ts";
import { type Case, experiment } from "../../experiment.ts";
import { expectNoOverlap } from "../trace/overlaps.ts";
import {
  call,
  contents,
  type Document,
  inFolder,
  joined,
  npyOfHalves,
  platform,
  readOutput,
  runtime,
  writeTensors,
} from "./command.ts";

const rounded = (x: Float32Array, dtype: DType): Float32Array => fromBytes(toBytes(x, dtype), dtype);

/**
 * The input of a rank, with the travelling operand rounded to the wire's type. The oracle then has the f32 bar for every
 * wire.
 */
function onWire(input: FixedInput): FixedInput {
  const { variant = "pass-kv", wireDtype = "f32", q, k, v } = input;
  return variant === "pass-q"
    ? { ...input, q: rounded(q, wireDtype) }
    : { ...input, k: rounded(k, wireDtype), v: rounded(v, wireDtype) };
}

/** Checks o.npy and l.npy of a folder: dtype, shape, every value against float64. */
async function expectOutputs(folder: string, input: FixedInput): Promise<void> {
  const { heads, headDim, q } = input;
  const rows = q.length / (heads * headDim);
  const exact = reference(onWire(input));
  for (
    const [name, shape, expected] of [["o.npy", [rows, heads, headDim], exact.out], [
      "l.npy",
      [rows, heads],
      exact.lse,
    ]] as const
  ) {
    const found = await readOutput(folder, name);
    assert.deepEqual([found.shape, found.dtype], [shape, "f32"]);
    const { within, max, at } = difference(found.data, expected);
    assert.ok(within, `${name}: off by ${max} at element ${at}`);
  }
}

/** Runs the command with its three outputs and the check. Expects success and correct files. */
async function attends(folder: string, options: readonly string[], input: FixedInput): Promise<Document> {
  const at = (name: string) => path.join(folder, name);
  const { status, stdout, stderr } = await call(attend, [
    ...options,
    "--out",
    at("o.npy"),
    "--lse",
    at("l.npy"),
    "--trace",
    at("t.json"),
    "--check",
    "--json",
  ]);
  assert.equal(stderr, "");
  assert.equal(status, 0);
  await expectOutputs(folder, input);
  return JSON.parse(stdout) as Document;
}

/** The events of a trace without its metadata. */
async function traceEvents(
  folder: string,
): Promise<
  {
    ph: string;
    name: string;
    cat: string;
    pid: number;
    tid: number;
    ts: number;
    dur: number;
    args: Record<string, number>;
  }[]
> {
  const text = await readFile(path.join(folder, "t.json"), "utf8");
  expectNoOverlap(text);
  const { traceEvents } = JSON.parse(text);
  return traceEvents.filter((e: { ph: string }) => e.ph !== "M");
}

/** The expected traffic of one rank. */
function traffic(
  rank: number,
  ring: [messages: number, bytes: number],
  all2all: [messages: number, bytes: number],
  paddingBytes: number,
): RankTraffic {
  const bytes = ring[1] + all2all[1];
  const part = ([messages, b]: [number, number]) => ({ messages, bytes: b });
  return {
    rank,
    bytesSent: bytes,
    bytesReceived: bytes,
    messages: ring[0] + all2all[0],
    ring: part(ring),
    all2all: part(all2all),
    paddingBytes,
    skipped: { messages: 0, bytes: 0 },
  };
}

// One sequence on 2 ranks. Cached: 4 chunks of 5 tokens, so 10 rows on each rank. New: chunks of 10, 9, 9 and 9 tokens,
// so 19 rows on rank 0, and 18 on rank 1, padded to 19.
const ONE: Case = { sequences: [{ new: 37, cached: 20 }], heads: 4, kvHeads: 2 };
// Two sequences on 3 ranks. The first one's new tokens are 3, 2 and 2, padded to 3; with its 5 cached tokens, each rank
// has 4 rows. The second one's are 11, 10 and 10, padded to 11.
const TWO: Case = { sequences: [{ new: 7, cached: 5 }, { new: 31, cached: 0 }], heads: 4, kvHeads: 2 };
const TWO_OPTIONS = ["--sequences", "7:5,31:0", "--ranks", "3", "--backend", "cpu"];

test("pass-KV on the adapter: values, report, files", () =>
  inFolder(async (folder) => {
    const input = experiment(ONE);
    const { error, times, adapter, ...facts } = await attends(folder, [
      ...(await writeTensors(folder, input)),
      "--ranks",
      "2",
    ], input);
    const bytes = 2 * (10 + 19) * 2 * 16 * 4;
    const expected = {
      backend: "webgpu",
      runtime,
      variant: "pass-kv",
      ranks: 2,
      wireDtype: "f32",
      causal: true,
      scale: 0.25,
      mask: { kind: "causal" },
      sinks: false,
      dealing: "head-tail",
      shape: {
        heads: 4,
        kvHeads: 2,
        headDim: 16,
        valueDim: 16,
        valuesInKeys: false,
        sequences: ONE.sequences,
      },
      skipped: { hops: 0, messages: 0, bytes: 0 },
      link: null,
      perRank: [traffic(0, [1, bytes], [0, 0], 0), traffic(1, [1, bytes], [0, 0], 2 * 2 * 16 * 4)],
    };
    assert.deepEqual(
      Object.fromEntries(Object.keys(expected).map((name) => [name, facts[name as keyof typeof facts]])),
      expected,
    );
    assert.match(facts.kernel, /^attend.*: .* \(D 16, q f32, kv f32\)$/);
    assert.ok(["gpu-timestamps", "host"].includes(facts.clock));
    assert.equal(facts.adapterSource, process.env.RINGSIDE_ADAPTER_SOURCE ?? null);
    assert.ok(adapter.name.length > 0 && Array.isArray(adapter.features) && typeof adapter.software === "boolean");
    assert.deepEqual(Object.keys(times), [
      "compile",
      "barrier",
      "upload",
      "attend",
      "exchange",
      "late",
      "merge",
      "total",
    ]);
    for (const [kind, seconds] of Object.entries(times)) {
      assert.ok(seconds >= 0 && seconds <= times.total, `${kind} ${seconds} s of ${times.total} s`);
    }
    assert.ok(times.compile > 0 && times.attend > 0);
    assert.ok(error!.passed && error!.out.max < 2e-6 && error!.out.rms <= error!.out.max && error!.lse.max < 1e-5);
    assert.deepEqual(Object.keys(await contents(folder)), ["k.npy", "l.npy", "o.npy", "q.npy", "t.json", "v.npy"]);
    const events = await traceEvents(folder);
    for (const rank of [0, 1]) {
      const attends = events.filter((e) => e.pid === rank && e.cat === "attend");
      assert.deepEqual(attends.map((e) => e.name).sort(), ["attend, hop 0", "attend, hop 1"]);
      assert.deepEqual(events.filter((e) => e.pid === rank && e.cat === "send").map((e) => e.args), [{
        hop: 0,
        bytes,
        flops: 0,
        peer: 1 - rank,
      }]);
      assert.ok(attends.every((e) => e.ph === "X" && e.ts >= 0 && e.dur > 0 && (e.ts + e.dur) / 1e6 <= times.total));
    }
    // 4 D FLOP a head and visible pair: new token t sees 20 + t + 1 tokens.
    const flops = events.filter((e) => e.cat === "attend").reduce((sum, e) => sum + e.args.flops, 0);
    assert.equal(flops, 4 * 16 * 4 * (37 * 20 + (37 * 38) / 2));
  }));

test("pass-Q on the adapter, two sequences, bf16 on the wire", () =>
  inFolder(async (folder) => {
    const input = experiment({
      sequences: [{ new: 21, cached: 11 }, { new: 5, cached: 0 }],
      heads: 4,
      kvHeads: 2,
      variant: "pass-q",
      wireDtype: "bf16",
    });
    const options = [
      ...(await writeTensors(folder, input)),
      "--ranks",
      "2",
      "--sequences",
      "21:11,5:0",
      "--variant",
      "pass-q",
      "--wire-dtype",
      "bf16",
    ];
    const report = await attends(folder, options, input);
    // New tokens: 6 + 5 and 5 + 5, padded to 11; 2 + 1 and 1 + 1, padded to 3.
    const [ring, parcel] = [14 * 4 * 16 * 2, 14 * 4 * (16 + 1) * 4];
    assert.deepEqual(report.perRank, [
      traffic(0, [1, ring], [1, parcel], 0),
      traffic(1, [1, ring], [1, parcel], 2 * 4 * 16 * 2),
    ]);
    assert.match(report.kernel, /q bf16, kv f32/);
    assert.ok(report.error!.passed && report.error!.out.max > 1e-6, "16 bits round what off-grid inputs hold");
    assert.ok(report.times.merge > 0);
  }));

test("f16 on the wire on the adapter, f16 tensors, one rank and no cache", () =>
  inFolder(async (folder) => {
    const made = experiment({ sequences: [{ new: 33, cached: 0 }], heads: 2, kvHeads: 1, wireDtype: "f16" });
    const input = { ...made, q: rounded(made.q, "f16"), k: rounded(made.k, "f16"), v: rounded(made.v, "f16") };
    const report = await attends(folder, [
      ...(await writeTensors(folder, made, npyOfHalves)),
      "--ranks",
      "1",
      "--wire-dtype",
      "f16",
    ], input);
    assert.deepEqual(report.perRank, [traffic(0, [0, 0], [0, 0], 0)]);
    assert.match(report.kernel, /q f32, kv f16/);
  }));

test("two sequences on three ranks: bytes of pass-KV and pass-Q for each wire type", async () => {
  for (const [wireDtype, e] of [["f32", 4], ["bf16", 2], ["f16", 2]] as const) {
    for (const variant of ["pass-kv", "pass-q"] as const) {
      await inFolder(async (folder) => {
        const input = experiment({ ...TWO, variant, wireDtype });
        const report = await attends(folder, [
          ...(await writeTensors(folder, input)),
          ...TWO_OPTIONS,
          "--variant",
          variant,
          "--wire-dtype",
          wireDtype,
        ], input);
        // Rank k sends its own chunk, then that of rank k-1. Padding rows: KV 0, 1, 1; Q 0, 2, 2.
        const row = variant === "pass-kv" ? 2 * 2 * 16 * e : 4 * 16 * e;
        const ring: [number, number] = [2, 2 * (variant === "pass-kv" ? 15 : 14) * row];
        const all2all: [number, number] = variant === "pass-kv" ? [0, 0] : [2, 2 * 14 * 4 * (16 + 1) * 4];
        const padding = variant === "pass-kv" ? [1, 1, 2] : [2, 2, 4];
        assert.deepEqual(
          report.perRank,
          padding.map((rows, rank) => traffic(rank, ring, all2all, rows * row)),
          `${variant} ${wireDtype}`,
        );
        assert.equal(report.wireDtype, wireDtype);
        assert.equal(report.variant, variant);
        assert.equal(report.backend, "cpu");
        assert.equal(report.kernel, "plain TypeScript");
        assert.deepEqual(report.shape.sequences, TWO.sequences);
        assert.ok(report.error!.passed);
      });
    }
  }
});

test("with --no-causal every query sees every key; --scale scales the scores", () =>
  inFolder(async (folder) => {
    const input = experiment({ ...TWO, causal: false, scale: -0.37 });
    const options = [...(await writeTensors(folder, input)), ...TWO_OPTIONS];
    const report = await attends(folder, [...options, "--no-causal", "--scale=-0.37"], input);
    assert.deepEqual([report.causal, report.scale], [false, -0.37]);
    const causal = await attends(folder, options, { ...input, causal: true, scale: undefined });
    assert.deepEqual([causal.causal, causal.scale], [true, 0.25]);
  }));

test("more ranks than tokens, and a sequence without new tokens", () =>
  inFolder(async (folder) => {
    const input = experiment({
      sequences: [{ new: 2, cached: 0 }, { new: 0, cached: 3 }, { new: 1, cached: 1 }],
      heads: 2,
      kvHeads: 2,
      headDim: 20,
    });
    const report = await attends(folder, [
      ...(await writeTensors(folder, input)),
      "--sequences",
      "2:0, 0:3, 1:1",
      "--ranks",
      "5",
      "--backend",
      "cpu",
    ], input);
    assert.deepEqual(report.perRank.map((r) => r.messages), [4, 4, 4, 4, 4]);
  }));

test("the defaults are four ranks, pass-KV and f32", () =>
  inFolder(async (folder) => {
    const input = experiment({ sequences: [{ new: 9, cached: 0 }] });
    const { ranks, variant, wireDtype, perRank } = await attends(folder, [
      ...(await writeTensors(folder, input)),
      "--backend",
      "cpu",
    ], input);
    assert.deepEqual([ranks, variant, wireDtype, perRank.map((r) => r.messages)], [4, "pass-kv", "f32", [3, 3, 3, 3]]);
  }));

test(".npy of f2: the values of the halves", () =>
  inFolder(async (folder) => {
    const made = experiment(TWO);
    const input = { ...made, q: rounded(made.q, "f16"), k: rounded(made.k, "f16"), v: rounded(made.v, "f16") };
    await attends(folder, [...(await writeTensors(folder, made, npyOfHalves)), ...TWO_OPTIONS], input);
  }));

test(".safetensors of F32, F16 and BF16, alone and mixed, beside other tensors", async () => {
  const made = experiment(TWO);
  for (
    const dtypes of [["f32", "f32", "f32"], ["f16", "f16", "f16"], ["bf16", "bf16", "bf16"], [
      "bf16",
      "f32",
      "f16",
    ]] as const
  ) {
    await inFolder(async (folder) => {
      const [q, k, v] = dtypes;
      const file = path.join(folder, "all.safetensors");
      await writeFile(
        file,
        writeSafetensors({
          q: { shape: [38, 4, 16], dtype: q, data: made.q },
          k: { shape: [43, 2, 16], dtype: k, data: made.k },
          v: { shape: [43, 2, 16], dtype: v, data: made.v },
          mask: { shape: [3], dtype: "f32", data: Float32Array.of(1, 2, NaN) },
        }),
      );
      await attends(folder, ["--tensors", file, ...TWO_OPTIONS], {
        ...made,
        q: rounded(made.q, q),
        k: rounded(made.k, k),
        v: rounded(made.v, v),
      });
    });
  }
});

test("a slow link: chunks take bytes / bandwidth + latency, also in the report", () =>
  inFolder(async (folder) => {
    const input = experiment(ONE);
    const report = await attends(folder, [
      ...(await writeTensors(folder, input)),
      "--ranks",
      "2",
      "--backend",
      "cpu",
      "--link",
      "4e4,0.1",
    ], input);
    assert.deepEqual(report.link, { bandwidth: 40000, latency: 0.1 });
    const least = report.perRank[0].bytesSent / 40000 + 0.1;
    assert.ok(report.times.total > least && report.times.exchange > 0.5 * least, JSON.stringify(report.times));
    const arrivals = (await traceEvents(folder)).filter((e) => e.cat === "receive");
    assert.deepEqual(arrivals.map((e) => e.pid), [0, 1]);
    for (const { name, pid, dur } of arrivals) {
      assert.ok(
        dur / 1e6 > least - 0.02 && dur / 1e6 < least + 1,
        `${name} of rank ${pid}: ${dur} us, expected ${least} s`,
      );
    }
  }));

test("without --json: a text for people, with the check's verdict", () =>
  inFolder(async (folder) => {
    const input = experiment(ONE);
    const options = [...(await writeTensors(folder, input)), "--ranks", "2", "--backend", "cpu"];
    const { status, stdout, stderr } = await call(attend, [...options, "--check"]);
    assert.deepEqual([status, stderr], [0, ""]);
    assert.match(
      stdout,
      /^pass-kv on 2 ranks \((node|deno)\): 37 new \+ 20 cached tokens; heads 4\/2, D 16, wire f32$/m,
    );
    assert.match(stdout, /^adapter: none: plain TypeScript on the CPU \(software\)/m);
    assert.match(stdout, /^ +1 +7424 +7424 +1 +256$/m);
    assert.match(
      stdout,
      /^against float64: out max .*; lse max .* \(at most \d+\.\d % of what rounding allows\): passed$/m,
    );
    const unchecked = await call(attend, options);
    assert.doesNotMatch(unchecked.stdout, /float64|passed/);
    assert.equal((JSON.parse((await call(attend, [...options, "--json"])).stdout) as Document).error, undefined);
    assert.deepEqual(Object.keys(await contents(folder)), ["k.npy", "q.npy", "v.npy"]);
  }));

test("--help prints the usage, whatever the other options", async () => {
  const { status, stdout } = await call(attend, ["--ranks", "0", "--help"]);
  assert.equal(status, 0);
  for (
    const option of [
      "q",
      "k",
      "v",
      "tensors",
      "ranks",
      "variant",
      "sequences",
      "mask",
      "no-causal",
      "sink-tokens",
      "dealing",
      "sinks",
      "v-prefix",
      "scale",
      "wire-dtype",
      "link",
      "backend",
      "timeout",
      "out",
      "lse",
      "trace",
      "check",
      "json",
      "runtime",
      "fault",
    ]
  ) {
    assert.match(stdout, new RegExp(`--${option}\\b`));
  }
});

test("outputs replace existing files, also through links", () =>
  inFolder(async (folder) => {
    const input = experiment(ONE);
    const at = (name: string) => path.join(folder, name);
    await writeFile(at("o.npy"), "old");
    await writeFile(at("real.npy"), "old");
    await symlink("real.npy", at("l.npy"));
    await attends(folder, [...(await writeTensors(folder, input)), "--ranks", "2", "--backend", "cpu"], input);
    assert.deepEqual(readNpy(await readFile(at("real.npy")), "real.npy").shape, [37, 4]);
  }));

test("a watched run shows its progress on stderr, and none on stdout", () =>
  inFolder(async (folder) => {
    const options = [...(await writeTensors(folder, experiment(ONE))), "--ranks", "2", "--backend", "cpu", "--json"];
    const { stdout, stderr } = await call(attend, options, { watched: true });
    assert.ok(stderr.endsWith("\r\x1b[K4 of 4 hops\r\x1b[K"), JSON.stringify(stderr));
    JSON.parse(stdout);
  }));

test("cancelled before, during and after the work: no file is left", () =>
  inFolder(async (folder) => {
    const options = [
      ...(await writeTensors(folder, experiment(ONE))),
      "--ranks",
      "2",
      "--backend",
      "cpu",
      "--out",
      path.join(folder, "o.npy"),
      "--check",
    ];
    const before = await contents(folder);
    const cancelled = { name: "AbortError", message: "stopped by the test" };
    const reason = new DOMException(cancelled.message, cancelled.name);
    await assert.rejects(call(attend, options, { signal: AbortSignal.abort(reason) }), cancelled);
    const during = new AbortController();
    const start = performance.now();
    setTimeout(() => during.abort(reason), 400);
    await assert.rejects(call(attend, [...options, "--link", "1000,1"], { signal: during.signal }), cancelled);
    assert.ok(performance.now() - start < 2500, "a transfer of 8 s is not waited for");
    const late = new AbortController();
    await assert.rejects(
      call(attend, options, {
        signal: late.signal,
        watched: true,
        onStderr: (text) => text.includes("4 of 4") && late.abort(reason),
      }),
      cancelled,
    );
    assert.deepEqual(await contents(folder), before);
  }));

test("one rank sends nothing; eight ranks compute the same", () =>
  inFolder(async (folder) => {
    const input = experiment({ ...ONE, headDim: 32 });
    const options = [...(await writeTensors(folder, input)), "--backend", "cpu"];
    const one = await attends(folder, [...options, "--ranks", "1"], input);
    assert.deepEqual(one.perRank, [traffic(0, [0, 0], [0, 0], 0)]);
    await attends(folder, [...options, "--ranks", "8", "--variant", "pass-q"], { ...input, variant: "pass-q" });
  }));

test("a failed check: status 1, the worst element, and still the report and the outputs", () =>
  inFolder(async (folder) => {
    const input = experiment(TWO);
    const tensors = await writeTensors(folder, input);
    const outputs = [
      "--out",
      path.join(folder, "o.npy"),
      "--lse",
      path.join(folder, "l.npy"),
      "--trace",
      path.join(folder, "t.json"),
    ];
    // A faulty kernel, which computes LSE with a wrong logarithm.
    const shaders = async () =>
      Object.fromEntries(
        Object.entries(await platform.shaders()).map((
          [name, text],
        ) => [name, text.replace("0.6931471805599453", "0.6932")]),
      ) as Awaited<ReturnType<typeof platform.shaders>>;
    const options = [...tensors, "--sequences", "7:5,31:0", "--ranks", "2", "--check", ...outputs];
    const { status, stdout } = await call(attend, options, { platform: { ...platform, shaders } });
    assert.equal(status, 1);
    assert.match(
      stdout,
      joined(
        /^against float64: out max .*; lse max .* \(at most \d{3,}\.\d % of what rounding allows\): FAILED\n/m,
        /(O|LSE) of row \d+, head \d+.*: found .*, expected .* within .*$/m,
      ),
    );
    assert.deepEqual(Object.keys(await contents(folder)), ["k.npy", "l.npy", "o.npy", "q.npy", "t.json", "v.npy"]);
    const json = await call(attend, [...options, "--json"], { platform: { ...platform, shaders } });
    assert.deepEqual([json.status, (JSON.parse(json.stdout) as Document).error?.passed], [1, false]);
  }));

test("a 16-bit wire that underflows gives a warning with its name and the tensor's; the check uses its values", () =>
  inFolder(async (folder) => {
    const input = experiment(TWO);
    const tensors = await writeTensors(folder, {
      ...input,
      k: input.k.map((x) => x * 1e-9),
      q: input.q.map((x) => x * 1e9),
    });
    for (const [wire, warned] of [["f16", true], ["bf16", false], ["f32", false]] as const) {
      const { status, stdout, stderr } = await call(attend, [
        ...tensors,
        ...TWO_OPTIONS,
        "--ranks",
        "2",
        "--backend",
        "cpu",
        "--wire-dtype",
        wire,
        "--check",
      ]);
      assert.equal(status, 0);
      assert.match(stdout, /: passed$/m);
      if (warned) {
        assert.match(
          stderr,
          joined(
            /^warning: .*k\.npy: f16 underflow: 86 of 86 vectors of D have no element of 6\.1e-5 or more, /,
            /below which f16 loses digits \(\d+ elements become 0\); scale it up, or use bf16 or f32\n$/,
          ),
        );
      } else assert.equal(stderr, "", wire);
    }
  }));

test("the trace of pass-Q on four ranks has all messages of its All2All, which overlap on their links", () =>
  inFolder(async (folder) => {
    const trace = path.join(folder, "t.json");
    await call(attend, [
      "--seed",
      "1",
      "--shape",
      "128:384,8,2,64",
      "--backend",
      "cpu",
      "--variant",
      "pass-q",
      "--trace",
      trace,
    ]);
    const events = await traceEvents(folder);
    assert.equal(events.filter((e) => e.cat === "all2all" && e.name.startsWith("all2all")).length >= 12, true);
  }));
