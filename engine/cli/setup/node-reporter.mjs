// A reporter of node --test: one line of JSON a test, for the summary that `npm test` prints at its end.
import { fileURLToPath } from "node:url";

const place = (file) => file?.startsWith("file:") ? fileURLToPath(file) : file;

export default async function* report(events) {
  /** Names of the tests that enclose the one reported, by depth: an enclosing test is reported after what it holds. */
  const names = [];
  for await (const { type, data } of events) {
    if (type === "test:start") names[data.nesting] = data.name;
    if (type !== "test:pass" && type !== "test:fail") continue;
    // --test-name-pattern: Node reports those that it does not run as skipped.
    if (data.skip === "test name does not match pattern") continue;
    const name = [...names.slice(0, data.nesting), data.name].join(" > ");
    const { error, duration_ms } = data.details;
    yield `${
      JSON.stringify({
        file: place(data.file),
        name,
        seconds: duration_ms / 1000,
        failure: type === "test:fail" ? String(error?.cause?.stack ?? error?.stack ?? error) : undefined,
        skipped: data.skip !== undefined && data.skip !== false,
        parent: error?.failureType === "subtestsFailed",
      })
    }\n`;
  }
}
