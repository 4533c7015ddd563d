/**
 * Two sets of tests: `npm test` runs the brief one, `npm run test:all` all of them. A file that is named or run alone
 * runs whole. Use: `test("title", thorough, () => …)`.
 */
import process from "node:process";

const brief = process.env.RINGSIDE_TESTS === "brief";

/** Options of a test that only the whole set has: it is long, and shorter ones cover part of it. */
export const thorough = { skip: brief };

/** Options of a test that the brief set has in Node alone: a long script, or what differs little between runtimes. */
export const nodeFirst = { skip: brief && "Deno" in globalThis };
