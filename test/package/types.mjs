/** A strict program and a strict page of a user compile against the package's declarations. */
import test from "node:test";
import { checkPage, compiled, COMPILERS } from "./compiled.mjs";

for (const compiler of COMPILERS) {
  test(`a strict program for Node compiles with ${compiler}`, async () => void (await compiled(compiler)));
  test(`a strict page compiles with ${compiler}`, async () => void (await checkPage(compiler)));
}
