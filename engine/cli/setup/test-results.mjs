// What the runners of `npm test` report, in one shape: `{file, name, seconds, failure, skipped, parent}`. Node's come
// from node-reporter.mjs, the others' from JUnit files. `parent` marks a test that failed only because one in it did.

const ENTITIES = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

const text = (xml) =>
  xml.replace(/<!\[CDATA\[([\s\S]*?)\]\]>|&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));/g, (whole, raw, hex, decimal, name) => {
    if (raw !== undefined) return raw;
    if (hex !== undefined) return String.fromCodePoint(parseInt(hex, 16));
    return decimal !== undefined ? String.fromCodePoint(Number(decimal)) : ENTITIES[name] ?? whole;
  });

/** The tests of a JUnit file as Deno, pytest and Playwright write it. */
export function readJUnit(xml) {
  const cases = /<testcase\b((?:[^">]|"[^"]*")*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g;
  return [...xml.matchAll(cases)].map(([, attributes, body = ""]) => {
    const attribute = (name) => text(attributes.match(new RegExp(`\\b${name}="([^"]*)"`))?.[1] ?? "");
    const failed = body.match(/<(failure|error)\b((?:[^">]|"[^"]*")*?)(?:\/>|>([\s\S]*?)<\/\1>)/);
    const message = failed && text(failed[2].match(/\bmessage="([^"]*)"/)?.[1] ?? "");
    return {
      file: attribute("file") || attribute("classname"),
      name: attribute("name"),
      seconds: Number(attribute("time")),
      failure: failed ? (text(failed[3] ?? "") || message).trim() : undefined,
      skipped: /<skipped\b/.test(body),
      parent: /^\d+ test steps? failed/.test(message ?? ""),
    };
  });
}

/** The tests of a file that node-reporter.mjs wrote. */
export const readLines = (lines) => lines.split("\n").filter(Boolean).map((line) => JSON.parse(line));

/** How many passed, failed and were left out. */
export const count = (tests) => ({
  passed: tests.filter((test) => test.failure === undefined && !test.skipped).length,
  failed: tests.filter((test) => test.failure !== undefined).length,
  skipped: tests.filter((test) => test.skipped).length,
});
