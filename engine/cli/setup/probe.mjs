// Asks the runtime that runs this file (Node or Deno) for a WebGPU adapter and a device. Prints the adapter as one line
// of JSON, or null.
//
// It is a separate process for two reasons: the Vulkan loader reads its environment variables when a process starts,
// and a driver may crash.
import process from "node:process";

// Keep this object reachable until the end: Dawn aborts the process if it is garbage-collected.
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
