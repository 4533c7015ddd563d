// Finds a WebGPU adapter for Node and for Deno, and a Chromium for the tests, without root: what is installed first,
// else SwiftShader and Chromium from an npm package.
//
// Which Vulkan driver a process gets is decided by environment variables (VK_ICD_FILENAMES, LD_LIBRARY_PATH) before it
// starts.
// So each candidate here is an environment, tried by a small process (probe.mjs) that asks for an adapter and a device;
// the first that answers is what the launcher starts the real process with. Run by itself, this file prints what would
// be chosen.
import { existsSync, realpathSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { denoPath, isMain, onPath, root, run, runMain, SetupError } from "./common.mjs";
import { linkAsLoader, sparticuz, unpackChromium, unpackSwiftShader } from "./unpack.mjs";

const setup = path.join(root, "engine", "cli", "setup");
const ICD = "vk_swiftshader_icd.json";
const LIBRARY = "libvk_swiftshader.so";
const PROBE_LIMIT_MS = 30_000;
const USER_CHOICE = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
const DRIVER_VARIABLES = [...USER_CHOICE, "LD_LIBRARY_PATH"];

/**
 * Chromium's flags for a test run: WebGPU on software; no sandbox, since containers and root have none to offer and the
 * page is our own; and no look-ups of its own, which flood a closed network.
 */
export const CHROMIUM_ARGS = [
  "--enable-unsafe-webgpu",
  "--no-sandbox",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--no-first-run",
  "--disable-quic",
];

// ---- environments
// -------------------------------------------------------------------------------------------------------------------

/** `env` with variables set; a list for LD_LIBRARY_PATH goes before what is there. */
function withEnv(env, { libraries = [], ...set } = {}) {
  const result = { ...env, ...set };
  if (libraries.length) {
    result.LD_LIBRARY_PATH = [...libraries, ...(env.LD_LIBRARY_PATH ? [env.LD_LIBRARY_PATH] : [])].join(path.delimiter);
  }
  return result;
}

/**
 * What an outer launcher chose, read from RINGSIDE_ADAPTER, with the environment as it was before that: a test that
 * starts `ringside` inherits the choice made for its own runtime, and must not take it for the user's setting when it
 * starts the other one. A choice that somebody has changed since no longer counts.
 */
function inherited() {
  const env = { ...process.env };
  let choice;
  try {
    choice = JSON.parse(env.RINGSIDE_ADAPTER ?? "null");
  } catch {
    // Not ours.
  }
  delete env.RINGSIDE_ADAPTER;
  delete env.RINGSIDE_ADAPTER_SOURCE;
  if (!choice?.set || Object.entries(choice.set).some(([name, value]) => (env[name] ?? null) !== value)) {
    return { before: env };
  }
  for (const [name, value] of Object.entries(choice.before)) {
    if (value === null) delete env[name];
    else env[name] = value;
  }
  return { before: env, choice };
}

/**
 * The environment for the real process: the candidate's, with a note of what was chosen (for the report, and for
 * launchers further in).
 */
function chosenEnv(runtime, before, env, { name, source, software, features }) {
  const set = {}, was = {};
  for (const key of new Set([...Object.keys(env), ...DRIVER_VARIABLES])) {
    // What chooses the driver is noted even where it is left alone, so that a later change is seen.
    if (env[key] === before[key] && !DRIVER_VARIABLES.includes(key)) continue;
    set[key] = env[key] ?? null;
    was[key] = before[key] ?? null;
  }
  return {
    ...env,
    RINGSIDE_ADAPTER: JSON.stringify({ runtime, name, source, software, features, set, before: was }),
    RINGSIDE_ADAPTER_SOURCE: source,
  };
}

// ---- adapters
// -----------------------------------------------------------------------------------------------------------------------

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
 * The candidates in their order. `accept: "hardware"` takes a real GPU only: Dawn on SwiftShader is what the tests
 * know, so a system's software driver comes last there.
 * Deno takes a system lavapipe, which is faster than SwiftShader and the one software driver with f16.
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

async function probe(command, env) {
  const { code, signal, out, err, timedOut } = await run(command[0], command.slice(1), {
    env,
    output: "capture",
    limitMs: PROBE_LIMIT_MS,
  });
  const line = out.trim().split("\n").at(-1);
  if (code === 0 && line && line !== "null") {
    try {
      return { found: JSON.parse(line) };
    } catch {
      // Falls through: what it printed is told below.
    }
  }
  const said =
    err.split("\n").map((text) => text.trim()).filter((text) => text && !text.includes("XDG_RUNTIME_DIR"))[0];
  if (timedOut) return { why: `no answer within ${PROBE_LIMIT_MS / 1000} s` };
  if (signal) return { why: `the driver crashed (${signal})` };
  return { why: `no adapter${said ? ` (${said.slice(0, 160)})` : ""}` };
}

const probeCommand = (runtime) =>
  runtime === "deno"
    ? [denoPath(), "run", "-A", "--no-check", "--no-config", path.join(setup, "probe.mjs")]
    : [process.execPath, path.join(setup, "probe.mjs")];

const HOW_TO =
  `What to do: install a GPU's Vulkan driver; or run \`npm ci\` in the project's folder (the development dependency @sparticuz/chromium brings SwiftShader, Linux x64);
  or install Google Chrome or Chromium (SwiftShader is beside it); for Deno, Debian's and Ubuntu's mesa-vulkan-drivers (lavapipe) serves too;
  or set VK_ICD_FILENAMES to the .json file of a Vulkan driver. \`ringside attend --backend cpu\` needs no adapter.`;

/**
 * Finds a WebGPU adapter for a runtime.
 * @param {"node" | "deno"} runtime
 * @returns {Promise<{env: NodeJS.ProcessEnv, name: string, source: string, software: boolean, features: string[]}>} env
 * is the whole environment to start the process with;
 *   RINGSIDE_ADAPTER_SOURCE in it says in a line where the adapter is from
 * @throws {SetupError} when there is none: what was tried, and what to install
 */
export async function findAdapter(runtime) {
  const { before, choice } = inherited();
  if (choice?.runtime === runtime) {
    const { name, source, software, features } = choice;
    return { env: { ...process.env }, name, source, software, features };
  }
  // Without it the Vulkan loader and Mesa print a warning for each driver.
  const base = process.platform === "linux" && !before.XDG_RUNTIME_DIR
    ? withEnv(before, { XDG_RUNTIME_DIR: os.tmpdir() })
    : before;
  // wgpu would look for GL drivers too, which are slow to load and lack what the shaders need.
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
      tried.push(`${source}: ${why ?? `${found.name} is software; SwiftShader is tried first`}`);
    } catch (error) {
      tried.push(`${source}: ${error.message}`);
    }
  }
  throw new SetupError(
    `no WebGPU adapter was found for ${runtime === "deno" ? "Deno" : "Node"}. Tried, in this order:\n${
      tried.map((line) => `  - ${line}`).join("\n")
    }\n${HOW_TO}`,
  );
}

