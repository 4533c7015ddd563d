/** `ringside attend` as a process: exit statuses, stdout, stderr and Ctrl-C. */
import assert from "node:assert/strict";
import { type ChildProcess, spawnSync } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import process from "node:process";
import test from "node:test";
import { reference } from "../../../engine/reference/attention.ts";
import { difference } from "../../../engine/reference/error.ts";
import { writeNpy } from "../../../engine/tensor/npy.ts";
import { writeSafetensors } from "../../../engine/tensor/safetensors.ts";
import { experiment } from "../../experiment.ts";
import { contents, type Document, findRoot, inFolder, readOutput, ringside, runtime, writeTensors } from "./command.ts";
import { patience } from "../../patience.ts";
import { nodeFirst } from "../../tiers.ts";

const input = experiment({ sequences: [{ new: 29, cached: 14 }], heads: 4, kvHeads: 2 });
const OUTPUTS = ["--out", "o.npy", "--lse", "l.npy", "--trace", "t.json"];

test("--json from a safetensors file on the adapter: status 0, one JSON document on stdout, nothing on stderr", () =>
  inFolder(async (folder) => {
    const { q, k, v } = input;
    await writeFile(
      path.join(folder, "f.safetensors"),
      writeSafetensors({
        q: { shape: [29, 4, 16], dtype: "f32", data: q },
        k: { shape: [43, 2, 16], dtype: "f32", data: k },
        v: { shape: [43, 2, 16], dtype: "f32", data: v },
      }),
    );
    const { status, stdout, stderr } = await ringside([
      "attend",
      "--tensors",
      "f.safetensors",
      "--ranks",
      "2",
      "--check",
      "--json",
      ...OUTPUTS,
    ], folder).ended;
    assert.deepEqual([status, stderr], [0, ""]);
    const report = JSON.parse(stdout) as Document;
    assert.deepEqual([report.runtime, report.backend, report.ranks, report.error?.passed], [
      runtime,
      "webgpu",
      2,
      true,
    ]);
    // The launcher reports the source of the adapter.
    assert.ok(report.adapterSource, "no adapterSource");
    assert.ok(difference((await readOutput(folder, "o.npy")).data, reference(input).out).within);
    assert.deepEqual(Object.keys(await contents(folder)), ["f.safetensors", "l.npy", "o.npy", "t.json"]);
  }));

test("bad input: status 2, one line on stderr, nothing on stdout, nothing written", () =>
  inFolder(async (folder) => {
    await writeTensors(folder, input);
    await writeFile(path.join(folder, "bad.npy"), writeNpy([29, 3, 16], new Float32Array(29 * 3 * 16)));
    const before = await contents(folder);
    for (
      const [args, says] of [
        [["--q", "bad.npy"], /^ringside: bad\.npy and k\.npy: heads: found H = 3 /],
        [["--ranks", "0"], /^ringside: --ranks: found "0", expected /],
        [["--mask", "window"], /^ringside: --mask: found "window", expected window:W, W a whole number /],
        [["--colour"], /^ringside: Unknown option '--colour'/],
        [["--out", "none/o.npy"], /^ringside: --out none\/o\.npy: found no folder none/],
      ] as const
    ) {
      const ended = await ringside([
        "attend",
        "--q",
        "q.npy",
        "--k",
        "k.npy",
        "--v",
        "v.npy",
        "--backend",
        "cpu",
        "--json",
        ...OUTPUTS,
        ...args,
      ], folder).ended;
      assert.deepEqual([ended.status, ended.stdout], [2, ""], ended.stderr);
      assert.match(ended.stderr, says);
      assert.match(ended.stderr, /^[^\n]+\n$/);
    }
    assert.deepEqual(await contents(folder), before);
  }));

test("no command, an unknown one, and --help", () =>
  inFolder(async (folder) => {
    const none = await ringside([], folder).ended;
    assert.deepEqual([none.status, none.stdout], [2, ""]);
    assert.match(none.stderr, /^ringside COMMAND \[options\]/);
    const unknown = await ringside(["atend"], folder).ended;
    assert.deepEqual([unknown.status, unknown.stdout], [2, ""]);
    assert.match(unknown.stderr, /^ringside: found command "atend", expected attend, .*\n$/);
    const help = await ringside(["--help"], folder).ended;
    assert.deepEqual([help.status, help.stderr], [0, ""]);
    assert.match(help.stdout, /^ {2}attend +\S/m);
  }));

