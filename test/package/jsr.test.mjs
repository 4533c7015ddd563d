/** JSR would take the sources as they are, and every exported symbol has its documentation. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import test from "node:test";
import { denoPath } from "../../engine/cli/setup/common.mjs";
import { command, root } from "./project.mjs";

const env = { ...process.env, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };
const { exports } = JSON.parse(readFileSync(path.join(root, "jsr.json"), "utf8"));

test("JSR's dry run passes", async () => {
  const args = ["publish", "--dry-run", "--allow-dirty", "--config", "jsr.json"];
  const { out, err } = await command(denoPath(), args, { cwd: root, env });
  assert.doesNotMatch(out + err, /warning\[/);
});

test("every exported symbol is documented", async () => {
  await command(denoPath(), ["doc", "--lint", ...Object.values(exports)], { cwd: root, env });
});
