/**
 * Cleans what the worker sends before anything shows it or computes with it: no control characters, no infinite numbers.
 */

/**
 * A text without characters that a terminal obeys or that change the direction of writing. Line breaks and tabs become
 * spaces, the others U+FFFD.
 */
export function printable(text: string): string {
  return text.replace(/[\n\r\t]/g, " ").replace(/[\p{Cc}\p{Bidi_Control}]/gu, "\ufffd");
}

/**
 * A copy of parsed JSON in which every text is printable. Throws RangeError if a number is not finite: 1e999 is JSON.
 */
export function clean(value: unknown, where = "the message"): unknown {
  if (typeof value === "string") return printable(value);
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new RangeError(`${where}: found an infinite number, expected a finite one`);
  }
  if (Array.isArray(value)) return value.map((item, i) => clean(item, `${where}/${i}`));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [printable(key), clean(item, `${where}/${printable(key)}`)]),
  );
}
