/** Reads what people type for counts, rates and times. Each returns NaN for what it cannot read. */

const pattern = /^([0-9][0-9,_ ]*(?:\.[0-9]+)?|\.[0-9]+)(?:e([+-]?[0-9]+))?\s*([a-zµμ/]*)$/i;

/** The power of ten of each unit, by which the decimal is moved before it is read: "993.353 ms" is then 0.993353 to the last bit. */
type Units = Readonly<Record<string, number>>;

function quantity(text: string, units: Units): { readonly value: number; readonly unit: string } {
  const match = pattern.exec(text.trim());
  if (match === null) return { value: NaN, unit: "" };
  const unit = match[3].replace("μ", "µ");
  if (!Object.hasOwn(units, unit)) return { value: NaN, unit };
  return { value: Number(`${match[1].replaceAll(/[,_ ]/g, "")}e${Number(match[2] ?? 0) + units[unit]}`), unit };
}

/** A whole number, with or without separators: "1,536". */
export function parseCount(text: string): number {
  const { value } = quantity(text, { "": 0 });
  return Number.isSafeInteger(value) ? value : NaN;
}

const rates: Record<string, number> = { "": 0 };
["", "k", "M", "G", "T"].forEach((prefix, i) => {
  for (const unit of ["B", "B/s", "b/s", "bit/s"]) rates[prefix + unit] = 3 * i;
});

/** Bytes per second: "50 GB/s", "5e10", or bits with their name: "400 Gbit/s", "400 Gb/s". */
export function parseRate(text: string): number {
  const { value, unit } = quantity(text, rates);
  return /b(it)?\/s$/.test(unit) ? value / 8 : value;
}

/** Seconds: "5 µs", "1.5 ms", "2". */
export function parseSeconds(text: string): number {
  return quantity(text, { "": 0, s: 0, ms: -3, us: -6, "µs": -6, ns: -9 }).value;
}
