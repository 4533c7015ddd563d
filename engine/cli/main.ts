/** The command line: starts a command on its platform, and turns errors into one line and an exit status. */
import process from "node:process";
import { InputError } from "../errors.ts";
import { didYouMean } from "../options.ts";
import type { Platform } from "../platform.ts";
import { complain, end, endWithLauncher, overdue, printer } from "./end.ts";
import type { Command } from "./io.ts";

/** The commands. help.txt has a line for each. */
const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  attend: async () => (await import("./attend.ts")).attend,
  session: async () => (await import("./session.ts")).session,
  compare: async () => (await import("./compare.ts")).compare,
  vectors: async () => (await import("./vectors.ts")).vectors,
  layout: async () => (await import("./layout.ts")).layout,
  trace: async () => (await import("./trace.ts")).trace,
  policy: async () => (await import("./policy.ts")).policy,
  plan: async () => (await import("./plan.ts")).plan,
  paper: async () => (await import("./paper.ts")).paper,
  bench: async () => (await import("./bench.ts")).bench,
  selftest: async () => (await import("./selftest.ts")).selftest,
};

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

async function platform(): Promise<Platform> {
  return "Deno" in globalThis ? (await import("../deno.ts")).platform : (await import("../node.ts")).platform;
}

async function main(argv: readonly string[]): Promise<number> {
  // `help attend` means `attend --help`.
  const [name, ...rest] = argv[0] === "help" && argv.length > 1 ? [argv[1], "--help"] : argv;
  if (!Object.hasOwn(COMMANDS, name)) throw unknownCommand(name);
  const controller = new AbortController();
  const stop = () => controller.abort(new DOMException("cancelled", "AbortError"));
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  const command = await COMMANDS[name]();
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
