/** Output files: all or none, even if something is in the way; and a killed command's files don't stay for ever. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, readdir, readFile, readlink, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import test from "node:test";
import { checkOutputs, writeOutputs } from "../../../engine/cli/io.ts";
import { InputError } from "../../../engine/errors.ts";
import { contents, inFolder } from "./command.ts";

test("all outputs are written or none: the old files come back", async () => {
  await inFolder(async (folder) => {
    const at = (name: string) => path.join(folder, name);
    await writeFile(at("o.npy"), "old");
    await mkdir(at("lse.npy"));
    await assert.rejects(checkOutputs({ "--out": at("o.npy"), "--lse": at("lse.npy") }), InputError);
    // This folder appeared after the check.
    const before = await contents(folder);
    await assert.rejects(
      writeOutputs([[at("new.npy"), "new"], [at("o.npy"), "new"], [at("lse.npy"), "new"]]),
      /cannot be written \(.*\), so none was/,
    );
    assert.deepEqual(await contents(folder), before);
    await writeOutputs([[at("o.npy"), "new"], [at("trace.json"), "{}"]]);
    assert.equal(await readFile(at("o.npy"), "utf8"), "new");
    assert.deepEqual((await readdir(folder)).sort(), ["lse.npy", "o.npy", "trace.json"]);
  });
});

test("links are followed, even to a missing file; two names of one file, and a loop, are refused", async () => {
  await inFolder(async (folder) => {
    const at = (name: string) => path.join(folder, name);
    await symlink("o.npy", at("to-o.npy"));
    await symlink("loop.npy", at("loop.npy"));
    await assert.rejects(
      checkOutputs({ "--out": at("o.npy"), "--trace": at("to-o.npy") }),
      /--out names the same file/,
    );
    await assert.rejects(checkOutputs({ "--out": at("loop.npy") }), /a link that leads to itself/);
    await writeOutputs([[at("to-o.npy"), "new"]]);
    assert.equal(await readlink(at("to-o.npy")), "o.npy");
    assert.equal(await readFile(at("o.npy"), "utf8"), "new");
  });
});

test("the next command removes a killed command's files, but not those that others still write", async () => {
  await inFolder(async (folder) => {
    const dead = spawnSync(process.execPath, ["--version"]).pid;
    const name = (of: string, host: string, pid: number) => `.${of}.${host}.${pid}.0123456789ab.partial`;
    const [left, mine, theirs, other] = [
      name("o.npy", os.hostname(), dead),
      name("o.npy", os.hostname(), process.pid),
      name("o.npy", "elsewhere", dead),
      ".o.npy.partial",
    ];
    for (const file of [left, mine, theirs, other]) await writeFile(path.join(folder, file), "");
    await checkOutputs({ "--out": path.join(folder, "x.npy") });
    assert.deepEqual((await readdir(folder)).sort(), [mine, theirs, other].sort());
  });
});
