/** `ringside attend`, `session` and `bench` with seeded inputs and on a remote worker: results, errors, cancelling. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import test from "node:test";
import type { Facts } from "../../../cuda-bridge/client/types.ts";
import { attend } from "../../../engine/cli/attend.ts";
import { bench } from "../../../engine/cli/bench.ts";
import { session } from "../../../engine/cli/session.ts";
import { readNpy } from "../../../engine/tensor/npy.ts";
import { experiment } from "../../experiment.ts";
import { FACTS, fakeWorker, runValue, TOKEN } from "../bridge/fake-worker.ts";
import { type RealWorker, realWorker, workerTest } from "../bridge/real-worker.ts";
import { expectNoOverlap } from "../trace/overlaps.ts";
import { call, contents, type Document, inFolder, ringside, writeTensors } from "./command.ts";

type Printed = Document & {
  readonly remote?: { readonly address: string; readonly facts: Facts; readonly simulated: boolean };
  readonly verified?: {
    readonly rows: number;
    readonly maxOut: number;
    readonly maxLse: number;
    readonly tolerance: string;
    readonly passed: boolean;
    readonly worst: { readonly row: readonly number[] };
    readonly with: string;
  };
};

const SEEDED = ["--seed", "3", "--shape", "70:50,4,2,16"];

async function withReal(
  options: readonly string[],
  use: (worker: RealWorker, remote: string[]) => Promise<void>,
): Promise<void> {
  const worker = await realWorker(...options);
  try {
    await inFolder(async (folder) => {
      await writeFile(path.join(folder, "token"), `${worker.token}\n`);
      await use(worker, ["--remote", worker.address, "--token-file", path.join(folder, "token")]);
    });
    assert.ok(!worker.log().includes(worker.token));
  } finally {
    await worker.stop();
  }
}

test("seeded inputs on ranks here: the same numbers as from files, with verified rows and the check", () =>
  inFolder(async (folder) => {
    const at = (name: string) => path.join(folder, name);
    const { status, stdout, stderr } = await call(attend, [
      ...SEEDED,
      "--ranks",
      "3",
      "--backend",
      "cpu",
      "--check",
      "--verify-rows",
      "40",
      "--json",
      "--out",
      at("o.npy"),
    ]);
    assert.deepEqual([status, stderr], [0, ""]);
    const { verified, error, shape, remote } = JSON.parse(stdout) as Printed;
    assert.deepEqual([verified?.rows, verified?.passed, verified?.with, error?.passed, remote], [
      40,
      true,
      "float64",
      true,
      undefined,
    ]);
    assert.ok(verified!.maxOut > 0 && verified!.maxOut < 2e-6 && verified!.maxLse < 1e-5);
    assert.deepEqual(shape.sequences, [{ new: 70, cached: 50 }]);
    assert.deepEqual(readNpy(await readFile(at("o.npy")), "o.npy").shape, [70, 4, 16]);
    const split = await call(attend, [
      ...SEEDED,
      "--sequences",
      "30:50,40:0",
      "--ranks",
      "2",
      "--backend",
      "cpu",
      "--wire-dtype",
      "bf16",
      "--verify-rows",
      "16",
    ], { watched: true });
    assert.match(
      split.stdout,
      /^verified 16 rows here \(float64, \d+\.\d s\): out max .*: passed; nearest to its bar: token \d+, head \d \(\d+ keys\)/m,
    );
    assert.match(split.stdout, /30 new \+ 50 cached, 40 new \+ 0 cached/);
    assert.match(split.stderr, /verified 16 of 16 rows/);
  }));

test("options that exclude each other are refused before anything runs", () =>
  inFolder(async (folder) => {
    const files = await writeTensors(folder, experiment({ sequences: [{ new: 8, cached: 0 }] }));
    const remote = ["--remote", "ws://127.0.0.1:9", "--token", TOKEN];
    for (
      const [argv, message] of [
        [["--seed", "1"], /--seed: found alone, expected --seed S and --shape T\[:P\],H,Hkv,D together/],
        [["--shape", "8,4,2,16"], /--shape: found alone/],
        [["--seed", "1", "--shape", "8,4,16"], /--shape: found "8,4,16", expected T\[:P\],H,Hkv,D such as/],
        [["--seed", "1", "--shape", "0,4,2,16"], /T = 0/],
        [["--seed", "1", "--shape", "8,3,2,16"], /H a multiple of Hkv/],
        [["--seed", "-1", "--shape", "8,4,2,16"], /--seed/],
        [["--seed", "1", "--shape", "1048576,64,8,128", "--backend", "cpu"], /run it with --remote/],
        [["--seed=1", "--shape", "8:8,4,2,16", "--sequences", "9:7"], /--sequences: found 9 new tokens/],
        [[...SEEDED, ...files], /--seed: found beside --q/],
        [[...files, "--verify-rows", "4"], /--verify-rows: found without --seed/],
        [[...SEEDED, "--verify-rows", "0"], /--verify-rows: found "0"/],
        [[...SEEDED, "--verify-with", "float64"], /found without --verify-rows/],
        [[...SEEDED, "--token", TOKEN], /--token: found without --remote/],
        [[...SEEDED, "--token-file", "x"], /--token-file: found without --remote/],
        [[...SEEDED, ...remote, "--backend", "cpu"], /--backend: found beside --remote/],
        [[...SEEDED, ...remote, "--fault", "rank=0,hop=0"], /--fault: found beside --remote/],
        [[...SEEDED, ...remote, "--timeout", "5"], /--timeout: found beside --remote/],
        [[...SEEDED, ...remote, "--token-file", "x"], /found beside --token-file/],
        [
          [...SEEDED, ...remote, "--check", "--wire-dtype", "bf16"],
          /--check: found beside --remote and --wire-dtype bf16/,
        ],
        [
          [...SEEDED, "--remote", "ws://127.0.0.1:9", "--token-file", path.join(folder, "none")],
          /--token-file .*cannot be read/,
        ],
        [[...SEEDED, "--remote", "ws://127.0.0.1:9"], /--remote: found no token/],
        [[...SEEDED, "--remote", "nonsense", "--token", TOKEN], /remote address: found "nonsense"/],
        [[...SEEDED, "--remote", `ws://x:1/?${TOKEN}`, "--token", TOKEN], /a token does not belong in an address/],
      ] as [string[], RegExp][]
    ) {
      await assert.rejects(
        call(attend, argv),
        (e: Error) => e.name === "InputError" && message.test(e.message) && !e.message.includes(TOKEN),
        `${argv}`,
      );
    }
    await assert.rejects(call(bench, [...remote, "--sizes", "512"]), /--sizes: found beside --remote/);
    await assert.rejects(call(bench, ["--quick"]), /--quick: found without --remote/);
    await assert.rejects(
      call(session, [...files, ...remote, "--script", "x", "--fault", "rank=0,step=0"]),
      /--fault: found beside --remote/,
    );
    await assert.rejects(call(attend, [...SEEDED, ...remote]), {
      name: "RemoteError",
      message: /^ws:\/\/127\.0\.0\.1:9: the connection was refused.*check that the worker runs/,
    });
    for (const command of [attend, session, bench]) {
      const { stdout } = await call(command, ["--help"]);
      for (
        const option of [
          "remote",
          "token",
          "token-file",
          ...(command === attend ? ["seed", "shape", "verify-rows", "verify-with"] : []),
        ]
      ) assert.match(stdout, new RegExp(`--${option}\\b`));
    }
  }));

test("wrong rows from a worker: status 1 and the row; the token from RINGSIDE_TOKEN; bench prints the worker's figures", async () => {
  const before = process.env.RINGSIDE_TOKEN;
  process.env.RINGSIDE_TOKEN = TOKEN;
  const value = {
    benchmark: "a fake",
    bars: [{ name: "speed", bar: 1, passed: true }],
    attention: [{ tokens: 8, rings: [{ ranks: 2, seconds: 0.5 }] }],
    ceilings: { copy: { rate: 12345.678 } },
  };
  const worker = await fakeWorker(async (peer) => {
    assert.equal((await peer.hears((m) => m.type === "hello")).token, TOKEN);
    await peer.greet();
    const { id, method } = await peer.call();
    if (method === "bench") return peer.say({ type: "result", id, value, tensors: {} });
    peer.say({
      type: "result",
      id,
      value: runValue(),
      tensors: {
        out: { stream: 1, dtype: "f32", shape: [4, 16], bytes: 256 },
        lse: { stream: 2, dtype: "f32", shape: [4], bytes: 16 },
      },
    });
    for (const [stream, size] of [[1, 256], [2, 16]]) {
      const frame = new Uint8Array(16 + size);
      frame.set([0x52, 0x53, 0x42, 0x31, stream]);
      peer.socket.send(frame);
    }
  });
  try {
    const remote = ["--remote", worker.url];
    const wrong = await call(attend, [...SEEDED, ...remote, "--verify-rows", "4", "--json"]);
    const { verified, remote: ran, backend } = JSON.parse(wrong.stdout) as Printed;
    assert.deepEqual([wrong.status, verified?.passed, verified?.rows, backend, ran?.facts], [
      1,
      false,
      4,
      "remote",
      FACTS,
    ]);
    assert.match(
      (await call(attend, [...SEEDED, ...remote, "--verify-rows", "4"])).stdout,
      /FAILED; nearest to its bar: token/,
    );
    const json = await call(bench, [...remote, "--json", "--quick"]);
    assert.deepEqual([json.status, JSON.parse(json.stdout).facts, JSON.parse(json.stdout).bars], [
      0,
      FACTS,
      value.bars,
    ]);
    const text = await call(bench, remote);
    for (
      const part of [
        /^benchmark: a fake$/m,
        /^copy|ceilings\.copy/m,
        /rate: 1\.235e\+4/,
        /attention\[0\]\.rings/,
        /speed +1 +true/,
      ]
    ) assert.match(text.stdout, part);
    assert.deepEqual(worker.peers.flatMap((p) => p.complaints), []);
  } finally {
    await worker.close();
    if (before === undefined) delete process.env.RINGSIDE_TOKEN;
    else process.env.RINGSIDE_TOKEN = before;
  }
});

workerTest(
  "four gloo ranks: --verify-rows 64 --json; own tensors with the check; a session; all as commands",
  () =>
    withReal(["--processes", "4"], async (worker, remote) => {
      const seeded = ringside([
        "attend",
        "--seed",
        "1",
        "--shape",
        "2048,16,1,128",
        "--wire-dtype",
        "bf16",
        ...remote,
        "--verify-rows",
        "64",
        "--json",
      ], ".");
      const { status, stdout, stderr } = await seeded.ended;
      assert.equal(status, 0, stderr);
      const printed = JSON.parse(stdout) as Printed;
      assert.deepEqual([
        printed.verified?.rows,
        printed.verified?.passed,
        printed.backend,
        printed.ranks,
        printed.wireDtype,
      ], [64, true, "remote", 4, "bf16"]);
      assert.deepEqual([
        printed.remote?.address,
        printed.remote?.simulated,
        printed.remote?.facts.processes,
        printed.remote?.facts.backend,
      ], [worker.address, false, 4, "gloo"]);
      assert.ok(printed.verified!.maxOut > 0 && printed.verified!.worst.row.length === 2);
      assert.ok(!`${stdout}${stderr}`.includes(worker.token));
      await inFolder(async (folder) => {
        const at = (name: string) => path.join(folder, name);
        const input = experiment({ sequences: [{ new: 40, cached: 24 }], heads: 8, kvHeads: 2, headDim: 16 });
        const own = await call(attend, [
          ...await writeTensors(folder, input),
          ...remote,
          "--variant",
          "pass-q",
          "--check",
          "--out",
          at("o.npy"),
          "--trace",
          at("t.json"),
        ], { watched: true });
        assert.equal(own.status, 0);
        assert.match(own.stdout, /^worker: +ws:.*: 4 processes \(gloo\), torch /m);
        assert.match(own.stdout, /: passed$/m);
        assert.doesNotMatch(own.stdout, /NaN|undefined/);
        assert.match(own.stderr, /of 16 hops/);
        assert.ok(expectNoOverlap(await readFile(at("t.json"), "utf8")) > 8);
        const rows = experiment({ sequences: [{ new: 60, cached: 0 }], heads: 8, kvHeads: 2, headDim: 16 });
        await writeFile(
          at("s.json"),
          JSON.stringify({
            sequences: [{ rows: 40 }, { rows: 20 }],
            steps: [{ 0: 30, 1: 12 }, { 0: 1, 1: 1 }, { 1: 7 }],
          }),
        );
        const talk = await call(session, [
          ...await writeTensors(folder, rows),
          "--script",
          at("s.json"),
          ...remote,
          "--check",
          "--json",
        ]);
        const document = JSON.parse(talk.stdout);
        assert.deepEqual([
          talk.status,
          document.error.passed,
          document.backend,
          document.remote.address,
          document.steps.length,
        ], [0, true, "remote", worker.address, 3]);
      });
    }),
);

workerTest(
  "Ctrl-C cancels on the worker, which is then free; a worker killed under a run ends the command",
  () =>
    withReal(["--processes", "2"], async (worker, remote) => {
      const long = ["attend", "--seed", "1", "--shape", "200000,16,1,128", "--ranks", "2", ...remote];
      const until = async (n: number, what: RegExp) => {
        for (const start = performance.now(); (worker.log().match(what) ?? []).length < n;) {
          assert.ok(performance.now() - start < 60_000, worker.log());
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      };
      await inFolder(async (folder) => {
        const first = ringside([...long, "--trace", path.join(folder, "t.json")], ".");
        await until(1, /is connected/g);
        await new Promise((resolve) => setTimeout(resolve, 1500));
        first.child.kill("SIGINT");
        const { status, stderr } = await first.ended;
        assert.deepEqual([status, stderr], [130, "ringside: cancelled\n"]);
        await until(1, /attend 1: cancelled/g);
        assert.deepEqual(await contents(folder), {});
      });
      assert.equal((await call(attend, [...SEEDED, "--ranks", "2", ...remote, "--verify-rows", "8"])).status, 0);
      const second = ringside(long, ".");
      await until(3, /is connected/g);
      await new Promise((resolve) => setTimeout(resolve, 1500));
      worker.process.kill("SIGKILL");
      const { status, stderr } = await second.ended;
      assert.equal(status, 1);
      assert.match(
        stderr,
        /^ringside: ws:.*the connection was lost.* while attend was under way: its result is unknown; nothing was run again/,
      );
    }),
);
