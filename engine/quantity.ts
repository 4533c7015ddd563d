/**
 * Reads counts and rates as people write them: 128k, 128_000, 50GB/s, 1Gbps. Command line, page and files all use it.
 */

/** Decimal multiples as in the paper (128K tokens are 128,000), and binary ones by their own names. */
const MULTIPLES: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

const NUMBER = String.raw`([+-]?(?:\d+(?:_\d+)*)(?:\.\d+)?(?:[eE][+-]?\d+)?|[+-]?\.\d+(?:[eE][+-]?\d+)?)`;
const COUNT = new RegExp(`^${NUMBER}\\s*(|[kKMGT]|[KMGT]i)$`);
const RATE = new RegExp(`^${NUMBER}\\s*(?:(|[kKMGT]|[KMGT]i)(B/s|Bps|b/s|bps|bit/s)|([mgt])(B/s|Bps|bps|bit/s))$`);

/**
 * A number of things, such as `131072`, `128k`, `128_000`, `128Ki` (131,072) or `1.5M`; undefined if `text` is none.
 * May be negative or fractional.
 */
export function readCount(text: string): number | undefined {
  const match = COUNT.exec(text.trim());
  return match === null ? undefined : finite(match[1], match[2]);
}

/**
 * Bytes per second, such as `5e7`, `50GB/s` or `1Gbps` (bits: 1.25e8 bytes/s); undefined if `text` is not a rate. A bare
 * number is bytes/s. A unit's multiple may be in lower case (`1gbps`), but not in `50gb/s`, which may mean bits or bytes.
 */
export function readRate(text: string): number | undefined {
  const match = RATE.exec(text.trim());
  if (match === null) return readCount(text);
  const [, digits, multiple, unit, lowerMultiple, lowerUnit] = match;
  const perSecond = finite(digits, multiple ?? lowerMultiple.toUpperCase());
  return perSecond === undefined || (unit ?? lowerUnit).startsWith("B") ? perSecond : perSecond / 8;
}

function finite(digits: string, multiple: string): number | undefined {
  const value = Number(digits.replaceAll("_", "")) * MULTIPLES[multiple];
  if (!Number.isFinite(value)) return undefined;
  // 1.1k is 1100, not 1100.0000000000002.
  return Number(value.toPrecision(15));
}
