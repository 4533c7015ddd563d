/**
 * `npm run soak`: many random scripts with faults at any moment, and many damaged snapshots. Ends with status 1 at the
 * first mistake.
 */
import process from "node:process";
import { parseArgs } from "node:util";
import { testPlatform } from "../platform.ts";
import { damaged } from "./snapshots.ts";
import { soak } from "./soak.ts";

const { values } = parseArgs({
  options: {
    cpu: { type: "string", default: "500" },
    webgpu: { type: "string", default: "60" },
    snapshots: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
  },
});
const platform = await testPlatform();
for (const backend of ["cpu", "webgpu"] as const) {
  for (let i = 0; i < Number(values[backend]); i++) {
    await soak(platform, backend, Number(values.seed) + i);
    if (i % 10 === 9) console.log(`${backend}: ${i + 1} scripts`);
  }
}
console.log(`snapshots: ${JSON.stringify(await damaged(platform, Number(values.snapshots)))}`);
console.log(
  `soak: ${values.cpu} scripts on the CPU, ${values.webgpu} on the adapter: ` +
    "no wrong result, nothing lost, nothing left running",
);
if ("Deno" in globalThis) process.exit(0);
