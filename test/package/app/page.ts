/** Runs the program in a page, on the back-end that its address names, and shows what it found. */
import { run } from "./program.js";

const shown = document.querySelector("output")!;
run(location.search === "?webgpu" ? "webgpu" : "cpu").then(
  (found) => (shown.textContent = JSON.stringify(found)),
  (error) => (shown.textContent = `failed: ${error}`),
);
