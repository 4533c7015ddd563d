/** The words of the command line: commands, help, the version, and numbers as people write them. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { attend } from "../../../engine/cli/attend.ts";
import { compare } from "../../../engine/cli/compare.ts";
import { vectors } from "../../../engine/cli/vectors.ts";
import { layout } from "../../../engine/cli/layout.ts";
import { trace } from "../../../engine/cli/trace.ts";
import { bench } from "../../../engine/cli/bench.ts";
import { OPTION } from "../../../engine/cli/help.ts";
import { linkOption, ratesOption, sequencesOption, wholeOption } from "../../../engine/cli/options.ts";
import { paper } from "../../../engine/cli/paper.ts";
import { plan } from "../../../engine/cli/plan.ts";
import { policy } from "../../../engine/cli/policy.ts";
import { seededOption } from "../../../engine/cli/seeded.ts";
import { selftest } from "../../../engine/cli/selftest.ts";
import { session } from "../../../engine/cli/session.ts";
import { InputError } from "../../../engine/errors.ts";
import { call, findRoot, inFolder, ringside } from "./command.ts";

test("help, help of a command, the version, and a command nearly right", () =>
  inFolder(async (folder) => {
    const run = async (...args: string[]) => await ringside(args, folder).ended;
    const { version } = JSON.parse(await readFile(path.join(findRoot(), "package.json"), "utf8")) as {
      version: string;
    };
    const [help, attendHelp, printed, wrong, far] = [
      await run("help"),
      await run("help", "attend"),
      await run("--version"),
      await run("atend"),
      await run("zebra"),
    ];
    assert.deepEqual([help.status, printed.status, attendHelp.status, wrong.status, far.status], [0, 0, 0, 2, 2]);
    assert.match(help.stdout, /^ringside COMMAND \[options\]/);
    assert.match(attendHelp.stdout, /^ringside attend: /);
    assert.equal(printed.stdout, `ringside ${version}\n`);
    assert.match(wrong.stderr, /^ringside: found command "atend", expected attend, .*; did you mean "attend"\?\n$/);
    assert.match(far.stderr, /^ringside: found command "zebra", expected [^;]*\n$/);
    const commands = [...help.stdout.matchAll(/^ {2}(\w+) {2,}\S/gm)].map(([, name]) => name);
    assert.ok(far.stderr.includes(`expected ${commands.join(", ")}`), `help.txt lists ${commands}`);
  }));

test("an option in place of a command, and a misspelt --runtime, are refused with the closest option", () =>
  inFolder(async (folder) => {
    for (
      const [args, hint] of [
        [["-v"], "; did you mean --version (-V)?"],
        [["--versoin"], "; did you mean --version?"],
        [["--hepl"], "; did you mean --help?"],
        [["--runtiem", "deno", "paper"], "; did you mean --runtime R?"],
        [["--zebra"], ""],
      ] as const
    ) {
      const { status, stdout, stderr } = await ringside(args, folder).ended;
      assert.deepEqual([status, stdout], [2, ""], args.join(" "));
      assert.ok(stderr.startsWith(`ringside: found the option "${args[0]}" in place of a command, expected attend, `));
      assert.ok(stderr.endsWith(`--help, --version or --runtime R${hint}\n`), stderr);
    }
    await assert.rejects(
      call((argv, io) => policy(argv, io), ["--runtme", "deno"]),
      /^InputError: Unknown option '--runtme'; known options: --new, .*; did you mean --runtime\?$/,
    );
  }));

/** A command's `--help` as lines by option: "--ranks N" to its text. */
function optionsOf(help: string): Map<string, string> {
  const entries = help.split(/^ {2}(?=--)/m).slice(1).map((entry): [string, string] => {
    const lines = entry.split("\n").filter((line, i) => i === 0 || line.startsWith(" ".repeat(24)));
    const [, option, first] = /^(--\S+(?: \S+)*)(?: {2,}(.*))?$/.exec(lines[0])!;
    return [option, [first ?? "", ...lines.slice(1).map((line) => line.trim())].join(" ").trim()];
  });
  return new Map(entries);
}

test("--help: lines of at most 100 characters; options of several commands have one text", async () => {
  const commands = { attend, session, compare, vectors, layout, trace, bench, selftest, plan, policy, paper };
  const texts = new Map<string, Set<string>>();
  for (const [name, command] of Object.entries(commands)) {
    const { stdout } = await call((argv, io) => command(argv, io), ["--help"]);
    assert.match(stdout, new RegExp(`^ringside ${name}: `));
    for (const line of stdout.split("\n")) assert.ok(line.length <= 100, `${name}: ${line}`);
    const options = optionsOf(stdout);
    assert.ok(options.size > 0, name);
    for (const [option, text] of options) {
      assert.notEqual(text, "", `${name} ${option}`);
      texts.set(option, (texts.get(option) ?? new Set()).add(text));
    }
  }
  // A command may add its default or another remark in brackets.
  for (const [option, text] of Object.values(OPTION)) {
    const found = [...texts.get(option) ?? []];
    assert.ok(found.length > 0, option);
    for (const one of found) assert.ok(one === text || one.startsWith(`${text} (`), `${option}: ${one}`);
  }
});

test("every option reads counts and rates as people write them", async () => {
  for (const text of ["128k", "128K", "128_000", "128000", "1.28e5"]) {
    assert.equal(wholeOption("--new", text, 1), 128_000, text);
  }
  assert.equal(wholeOption("--new", "128Ki", 1), 131_072);
  assert.throws(() => wholeOption("--new", "1.5", 1), InputError);
  for (const text of ["1Gbps,1e-6", "1gbps,1e-6"]) {
    assert.deepEqual(linkOption(text), { bandwidth: 1.25e8, latency: 1e-6 });
  }
  assert.throws(() => linkOption("1gb/s,0"), /found "1gb\/s,0", expected BYTES_PER_S,LATENCY_S such as .*50GB\/s,1e-6/);
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

test("a scale of 0 for a worker is refused before the connection", async () => {
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
        error.message === "--scale: found 0, expected a number above 0: the machine that computes takes no other",
    );
  }
});

test("an output cannot be a session's script or its tensors' file", () =>
  inFolder(async (folder) => {
    const [script, tensors] = [path.join(folder, "s.json"), path.join(folder, "t.safetensors")];
    for (const [option, file] of [["--script", script], ["--tensors", tensors]] as const) {
      await assert.rejects(call(session, ["--tensors", tensors, "--script", script, "--out", file]), (error: unknown) =>
        error instanceof InputError &&
        error.message === `--out ${file}: ${option} names the same file, expected different ones`);
    }
  }));

test("an output cannot be one of the profiler traces that trace reads", () =>
  inFolder(async (folder) => {
    const file = path.join(folder, "rank0.json");
    await writeFile(file, "{}");
    await assert.rejects(call(trace, [file, "--trace", file]), {
      name: "InputError",
      message: `--trace ${file}: input ${file} names the same file, expected different ones`,
    });
  }));
