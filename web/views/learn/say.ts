/** Numbers and counts as text for people. */

/** Four significant digits with a real minus sign: "1.234", "−0.0512", "−∞", "NaN". */
export function say(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  const text = size === 0
    ? "0"
    : size >= 1e6 || size < 1e-4
    ? power(size)
    : size >= 1000
    ? size.toFixed(0)
    : Number(size.toPrecision(4)).toFixed(Math.max(0, Math.min(4, 3 - Math.floor(Math.log10(size)))));
  return value < 0 ? `−${text}` : text;
}

function power(size: number): string {
  const [digits, exponent] = size.toExponential(1).split("e");
  return `${digits}e${exponent.replace("+", "").replace("-", "−")}`;
}

/** A ratio: "1.75 times". */
export function times(ratio: number): string {
  return `${Number(ratio.toFixed(2))} times`;
}

/** A count with the right form of its noun: "1 rank", "3 ranks". */
export function plural(count: number, noun: string): string {
  return `${count.toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
}
