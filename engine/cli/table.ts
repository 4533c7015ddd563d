/** Draws a plain table for a terminal: numbers on the right, words on the left. */

/** A table with a header and a rule. Columns are as wide as their widest cell. */
export function table(header: readonly string[], rows: readonly (readonly (string | number)[])[]): string {
  const widths = header.map((name, c) => Math.max(name.length, ...rows.map((row) => String(row[c]).length)));
  const line = (row: readonly (string | number)[]) =>
    row.map((
      cell,
      c,
    ) => (typeof cell === "number" || /^[\d.e+-]+( \w+)?$/.test(cell)
      ? String(cell).padStart(widths[c])
      : String(cell).padEnd(widths[c]))
    ).join("  ").trimEnd();
  return [
    line(header.map((name, c) => (typeof rows[0]?.[c] === "number" ? name.padStart(widths[c]) : name))),
    widths.map((w) => "-".repeat(w)).join("  "),
    ...rows.map(line),
  ].join("\n");
}
