// `npm start`: installs missing packages, builds, runs the self-test on this machine's adapter, and serves the page
// until Ctrl-C.
import path from "node:path";
import process from "node:process";
import { build } from "./build.mjs";
import { endOnSignal, root, run, runMain, SetupError, since } from "./common.mjs";
import { install } from "./install.mjs";
import { buildPage, readPort, servePage } from "./page.mjs";

const USAGE = `usage: npm start -- [--no-serve] [--port N]
  --no-serve   end after the self-test, with status 0 (passed) or 1
  --port N     serve the page on this port (default: 5173 or the next free one)`;

function readOptions(args) {
  const options = { serve: true, port: undefined };
  for (let i = 0; i < args.length; i++) {
    if (args[i] === "--help" || args[i] === "-h") return { help: true };
    else if (args[i] === "--no-serve") options.serve = false;
    else if (args[i] === "--port") options.port = readPort(args[++i]);
    else if (args[i].startsWith("--port=")) options.port = readPort(args[i].slice("--port=".length));
    else throw new SetupError(`found "${args[i]}", expected --no-serve or --port N\n${USAGE}`, 2);
  }
  return options;
}

runMain(async (args) => {
  const { help, serve, port } = readOptions(args);
  if (help) {
    console.log(USAGE);
    return 0;
  }
  let server = undefined;
  // Ctrl-C is the normal way to end serving, so its status is 0. Before that, Ctrl-C is an interruption.
  endOnSignal(() => server?.close(), () => server ? 0 : undefined);

  await install();
  await build();
  const start = performance.now();
  console.log("selftest ...");
  const test = await run(process.execPath, [path.join(root, "engine", "cli", "ringside.mjs"), "selftest"]);
  if (test.code !== 0) throw new SetupError(`the self-test failed (status ${test.code}); its messages are above`);
  console.log(`selftest passed in ${since(start)}`);
  if (!serve) return 0;

  await buildPage();
  server = await servePage({ port });
  console.log(`\nRingside is at ${server.url}   (Ctrl-C ends it)`);
});
