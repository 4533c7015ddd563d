/** Starts main.js on WebGPU, in the environment of the adapter that the package finds for Node. */
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { type Adapter, findAdapter } from "ringside-cp/adapters";

const { env }: Adapter = await findAdapter("node");
const main = fileURLToPath(new URL("./main.js", import.meta.url));
const child = spawn(process.execPath, [main, "webgpu"], { env, stdio: "inherit" });
child.on("exit", (status) => process.exit(status ?? 1));
