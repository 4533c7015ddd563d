// The set-up gives this runtime a WebGPU adapter that computes, and the launcher refuses impossible requests with one
// clear message. (The stage "adapters" of `npm test` tests Chromium's adapter.)
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

/** The project's folder, from test/ (Deno) and from dist/test/ (Node) alike. */
function findRoot(): string {
  let folder = path.dirname(fileURLToPath(import.meta.url));
  while (!existsSync(path.join(folder, "package.json"))) folder = path.dirname(folder);
  return folder;
}

function ringside(args: string[], env: Record<string, string | undefined> = {}) {
  return spawnSync("node", [path.join(findRoot(), "engine", "cli", "ringside.mjs"), ...args], {
    encoding: "utf8",
    env: { ...process.env, ...env },
    timeout: 60_000,
  });
}

/** WebGPU's numbers for buffer usages. Node has no global with their names. */
const MAP_READ = 1, COPY_SRC = 4, COPY_DST = 8, STORAGE = 128;

const gpu: GPU = "Deno" in globalThis ? navigator.gpu : await (await import("../../../engine/rank/dawn.ts")).openDawn();

test("this runtime has an adapter, and a shader computes on it", async () => {
  const adapter = await gpu.requestAdapter();
  assert.ok(adapter, "no WebGPU adapter: run the tests through `npm test`, which sets the environment for it");
  const device = await adapter.requestDevice();
  try {
    const code = `
      @group(0) @binding(0) var<storage, read_write> x: array<f32>;
      @compute @workgroup_size(4)
      fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] = 2 * x[id.x]; }`;
    const pipeline = device.createComputePipeline({
      layout: "auto",
      compute: { module: device.createShaderModule({ code }), entryPoint: "main" },
    });
    const buffer = device.createBuffer({ size: 16, usage: STORAGE | COPY_SRC | COPY_DST });
    const read = device.createBuffer({ size: 16, usage: MAP_READ | COPY_DST });
    device.queue.writeBuffer(buffer, 0, new Float32Array([1, 2, 3, -4.5]));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({
        layout: pipeline.getBindGroupLayout(0),
        entries: [{ binding: 0, resource: { buffer } }],
      }),
    );
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(buffer, 0, read, 0, 16);
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(MAP_READ);
    const result = [...new Float32Array(read.getMappedRange().slice(0))];
    read.unmap();
    assert.deepEqual(result, [2, 4, 6, -9]);
  } finally {
    device.destroy();
  }
});

test("a RINGSIDE_PYTHON that cannot run is refused, and no other Python replaces it", () => {
  const script = path.join(findRoot(), "engine", "cli", "setup", "python.mjs");
  const { status, stdout, stderr } = spawnSync("node", [script, "--install"], {
    encoding: "utf8",
    env: { ...process.env, RINGSIDE_PYTHON: "/no/such/python" },
    timeout: 60_000,
  });
  assert.deepEqual([status, stdout, stderr], [
    1,
    "",
    'ringside: RINGSIDE_PYTHON: "/no/such/python" is not a working Python\n',
  ]);
});

test("an unknown runtime is refused with status 2 and one line", () => {
  for (const args of [["--runtime", "foo", "attend"], ["selftest", "--runtime=foo"], ["--runtime"]]) {
    const { status, stdout, stderr } = ringside(args);
    assert.equal(status, 2, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, /^ringside: --runtime: found "(foo)?", expected node or deno\n$/);
  }
});

test("if the user's driver does not work, an error names it, and no other driver replaces it", () => {
  for (const runtime of ["node", "deno"]) {
    const { status, stdout, stderr } = ringside(["selftest", "--runtime", runtime], {
      VK_ICD_FILENAMES: "/nonexistent/icd.json",
      VK_DRIVER_FILES: undefined,
    });
    assert.equal(status, 1, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, new RegExp(`no WebGPU adapter was found for ${runtime}`, "i"));
    assert.match(stderr, /the user's VK_ICD_FILENAMES \(\/nonexistent\/icd\.json\)/);
  }
});
