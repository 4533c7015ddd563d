/** The words of the command line: commands, help, the version, and numbers as people write them. */
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { attend } from "../../../engine/cli/attend.ts";
import { linkOption, ratesOption, sequencesOption, wholeOption } from "../../../engine/cli/options.ts";
import { plan } from "../../../engine/cli/plan.ts";
import { policy } from "../../../engine/cli/policy.ts";
import { seededOption } from "../../../engine/cli/seeded.ts";
import { session } from "../../../engine/cli/session.ts";
import { InputError } from "../../../engine/errors.ts";
import { call, findRoot, inFolder, ringside } from "./command.ts";

test("help, help of a command, the version, and a command nearly right", () =>
  inFolder(async (folder) => {
    const said = async (...args: string[]) => await ringside(args, folder).ended;
    const { version } = JSON.parse(await readFile(path.join(findRoot(), "package.json"), "utf8")) as {
      version: string;
    };
    const [help, attendHelp, asked, wrong, far] = [
      await said("help"),
      await said("help", "attend"),
      await said("--version"),
      await said("atend"),
      await said("zebra"),
    ];
    assert.deepEqual([help.status, asked.status, attendHelp.status, wrong.status, far.status], [0, 0, 0, 2, 2]);
    assert.match(help.stdout, /^ringside COMMAND \[options\]/);
    assert.match(attendHelp.stdout, /^ringside attend: /);
    assert.equal(asked.stdout, `ringside ${version}\n`);
    assert.match(wrong.stderr, /^ringside: found command "atend", expected attend, .*; did you mean "attend"\?\n$/);
    assert.match(far.stderr, /^ringside: found command "zebra", expected [^;]*\n$/);
  }));

test("counts and rates are read as people write them, in every option", async () => {
  for (const text of ["128k", "128K", "128_000", "128000", "1.28e5"]) {
    assert.equal(wholeOption("--new", text, 1), 128_000, text);
  }
  assert.equal(wholeOption("--new", "128Ki", 1), 131_072);
  assert.throws(() => wholeOption("--new", "1.5", 1), InputError);
  assert.deepEqual(linkOption("1Gbps,1e-6"), { bandwidth: 1.25e8, latency: 1e-6 });
  assert.deepEqual(linkOption("50GB/s,0"), { bandwidth: 5e10, latency: 0 });
  assert.deepEqual(ratesOption("500T,400Gbps"), { flops: 5e14, bandwidth: 5e10 });
  assert.deepEqual(sequencesOption("4k:128k, 1:0"), [{ new: 4000, cached: 128_000 }, { new: 1, cached: 0 }]);
  assert.deepEqual(seededOption("1", "128k:1M,16,1,128", undefined)?.sequences, [{ new: 128_000, cached: 1_000_000 }]);
  for (const shape of ["", "1,2,3", "1:2:3,1,1,16", "1,2,3,4,5", "x,1,1,16", "-1,1,1,16", ",1,1,16", "1.5,1,1,16"]) {
    assert.throws(() => seededOption("1", shape, undefined), InputError, shape);
  }
  const { stdout } = await call((argv, io) => policy(argv, io), [
    "--new",
    "128k",
    "--ranks",
    "4",
    "--heads",
    "128",
    "--kv-heads",
    "8",
    "--bandwidth",
    "400Gbps",
    "--flops",
    "800T",
    "--json",
  ]);
  const plain = await call((argv, io) => policy(argv, io), [
    "--new",
    "128000",
    "--ranks",
    "4",
    "--heads",
    "128",
    "--kv-heads",
    "8",
    "--json",
  ]);
  assert.equal(stdout, plain.stdout);
  assert.equal(
    (JSON.parse(
      (await call((argv, io) => plan(argv, io), ["--new", "128k", "--cached", "1_000", "--json"])).stdout,
    ) as { new: number })
      .new,
    128_000,
  );
});

test("a scale of 0 for a worker is refused here, before it is asked", async () => {
  const remote = ["--remote", "ws://127.0.0.1:1", "--token", "x", "--scale", "0"];
  for (
    const [command, more] of [[attend, ["--seed", "1", "--shape", "8,1,1,16"]], [session, [
      "--script",
      "none.json",
    ]]] as const
  ) {
    await assert.rejects(
      call(command, [...remote, ...more]),
      (error: unknown) =>
        error instanceof InputError &&
        error.message === "--scale: found 0, expected a number above 0: a remote worker takes no other",
    );
  }
});

test("a session's script is no output, nor is its tensors' file", () =>
  inFolder(async (folder) => {
    const [script, tensors] = [path.join(folder, "s.json"), path.join(folder, "t.safetensors")];
    for (const [option, file] of [["--script", script], ["--tensors", tensors]] as const) {
      await assert.rejects(call(session, ["--tensors", tensors, "--script", script, "--out", file]), (error: unknown) =>
        error instanceof InputError &&
        error.message === `--out ${file}: ${option} names the same file, expected different ones`);
    }
  }));
