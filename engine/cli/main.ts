/** The command line: picks the command and the platform, turns errors into one line and an exit status. */
import { readFile } from "node:fs/promises";
import process from "node:process";
import { InputError } from "../errors.ts";
import { didYouMean } from "../options.ts";
import { PACKAGE } from "../package.ts";
import type { Platform } from "../platform.ts";
import { complain, end, endWithLauncher, overdue, printer } from "./end.ts";
import type { Command } from "./io.ts";

const COMMANDS: Readonly<Record<string, { readonly load: () => Promise<Command>; readonly what: string }>> = {
  attend: {
    load: async () => (await import("./attend.ts")).attend,
    what: "O and LSE of your own Q, K and V over a ring of ranks",
  },
  session: {
    load: async () => (await import("./session.ts")).session,
    what: "a conversation: prefill and decode steps on a KV cache that stays on the ranks",
  },
  policy: {
    load: async () => (await import("./policy.ts")).policy,
    what: "pass-KV or pass-Q for one step, with the terms of the rule",
  },
  plan: {
    load: async () => (await import("./plan.ts")).plan,
    what: "predicts TTFT, TTIT and memory on a cluster that is not here",
  },
  paper: {
    load: async () => (await import("./paper.ts")).paper,
    what: "every figure of the paper's tables beside the planner's",
  },
  bench: {
    load: async () => (await import("./bench.ts")).bench,
    what: "how fast the kernels are on the adapter at hand, beside its ceilings and a peer",
  },
  selftest: {
    load: async () => (await import("./selftest.ts")).selftest,
    what: "checks the ring against float64 on the adapter at hand",
  },
};

const HELP = `ringside COMMAND [options]: context-parallel attention on simulated ranks

${Object.entries(COMMANDS).map(([name, { what }]) => `  ${name.padEnd(10)} ${what}`).join("\n")}

  ringside COMMAND --help, or ringside help COMMAND, tells more; --runtime deno runs any of them under Deno.
  ringside --version prints the version.
`;

/** The version in package.json, from engine/ (Deno) and from dist/engine/ (Node) alike. */
async function version(): Promise<string> {
  for (const place of ["../../package.json", "../../../package.json"]) {
    const text = await readFile(new URL(place, import.meta.url), "utf8").catch(() => undefined);
    const { name, version } = JSON.parse(text ?? "{}") as { name?: string; version?: string };
    if (name === PACKAGE && version !== undefined) return version;
  }
  throw new Error("package.json was not found beside the engine: the installation is not whole");
}

async function platform(): Promise<Platform> {
  return "Deno" in globalThis ? (await import("../deno.ts")).platform : (await import("../node.ts")).platform;
}

async function main(argv: readonly string[]): Promise<number> {
  // `help attend` is `attend --help`.
  const [name, ...rest] = argv[0] === "help" && argv.length > 1 ? [argv[1], "--help"] : argv;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    (name === undefined ? err : out).print(HELP);
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-V" || name === "version") {
    out.print(`ringside ${await version()}\n`);
    return 0;
  }
  const known = Object.keys(COMMANDS);
  if (!known.includes(name)) {
    throw new InputError(
      `found command ${JSON.stringify(name)}, expected ${known.join(", ")}${didYouMean(name, known)}`,
    );
  }
  const controller = new AbortController();
  const stop = () => controller.abort(new DOMException("cancelled", "AbortError"));
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  const command = await COMMANDS[name].load();
  const work = command(rest, {
    stdout: out.print,
    stderr: err.print,
    watched: process.stderr.isTTY === true,
    platform: await platform(),
    signal: controller.signal,
  });
  work.catch(() => {});
  const ended = await Promise.race([work, overdue(controller.signal)]);
  if (ended !== "overdue") return ended;
  // A pipeline that compiles cannot be stopped: nobody who pressed Ctrl-C wants to wait for it.
  orderly = false;
  throw controller.signal.reason;
}

const [out, err] = [printer(process.stdout), printer(process.stderr)];
let orderly = true;
let status: number;
endWithLauncher();
try {
  status = await main(process.argv.slice(2));
} catch (error) {
  const { name, message } = error instanceof Error || error instanceof DOMException ? error : new Error(String(error));
  complain(`ringside: ${message}\n`);
  if (process.env.RINGSIDE_STACK) complain(`${(error as Error).stack}\n`);
  status = error instanceof InputError ? 2 : name === "AbortError" ? 130 : 1;
}
// What is printed must be out before the process ends, and workers or a driver's threads must not keep it alive.
const fault = await out.flushed();
await err.flushed();
if (fault !== undefined) {
  complain(`ringside: ${fault}\n`);
  status ||= 1;
}
await end(status, orderly);
