// `npm run soak -- [--runtime node|deno] [--cpu N] [--webgpu N] [--snapshots N] [--seed S]`: runs random scripts with
// faults at any moment (test/soak/) on this machine's adapter.
import path from "node:path";
import process from "node:process";
import { findAdapter } from "./adapter.mjs";
import { build } from "./build.mjs";
import { denoPath, endOnSignal, root, run, runMain, SetupError } from "./common.mjs";

runMain(async (args) => {
  const at = args.indexOf("--runtime");
  const [, runtime] = at < 0 ? [, "node"] : args.splice(at, 2);
  if (runtime !== "node" && runtime !== "deno") {
    throw new SetupError(`--runtime: found "${runtime ?? ""}", expected node or deno`, 2);
  }
  endOnSignal();
  await build();
  const { env } = await findAdapter(runtime);
  const file = path.join("test", "soak", "main");
  const command = runtime === "deno"
    ? [denoPath(), "run", "-A", "--no-check", path.join(root, `${file}.ts`)]
    : [process.execPath, path.join(root, "dist", `${file}.js`)];
  const { code } = await run(command[0], [...command.slice(1), ...args], {
    env: { ...env, DENO_NO_UPDATE_CHECK: "1" },
  });
  return code;
});
