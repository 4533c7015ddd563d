/** The command line: starts a command on its platform, and turns errors into one line and an exit status. */
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
    what: "computes O and LSE of your Q, K and V over a ring of ranks",
  },
  session: {
    load: async () => (await import("./session.ts")).session,
    what: "runs a conversation: prefill and decode steps on a KV cache that stays on the ranks",
  },
  policy: {
    load: async () => (await import("./policy.ts")).policy,
    what: "chooses pass-KV or pass-Q for one step, and shows the terms of the rule",
  },
  plan: {
    load: async () => (await import("./plan.ts")).plan,
    what: "predicts TTFT, TTIT and memory on a cluster you don't have",
  },
  paper: {
    load: async () => (await import("./paper.ts")).paper,
    what: "compares every figure of the paper's tables with the planner's",
  },
  bench: {
    load: async () => (await import("./bench.ts")).bench,
    what: "times the kernels on this machine's adapter, beside its ceilings and a peer",
  },
  selftest: {
    load: async () => (await import("./selftest.ts")).selftest,
    what: "checks the ring against float64 on this machine's adapter",
  },
};

const HELP = `ringside COMMAND [options]: context-parallel attention on simulated ranks

${Object.entries(COMMANDS).map(([name, { what }]) => `  ${name.padEnd(10)} ${what}`).join("\n")}

\`ringside COMMAND --help\` or \`ringside help COMMAND\` lists a command's options.
--runtime deno runs any command under Deno. --version (-V) prints the version.
`;

/** Options in place of a command, as users write them and as an error shows them. */
const OPTIONS: Readonly<Record<string, string>> = {
  "--help": "--help",
  "-h": "--help (-h)",
  "--version": "--version",
  "-V": "--version (-V)",
  "--runtime": "--runtime R",
};

/** The error for a word that is neither a command nor one of these options. */
function unknownCommand(name: string): InputError {
  const commands = Object.keys(COMMANDS);
  if (!name.startsWith("-")) {
    return new InputError(
      `found command ${JSON.stringify(name)}, expected ${commands.join(", ")}${didYouMean(name, commands)}`,
    );
  }
  const hint = didYouMean(name.split("=")[0], Object.keys(OPTIONS), (near) => OPTIONS[near]);
  return new InputError(
    `found the option ${JSON.stringify(name)} in place of a command, expected ${commands.join(", ")}, ` +
      `--help, --version or --runtime R${hint}`,
  );
}

/** The version in package.json. This file is in engine/ (Deno) or in dist/engine/ (Node). */
async function version(): Promise<string> {
  for (const place of ["../../package.json", "../../../package.json"]) {
    const text = await readFile(new URL(place, import.meta.url), "utf8").catch(() => undefined);
    const { name, version } = JSON.parse(text ?? "{}") as { name?: string; version?: string };
    if (name === PACKAGE && version !== undefined) return version;
  }
  throw new Error("package.json was not found beside the engine: the installation is incomplete");
}

async function platform(): Promise<Platform> {
  return "Deno" in globalThis ? (await import("../deno.ts")).platform : (await import("../node.ts")).platform;
}

async function main(argv: readonly string[]): Promise<number> {
  // `help attend` means `attend --help`.
  const [name, ...rest] = argv[0] === "help" && argv.length > 1 ? [argv[1], "--help"] : argv;
  if (name === undefined || name === "help" || name === "--help" || name === "-h") {
    (name === undefined ? err : out).print(HELP);
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-V" || name === "version") {
    out.print(`ringside ${await version()}\n`);
    return 0;
  }
  if (!Object.hasOwn(COMMANDS, name)) throw unknownCommand(name);
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
  // We cannot stop a pipeline that compiles, and nobody who pressed Ctrl-C wants to wait for it.
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
// All output must be out before the process ends, and workers or a driver's threads must not keep the process alive.
const fault = await out.flushed();
await err.flushed();
if (fault !== undefined) {
  complain(`ringside: ${fault}\n`);
  status ||= 1;
}
await end(status, orderly);
