// Finds a WebGPU adapter for Node and for Deno, without root: an installed driver, else SwiftShader from an installed
// browser or from an npm package.
//
// A small process (probe.mjs) tries each candidate by asking for an adapter and a device. The launcher starts the real
// process with the environment of the first candidate that works. Run on its own, this file prints the choices.
import { existsSync, realpathSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { chromiumPrograms, findChromium } from "./chromium.mjs";
import { denoPath, isMain, runMain, SetupError } from "./common.mjs";
import { chosenEnv, ICD, inherited, LIBRARY, probe, setup, triedText, USER_CHOICE, withEnv } from "./driver.mjs";
import { linkAsLoader, sparticuz, unpackSwiftShader } from "./unpack.mjs";

/** Folders of installed Chromes that may hold SwiftShader. */
function browserFolders(env) {
  const programs = chromiumPrograms(env).map((program) => {
    try {
      return path.dirname(realpathSync(program));
    } catch {
      return undefined;
    }
  });
  const usual = [
    "/opt/google/chrome",
    "/opt/google/chrome-beta",
    "/opt/google/chrome-unstable",
    "/usr/lib/chromium",
    "/usr/lib64/chromium-browser",
    "/usr/lib/chromium-browser",
    "/opt/chromium",
    "/opt/microsoft/msedge",
    "/snap/chromium/current/usr/lib/chromium-browser",
  ];
  return [...new Set([...programs.filter(Boolean), ...usual])].filter((folder) =>
    existsSync(path.join(folder, ICD)) && existsSync(path.join(folder, LIBRARY))
  );
}

async function swiftShaderBeside(folder, before) {
  const loader = existsSync(path.join(folder, "libvulkan.so.1"))
    ? folder
    : await linkAsLoader(path.join(folder, LIBRARY));
  return withEnv(before, { VK_ICD_FILENAMES: path.join(folder, ICD), libraries: [loader] });
}

/**
 * The candidates in their order. `accept: "hardware"` takes only a real GPU: the tests know Dawn on SwiftShader, so in
 * Node a system's software driver comes last. Deno takes a system's lavapipe first: it is faster than SwiftShader, and
 * it is the only software driver with f16.
 */
function* candidates(runtime, before) {
  const chosen = USER_CHOICE.find((name) => before[name]);
  if (chosen) {
    yield { source: `the user's ${chosen} (${before[chosen]})`, env: () => before };
    return;
  }
  yield {
    source: "the system's driver",
    env: () => before,
    accept: runtime === "node" && process.platform === "linux" ? "hardware" : "any",
  };
  if (process.platform !== "linux") return;
  for (const folder of browserFolders(before)) {
    yield {
      source: `SwiftShader beside the browser in ${folder}`,
      env: () => swiftShaderBeside(folder, before),
    };
  }
  const pack = sparticuz();
  yield {
    source: `SwiftShader from the npm package @sparticuz/chromium ${pack?.version ?? ""}`.trim(),
    env: async () => {
      if (!pack) throw new SetupError("the package is not installed");
      if (process.arch !== "x64") throw new SetupError(`the package has x64 binaries only, this is ${process.arch}`);
      return swiftShaderBeside(await unpackSwiftShader(pack), before);
    },
  };
  if (runtime === "node") yield { source: "the system's software driver", env: () => before };
}

const probeCommand = (runtime) =>
  runtime === "deno"
    ? [denoPath(), "run", "-A", "--no-check", "--no-config", path.join(setup, "probe.mjs")]
    : [globalThis.Deno ? "node" : process.execPath, path.join(setup, "probe.mjs")];

const HOW_TO = `What to do, one of:
  - install your GPU's Vulkan driver
  - install the npm package @sparticuz/chromium, which brings SwiftShader for Linux x64: in a clone \`npm ci\` does
  - install Google Chrome or Chromium (SwiftShader comes with it)
  - for Deno, install mesa-vulkan-drivers (lavapipe) on Debian or Ubuntu
  - set VK_ICD_FILENAMES to the .json file of a Vulkan driver
\`ringside attend --backend cpu\` needs no adapter.`;

/** Is the package webgpu (Dawn, Node's WebGPU) installed? It is optional. */
function hasDawn() {
  try {
    return import.meta.resolve("webgpu") !== "";
  } catch {
    return false;
  }
}

/**
 * Finds a WebGPU adapter for a runtime.
 * @param {"node" | "deno"} runtime
 * @returns {Promise<{env: NodeJS.ProcessEnv, name: string, source: string, software: boolean, features: string[]}>} env
 * is the whole environment to start the process with; its RINGSIDE_ADAPTER_SOURCE says in one line where the adapter
 * comes from
 * @throws {SetupError} if there is none: what was tried, and what to install
 */
export async function findAdapter(runtime) {
  const { before, choice } = inherited();
  if (choice?.runtime === runtime) {
    const { name, source, software, features } = choice;
    return { env: { ...process.env }, name, source, software, features };
  }
  if (runtime === "node" && !hasDawn()) {
    throw new SetupError(
      "WebGPU in Node: found no package webgpu (Dawn), which is installed on request; run `npm install webgpu`, " +
        "or compute in plain TypeScript (--backend cpu)",
    );
  }
  // If it is unset, the Vulkan loader and Mesa print a warning for each driver.
  const base = process.platform === "linux" && !before.XDG_RUNTIME_DIR
    ? withEnv(before, { XDG_RUNTIME_DIR: os.tmpdir() })
    : before;
  // wgpu would look for GL drivers too. They load slowly and lack features that the shaders need.
  const start = runtime === "deno" && process.platform === "linux" && !base.DENO_WEBGPU_BACKEND
    ? withEnv(base, { DENO_WEBGPU_BACKEND: "vulkan" })
    : base;
  const command = probeCommand(runtime);
  const tried = [];
  for (const { source, env, accept = "any" } of candidates(runtime, start)) {
    try {
      const candidate = await env();
      const { found, why } = await probe(command, candidate);
      if (found && (accept === "any" || !found.software)) {
        return { ...found, source, env: chosenEnv(runtime, before, candidate, { ...found, source }) };
      }
      tried.push(`${source}: ${why ?? `${found.name} is a software driver, and SwiftShader comes first`}`);
    } catch (error) {
      tried.push(`${source}: ${error.message}`);
    }
  }
  throw new SetupError(
    `no WebGPU adapter was found for ${runtime === "deno" ? "Deno" : "Node"}. ${triedText(tried)}\n${HOW_TO}`,
  );
}

/** One line for people: the adapter, its features and its source. */
export const describe = ({ name, source, features, version }) =>
  `${name}${features?.length ? ` [${features.join(", ")}]` : ""}, ${version ? `${version}, ` : ""}from ${source}`;

if (isMain(import.meta.url)) {
  runMain(async () => {
    const all = {
      Node: () => findAdapter("node"),
      Deno: () => findAdapter("deno"),
      Chromium: () => findChromium({ webgpu: true }),
    };
    let status = 0;
    for (const [label, find] of Object.entries(all)) {
      try {
        console.log(`${label.padEnd(9)}${describe(await find())}`);
      } catch (error) {
        status = 1;
        console.log(`${label.padEnd(9)}${error.message}`);
      }
    }
    return status;
  });
}
