/** The client against real native workers: one process that simulates ranks, and four over gloo. */
import assert from "node:assert/strict";
import { exec, execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import { promisify } from "node:util";
import { RemoteError } from "../../../cuda-bridge/client/errors.ts";
import type { RemoteFace as Connected, SeededInput } from "../../../cuda-bridge/client/types.ts";
import { findRoot, inFolder, platform, runtime } from "../cli/command.ts";
import { Cluster } from "../../../engine/cluster/cluster.ts";
import type { ClusterFace, Report } from "../../../engine/cluster/types.ts";
import { InputError, LimitError, RankError } from "../../../engine/errors.ts";
import { sampleRows } from "../../../engine/reference/verify/sample.ts";
import { verifyRows } from "../../../engine/reference/verify/verify.ts";
import { check } from "../../../engine/reference/check.ts";
import { seededRows } from "../../../engine/tensor/seeded.ts";
import type { Span } from "../../../engine/trace/span.ts";
import { experiment } from "../../experiment.ts";
import { Remote } from "./fake-worker.ts";
import { type RealWorker, realWorker, workerTest } from "./real-worker.ts";

const SHAPE = { sequences: [{ new: 200, cached: 120 }, { new: 33, cached: 0 }], heads: 8, kvHeads: 2, headDim: 32 };

/** A worker for one test, and a connection to it. */
async function on(
  options: readonly string[],
  use: (remote: Connected, worker: RealWorker) => Promise<void>,
): Promise<void> {
  const worker = await realWorker(...options);
  try {
    const remote = await Remote.connect(worker.address, {
      token: worker.token,
      idleSeconds: 20,
      connectSeconds: 20,
    });
    try {
      await use(remote, worker);
      assert.ok(!worker.log().includes(worker.token));
    } catch (error) {
      console.error(worker.log());
      throw error;
    } finally {
      await remote.dispose();
    }
  } finally {
    await worker.stop();
  }
}

/** Runs seeded attention in every way and verifies rows of each. */
async function attends(remote: Connected, ranks: number, simulated: boolean): Promise<void> {
  for (
    const [variant, dtype, causal] of [["pass-kv", "f32", true], ["pass-q", "bf16", true], ["pass-kv", "f16", false], [
      "auto",
      "f32",
      false,
    ]] as const
  ) {
    const batch = { ...SHAPE, seed: 11, dtype, causal };
    const rows = sampleRows(batch, ranks, 48);
    const spans: Span[] = [];
    const places: number[] = [];
    let last: readonly number[] = [];
    const { out, lse, report } = await remote.attendSeeded({
      ...batch,
      ranks,
      variant,
      rows,
      onSpans: (some) => spans.push(...some),
      onQueued: (place) => places.push(place),
      onProgress: (done, total) => (last = [done, total]),
    });
    const verdict = await verifyRows(platform, { ...batch, rows, out, lse });
    assert.equal(verdict.passed, true, `${variant} ${dtype}: ${JSON.stringify(verdict.worst)}`);
    assert.deepEqual([report.ranks, report.remote.simulated, report.wireDtype, report.backend, report.perRank.length], [
      ranks,
      simulated,
      dtype,
      "remote",
      ranks,
    ]);
    assert.deepEqual(report.spans, spans);
    assert.equal(new Set(spans.filter((s) => s.kind === "attend").map((s) => s.rank)).size, ranks);
    assert.equal(places.at(-1), 0);
    assert.equal(last[0], last[1]);
    const wrong = out.slice();
    wrong[7 * 32 + 3] *= -1;
    assert.equal((await verifyRows(platform, { ...batch, rows, out: wrong, lse })).worst?.index, 7);
  }
}

/** Masks and their company: seeded rows verified, own tensors checked, and messages as ranks here send them. */
async function masks(remote: Connected, ranks: number): Promise<void> {
  const sinks = Float32Array.from({ length: 8 }, (_, h) => [-50, 0, 50, 1][h % 4]);
  await using cluster = await Cluster.start(platform, { ranks, backend: "cpu" });
  const specials: readonly Pick<SeededInput, "mask" | "sinks" | "dealing" | "valueDim" | "v">[] = [
    { mask: { kind: "window", size: 24, sinkTokens: 3 }, sinks, dealing: "contiguous" },
    { mask: { kind: "chunk", size: 40 }, valueDim: 16 },
    { mask: { kind: "window", size: 7 }, v: { prefixOfK: 20 }, sinks },
  ];
  for (const special of specials) {
    for (const variant of ["pass-kv", "pass-q"] as const) {
      const batch = { ...SHAPE, seed: 11, ...special };
      const rows = sampleRows(batch, ranks, 32);
      const { out, lse, report } = await remote.attendSeeded({ ...batch, ranks, variant, rows });
      const verdict = await verifyRows(platform, { ...batch, rows, out, lse });
      assert.equal(verdict.passed, true, `${variant} ${JSON.stringify(special)}: ${JSON.stringify(verdict.worst)}`);
      assert.deepEqual([report.mask, report.sinks], [special.mask, special.sinks !== undefined]);

      const whole = experiment({ ...SHAPE, seed: 4 });
      const v = special.v ?? (special.valueDim === undefined ? whole.v : whole.v.slice(0, whole.v.length / 2));
      const input = { ...whole, ...special, v, variant };
      const own = await remote.attend({ ...input, ranks });
      assert.equal(check(input, own).passed, true, `${variant} ${JSON.stringify(special)}`);
      const here = await cluster.attend(input);
      const messages = (report: Pick<Report, "perRank" | "skipped">) => [
        report.perRank.map(({ bytesSent, bytesReceived, messages, skipped }) => [
          bytesSent,
          bytesReceived,
          messages,
          skipped,
        ]),
        report.skipped,
      ];
      assert.deepEqual(messages(own.report), messages(here.report), `${variant} ${JSON.stringify(special)}`);
    }
  }
}

/** A session with a window, sinks and values in keys: each step against float64 of the whole sequence so far. */
async function windowed(cluster: ClusterFace): Promise<void> {
  const attention = {
    heads: 8,
    kvHeads: 2,
    headDim: 32,
    v: { prefixOfK: 16 },
    mask: { kind: "window", size: 20 },
    sinks: new Float32Array(8).fill(0.5),
    dealing: "contiguous",
  } as const;
  await assert.rejects(cluster.session({ ...attention, mask: { kind: "full" } }), InputError);
  const session = await cluster.session({ ...attention, capacity: 256 });
  let cached = 0;
  for (const n of [51, 1, 1, 1, 33]) {
    const q = seededRows(2, "q", cached, n, 256);
    const rows = { sequence: 5, q, k: seededRows(2, "k", cached, n, 64) };
    const { outputs, report } = await (n === 1 ? session.decode([rows]) : session.prefill([rows]));
    const k = seededRows(2, "k", 0, cached + n, 64);
    assert.equal(check({ ...attention, sequences: [{ new: n, cached }], q, k }, outputs[0]).passed, true);
    assert.deepEqual([report.mask, report.sinks, report.shape.valueDim], [attention.mask, true, 16]);
    cached += n;
  }
  await session.dispose();
}

workerTest(
  "one process, three simulated ranks: seeded rows, own tensors, a session, the layer, refusals",
  () =>
    on([], async (remote, worker) => {
      assert.deepEqual([remote.facts.processes, remote.facts.backend, remote.facts.devices[0].kind], [
        1,
        "single",
        "cpu",
      ]);
      assert.ok(remote.facts.kernels.some((k) => k.ok && k.chosen));
      await attends(remote, 3, true);
      await masks(remote, 3);
      const input = experiment({ ...SHAPE, seed: 4 });
      const own = await remote.attend({ ...input, ranks: 3, link: { bandwidth: 1e9, latency: 1e-5 } });
      assert.equal(check(input, own).passed, true);
      assert.deepEqual(own.report.link, { bandwidth: 1e9, latency: 1e-5 });
      await assert.rejects(remote.attendSeeded({ ...SHAPE, seed: 1, ranks: 3, rows: [[10_000, 0]] }), InputError);
      await assert.rejects(
        remote.attendSeeded({
          seed: 1,
          sequences: [{ new: 2 ** 24, cached: 2 ** 30 }],
          heads: 128,
          kvHeads: 128,
          headDim: 128,
          ranks: 2,
        }),
        (e: Error) => e instanceof LimitError && e.need > e.have && e.message.startsWith(worker.address),
      );
      const layer = await remote.layer({
        tokens: 64,
        ranks: 2,
        dtype: "f32",
        tp: 1,
        model: { dModel: 64, heads: 4, kvHeads: 2, headDim: 16, ffn: 128, layers: 2 },
      });
      assert.ok(Object.keys(layer.value).length > 0);
      assert.ok("state" in await remote.health());
      assert.equal(remote.state, "open");
    }),
);

workerTest(
  "four processes over gloo: seeded rows, and the connection in the place of a cluster",
  () =>
    on(["--processes", "4"], async (remote, worker) => {
      assert.deepEqual([remote.facts.processes, remote.facts.backend], [4, "gloo"]);
      for (const ranks of [4, 2, 1]) await attends(remote, ranks, false);
      await masks(remote, 4);
      await assert.rejects(
        remote.attendSeeded({ ...SHAPE, seed: 1, ranks: 5 }),
        /ranks: found 5, expected at most 4: this worker has 4/,
      );

      const cluster: ClusterFace = await Remote.connect(worker.address, { token: worker.token });
      try {
        assert.deepEqual([cluster.size, cluster.adapter.software], [4, true]);
        const input = experiment({ ...SHAPE, seed: 6 });
        const result = await cluster.attend({ ...input, variant: "pass-q" });
        assert.equal(check({ ...input, variant: "pass-q" }, result).passed, true);
        const session = await cluster.session({ heads: 8, kvHeads: 2, headDim: 32, capacity: 256 });
        const rows = (from: number, n: number) => ({
          sequence: 5,
          q: seededRows(2, "q", from, n, 256),
          k: seededRows(2, "k", from, n, 64),
          v: seededRows(2, "v", from, n, 64),
        });
        const steps = [
          await session.prefill([rows(0, 101)]),
          await session.decode([rows(101, 1)]),
          await session.prefill([rows(102, 30)]),
        ];
        const whole = check({
          ...SHAPE,
          sequences: [{ new: 132, cached: 0 }],
          q: seededRows(2, "q", 0, 132, 256),
          k: seededRows(2, "k", 0, 132, 64),
          v: seededRows(2, "v", 0, 132, 64),
        }, {
          out: Float32Array.from(steps.flatMap((s) => [...s.outputs[0].out])),
          lse: Float32Array.from(steps.flatMap((s) => [...s.outputs[0].lse])),
        });
        assert.equal(whole.passed, true);
        assert.deepEqual(steps.map((s) => s.report.mode), ["prefill", "decode", "prefill"]);
        assert.equal(session.tokens[0].perRank.reduce((a, b) => a + b), 132);
        await assert.rejects(
          session.prefill([{ ...rows(0, 900), sequence: 6 }, { ...rows(0, 900), sequence: 7 }]),
          LimitError,
        );
        assert.equal(session.steps, 3);
        await session.drop(5);
        assert.deepEqual(session.tokens, []);
        await session.dispose();
        await assert.rejects(cluster.repair(), InputError);
        await windowed(cluster);
      } finally {
        await cluster.dispose();
      }
    }),
);

workerTest(
  "TLS: the certificate of the README is one that this runtime takes, and each mistake is named",
  () =>
    inFolder(async (folder) => {
      const readme = await readFile(path.join(findRoot(), "cuda-bridge/README.md"), "utf8");
      const openssl = readme.match(/^openssl .*$/m)![0];
      await promisify(exec)(openssl, { cwd: folder });
      const [cert, key] = ["cert.pem", "key.pem"].map((name) => path.join(folder, name));
      const tls = await realWorker("--cert", cert, "--key", key), plain = await realWorker();
      try {
        const local = (scheme: string, { address }: RealWorker) => `${scheme}://localhost:${new URL(address).port}`;
        const mistaken = (url: string, message: RegExp) =>
          assert.rejects(Remote.connect(url, { token: tls.token }), message);
        await mistaken(
          local("ws", tls).replace("localhost", "127.0.0.1"),
          /hung up.*its address is wss:\/\/127\.0\.0\.1/,
        );
        await mistaken(local("wss", plain), /does not speak TLS.*its address is ws:\/\/localhost/);
        const variable = runtime === "deno" ? "DENO_CERT" : "NODE_EXTRA_CA_CERTS";
        await mistaken(local("wss", tls), new RegExp(`certificate is not trusted.*${variable}=cert\\.pem`));
        const command = [
          path.join(findRoot(), "engine/cli/ringside.mjs"),
          "attend",
          "--remote",
          local("wss", tls),
          "--runtime",
          runtime,
        ];
        command.push("--seed", "1", "--shape", "64,4,2,16", "--ranks", "2", "--verify-rows", "8");
        const env = { ...process.env, [variable]: cert, RINGSIDE_TOKEN: tls.token };
        const { stdout } = await promisify(execFile)("node", command, { cwd: folder, env });
        assert.match(stdout, /verified 8 rows here .*: passed/);
      } finally {
        await tls.stop();
        await plain.stop();
      }
    }),
);

/** A run of minutes on a CPU. */
const LONG = { seed: 1, sequences: [{ new: 200_000, cached: 0 }], heads: 16, kvHeads: 1, headDim: 128, ranks: 4 };

workerTest(
  "four processes: a long run is cancelled within seconds, a rank is killed under one, and the worker goes on",
  () =>
    on(["--processes", "4"], async (remote, worker) => {
      const controller = new AbortController();
      const reason = new DOMException("enough", "AbortError");
      let aborted = 0;
      const running = (place: number) =>
        place === 0 && setTimeout(() => ((aborted = performance.now()), controller.abort(reason)), 1500);
      await assert.rejects(remote.attendSeeded({ ...LONG, signal: controller.signal, onQueued: running }), reason);
      assert.ok(aborted > 0 && performance.now() - aborted < 6000, `${performance.now() - aborted} ms`);
      await attends(remote, 4, false);

      const session = await remote.session({ ranks: 4, heads: 8, kvHeads: 2, headDim: 32, capacity: 64 });
      const killed = remote.attendSeeded({
        ...LONG,
        onQueued: (place) => place === 0 && setTimeout(() => process.kill(worker.ranks[2], "SIGKILL"), 1000),
      });
      await assert.rejects(
        killed,
        (e: Error) => (e instanceof RankError || e instanceof RemoteError) && /start/.test(e.message),
      );
      await assert.rejects(session.drop(0), (e: Error) => e instanceof RemoteError && e.code === "unknown-session");
      await attends(remote, 4, false);
    }),
);

workerTest("a worker that is killed, and one with another token", () =>
  on([], async (remote, worker) => {
    await assert.rejects(Remote.connect(worker.address, { token: "another-token-than-its" }), (e: Error) =>
      e instanceof RemoteError && e.code === "bad-token" && !e.message.includes(worker.token) &&
      !e.message.includes("another-token"));
    const start = performance.now();
    const killed = remote.attendSeeded({
      ...LONG,
      onQueued: (place) =>
        place === 0 && setTimeout(() =>
          worker.process.kill("SIGKILL"), 500),
    });
    await assert.rejects(killed, (e: Error) =>
      e instanceof RemoteError && e.code === "lost" && /its result is unknown/.test(e.message));
    assert.ok(performance.now() - start < 20_000);
    assert.equal(remote.state, "lost");
  }));