test("a failed rank: status 1, one line that names it, no file", () =>
  inFolder(async (folder) => {
    const options = [
      ...(await writeTensors(folder, input)),
      "--ranks",
      "2",
      "--backend",
      "cpu",
      "--timeout",
      "2",
      "--json",
      ...OUTPUTS,
    ];
    const before = await contents(folder);
    const { status, stdout, stderr } = await ringside(
      ["attend", ...options, "--fault", "rank=1,hop=0,kind=drop"],
      folder,
    ).ended;
    assert.deepEqual([status, stdout], [1, ""]);
    assert.match(stderr, /^ringside: rank 0, hop 0: [^\n]* \(awaited: the chunk of hop 0 from rank 1\)\n$/);
    assert.deepEqual(await contents(folder), before);
  }));

/** The process that computes for a command, once it has started. */
async function computing(command: ChildProcess): Promise<number> {
  for (let tries = 0;; tries++) {
    const pid = spawnSync("pgrep", ["-P", String(command.pid), "-f", "cli/main"], { encoding: "utf8" }).stdout.trim();
    if (pid !== "") return Number(pid.split("\n")[0]);
    assert.ok(tries < 600, "no child process in a minute");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Starts a run over a link on which a chunk takes 23 s, and interrupts it like Ctrl-C `after` milliseconds. */
async function interrupt(backend: string, after: number): Promise<void> {
  await inFolder(async (folder) => {
    const options = [
      ...(await writeTensors(folder, input)),
      "--ranks",
      "2",
      "--backend",
      backend,
      "--link",
      "250,0.1",
      "--check",
      ...OUTPUTS,
    ];
    const before = await contents(folder);
    const { child, ended } = ringside(["attend", ...options], folder);
    await computing(child);
    await new Promise((resolve) => setTimeout(resolve, after));
    assert.equal(child.exitCode, null, "the run ended before its interruption");
    const start = performance.now();
    child.kill("SIGINT");
    const { status, stdout, stderr } = await ended;
    const took = performance.now() - start;
    assert.deepEqual([status, stdout, stderr], [130, "", "ringside: cancelled\n"]);
    assert.ok(took < patience(3000), `it took ${took} ms to end`);
    assert.deepEqual(await contents(folder), before, "neither an output nor a .partial file is left");
  });
}

test(
  "Ctrl-C while a chunk is on a slow link: status 130 at once, no file left",
  nodeFirst,
  () => interrupt("cpu", 1000),
);

test("Ctrl-C on the adapter: status 130 at once, no file left", nodeFirst, () => interrupt("webgpu", 2000));

test("kill -9 of the command also ends the process that computes for it", () =>
  inFolder(async (folder) => {
    const options = [...(await writeTensors(folder, input)), "--ranks", "2", "--backend", "cpu", "--link", "1000,0.1"];
    const { child } = ringside(["attend", ...options], folder);
    const pid = await computing(child);
    child.kill("SIGKILL");
    const lives = () => readFile(`/proc/${pid}/stat`, "utf8").then((stat) => !/\) Z /.test(stat), () => false);
    for (let tries = 0; await lives(); tries++) {
      assert.ok(tries < 50, "the child still runs 5 s later");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }));

test("a reader that stops early is not a fault; a full disk gives one line and status 1", () => {
  const shell = (to: string) => {
    const command = `${runtime === "node" ? process.execPath : "node"} ${
      path.join(findRoot(), "engine", "cli", "ringside.mjs")
    } paper --runtime ${runtime}`;
    const { status, stderr } = spawnSync("bash", ["-c", `set -o pipefail; ${command} ${to}`], { encoding: "utf8" });
    return { status, stderr };
  };
  assert.deepEqual(shell("| head -n 1 > /dev/null"), { status: 0, stderr: "" });
  const { status, stderr } = shell("> /dev/full");
  assert.equal(status, 1);
  assert.match(stderr, /^ringside: standard output cannot be written \(.*\)[^\n]*\n$/);
});