// ---- Chromium
// -----------------------------------------------------------------------------------------------------------------------

/** Installed Chromes and Chromiums. */
function chromiumPrograms(env) {
  const named = ["google-chrome", "google-chrome-stable", "chromium", "chromium-browser"].map((name) =>
    onPath(name, env)
  );
  const mac = ["Google Chrome", "Chromium"].map((name) => `/Applications/${name}.app/Contents/MacOS/${name}`);
  return [...new Set([...named, ...(process.platform === "darwin" ? mac : [])])].filter((file) =>
    file && existsSync(file)
  );
}

function* chromiumCandidates(before) {
  if (before.RINGSIDE_CHROMIUM) {
    yield {
      source: `the user's RINGSIDE_CHROMIUM (${before.RINGSIDE_CHROMIUM})`,
      make: () => ({ path: before.RINGSIDE_CHROMIUM, env: before }),
    };
    return;
  }
  for (const program of chromiumPrograms(before)) {
    yield { source: `installed (${program})`, make: () => ({ path: program, env: before }) };
  }
  const pack = sparticuz();
  yield {
    source: `the npm package @sparticuz/chromium ${pack?.version ?? ""}`.trim(),
    make: async () => {
      if (!pack) throw new SetupError("the package is not installed");
      if (process.platform !== "linux" || process.arch !== "x64") {
        throw new SetupError(`the package has Linux x64 binaries only, this is ${process.platform} ${process.arch}`);
      }
      const folder = await unpackChromium(pack);
      const fonts = existsSync("/etc/fonts/fonts.conf") ? {} : { FONTCONFIG_FILE: path.join(folder, "fonts.conf") };
      return {
        path: path.join(folder, "chromium"),
        env: withEnv(before, {
          VK_ICD_FILENAMES: path.join(folder, ICD),
          libraries: [folder, path.join(folder, "lib")],
          ...fonts,
        }),
      };
    },
  };
}

/**
 * Finds a Chromium: RINGSIDE_CHROMIUM, an installed one, else the one in the npm package.
 * @param {{webgpu?: boolean}} [options] webgpu: it is started under Playwright as well, and must have an adapter
 * @returns {Promise<{path: string, env: NodeJS.ProcessEnv, source: string, version: string, name?: string, features?:
 * string[]}>} env is the whole environment to start it with
 * @throws {SetupError} when there is none
 */
export async function findChromium({ webgpu = false } = {}) {
  const { before } = inherited();
  const tried = [];
  for (const { source, make } of chromiumCandidates(before)) {
    try {
      const made = await make();
      const version = await run(made.path, ["--version"], {
        env: made.env,
        output: "capture",
        limitMs: PROBE_LIMIT_MS,
      });
      if (version.code !== 0) {
        tried.push(
          `${source}: it does not start (${
            (version.err.trim().split("\n")[0] || `status ${version.code}`).slice(0, 200)
          })`,
        );
        continue;
      }
      const result = { ...made, source, version: version.out.trim() };
      if (!webgpu) return result;
      const { found, why } = await probe(
        [process.execPath, path.join(setup, "probe-chromium.mjs"), made.path],
        made.env,
      );
      if (found) return { ...result, ...found };
      tried.push(`${source}: ${why}`);
    } catch (error) {
      tried.push(`${source}: ${error.message}`);
    }
  }
  throw new SetupError(
    `no Chromium${webgpu ? " with a WebGPU adapter" : ""} was found. Tried, in this order:\n${
      tried.map((line) => `  - ${line}`).join("\n")
    }\n` +
      "What to do: run `npm ci` (the development dependency @sparticuz/chromium brings one, Linux x64), install Google Chrome or Chromium, or set RINGSIDE_CHROMIUM to a browser's path.",
  );
}

/** One line for people: the adapter, its features, where it is from. */
export const describe = ({ name, source, features, version }) =>
  `${name}${features?.length ? ` [${features.join(", ")}]` : ""}, ${version ? `${version}, ` : ""}from ${source}`;

if (isMain(import.meta.url)) {
  runMain(async () => {
    let status = 0;
    for (
      const [label, find] of [["Node", () => findAdapter("node")], ["Deno", () => findAdapter("deno")], [
        "Chromium",
        () => findChromium({ webgpu: true }),
      ]]
    ) {
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
