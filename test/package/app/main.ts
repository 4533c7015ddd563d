/** Runs the program in Node, Deno or Bun, on the back-end that the command line names, and prints what it found. */
import process from "node:process";
import { run } from "./program.js";

console.log(JSON.stringify(await run(process.argv[2] === "webgpu" ? "webgpu" : "cpu")));
