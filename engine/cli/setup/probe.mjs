// Asks the runtime that runs this file (Node or Deno) for a WebGPU adapter and a device, and prints what it got as one
// line of JSON: null when there is none.
// A process of its own, because the environment that chooses the Vulkan driver is read when a process starts, and
// because a driver may crash.
import process from "node:process";

// The object stays reachable until the end: Dawn aborts the process when it is collected.
const gpu = globalThis.Deno ? globalThis.navigator.gpu : (await import("webgpu")).create([]);
const adapter = await gpu?.requestAdapter({ powerPreference: "high-performance" });
let found = null;
if (adapter) {
  const { vendor, architecture, device, description, isFallbackAdapter } = adapter.info;
  const features = [...adapter.features].filter((name) => ["shader-f16", "subgroups", "timestamp-query"].includes(name))
    .sort();
  (await adapter.requestDevice()).destroy();
  const name = description || [vendor, architecture, device].filter(Boolean).join(" ");
  const software = (isFallbackAdapter ?? adapter.isFallbackAdapter ?? false) ||
    /swiftshader|llvmpipe|lavapipe|software|basic render/i.test(`${name} ${architecture} ${device}`);
  found = { name, software, features };
}
process.stdout.write(JSON.stringify(found) + "\n", () => process.exit(gpu ? 0 : 1));
