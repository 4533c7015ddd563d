// Finds a Chromium for the tests, without root: RINGSIDE_CHROMIUM, an installed one, or the one in an npm package.
import { existsSync } from "node:fs";
import path from "node:path";
import process from "node:process";
import { onPath, run, SetupError } from "./common.mjs";
import { ICD, inherited, probe, PROBE_LIMIT_MS, setup, triedText, withEnv } from "./driver.mjs";
import { sparticuz, unpackChromium } from "./unpack.mjs";

/**
 * Chromium's flags for a test run. WebGPU runs on a software driver. There is no sandbox: containers and root have none
 * to offer, and the page is our own. The browser's own look-ups are off, because they flood a closed network.
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

/** Installed Chromes and Chromiums. */
export function chromiumPrograms(env) {
  const named = ["google-chrome", "google-chrome-stable", "chromium", "chromium-browser"].map((name) =>
    onPath(name, env)
  );
  const mac = ["Google Chrome", "Chromium"].map((name) => `/Applications/${name}.app/Contents/MacOS/${name}`);
  return [...new Set([...named, ...(process.platform === "darwin" ? mac : [])])].filter((file) =>
    file && existsSync(file)
  );
}

function* candidates(before) {
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

/** The browser's version in `version`, or in `why` the reason that it doesn't start. */
async function versionOf(program, env) {
  const { code, out, err } = await run(program, ["--version"], { env, output: "capture", limitMs: PROBE_LIMIT_MS });
  return code === 0
    ? { version: out.trim() }
    : { why: `it does not start (${(err.trim().split("\n")[0] || `status ${code}`).slice(0, 200)})` };
}

const HOW_TO = "What to do: run `npm ci` (the development dependency @sparticuz/chromium brings one for Linux x64), " +
  "install Google Chrome or Chromium, or set RINGSIDE_CHROMIUM to a browser's path.";

/**
 * Finds a Chromium: RINGSIDE_CHROMIUM, else an installed one, else the one in the npm package.
 * @param {{webgpu?: boolean}} [options] webgpu: also start it under Playwright; it must have an adapter
 * @returns {Promise<{path: string, env: NodeJS.ProcessEnv, source: string, version: string, name?: string, features?:
 * string[]}>} env is the whole environment to start it with
 * @throws {SetupError} if there is none
 */
export async function findChromium({ webgpu = false } = {}) {
  const { before } = inherited();
  const tried = [];
  for (const { source, make } of candidates(before)) {
    try {
      const made = await make();
      const { version, why: broken } = await versionOf(made.path, made.env);
      if (broken) {
        tried.push(`${source}: ${broken}`);
        continue;
      }
      const result = { ...made, source, version };
      if (!webgpu) return result;
      const command = [process.execPath, path.join(setup, "probe-chromium.mjs"), made.path];
      const { found, why } = await probe(command, made.env);
      if (found) return { ...result, ...found };
      tried.push(`${source}: ${why}`);
    } catch (error) {
      tried.push(`${source}: ${error.message}`);
    }
  }
  throw new SetupError(
    `no Chromium${webgpu ? " with a WebGPU adapter" : ""} was found. ${triedText(tried)}\n${HOW_TO}`,
  );
}
