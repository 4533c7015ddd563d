// The environment variables that choose a process's Vulkan driver, and a probe that shows what they lead to.
//
// The Vulkan loader reads them (VK_ICD_FILENAMES, LD_LIBRARY_PATH) when a process starts. So each candidate driver is
// an environment, and a small process that is started in it tries the driver.
import path from "node:path";
import process from "node:process";
import { root, run } from "./common.mjs";

export const setup = path.join(root, "engine", "cli", "setup");

/** SwiftShader's description for the Vulkan loader, and its library. */
export const ICD = "vk_swiftshader_icd.json";
export const LIBRARY = "libvk_swiftshader.so";

/** The time limit for a probe, and for a browser to print its version. */
export const PROBE_LIMIT_MS = 30_000;

/** The variables with which a user names a driver. */
export const USER_CHOICE = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];
const DRIVER_VARIABLES = [...USER_CHOICE, "LD_LIBRARY_PATH"];

/** `env` with variables set. A list for LD_LIBRARY_PATH goes before the folders already there. */
export function withEnv(env, { libraries = [], ...set } = {}) {
  const result = { ...env, ...set };
  if (libraries.length) {
    result.LD_LIBRARY_PATH = [...libraries, ...(env.LD_LIBRARY_PATH ? [env.LD_LIBRARY_PATH] : [])].join(path.delimiter);
  }
  return result;
}

/**
 * The choice of an outer launcher, read from RINGSIDE_ADAPTER, and the environment as it was before that choice.
 *
 * A test that starts `ringside` inherits the choice made for its own runtime. When it starts the other runtime, it must
 * not mistake that choice for the user's setting. A choice no longer counts once somebody has changed its variables.
 */
export function inherited() {
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

/** The environment for the real process: the candidate's, with a note of the choice for reports and inner launchers. */
export function chosenEnv(runtime, before, env, { name, source, software, features }) {
  const set = {}, was = {};
  for (const key of new Set([...Object.keys(env), ...DRIVER_VARIABLES])) {
    // Driver variables are noted even if they are unchanged, so that `inherited` sees a later change.
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

/** Runs a probe in `env`: what it found, or in `why` the reason that it found nothing. */
export async function probe(command, env) {
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
      // The lines below report what it printed instead.
    }
  }
  const [complaint] = err.split("\n").map((text) => text.trim()).filter((text) =>
    text && !text.includes("XDG_RUNTIME_DIR")
  );
  if (timedOut) return { why: `no answer within ${PROBE_LIMIT_MS / 1000} s` };
  if (signal) return { why: `the driver crashed (${signal})` };
  return { why: `no adapter${complaint ? ` (${complaint.slice(0, 160)})` : ""}` };
}

/** What was tried, one line each, for an error. */
export const triedText = (tried) => `Tried, in this order:\n${tried.map((line) => `  - ${line}`).join("\n")}`;
