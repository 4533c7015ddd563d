/** Reads options. Every error says what was found and what was expected. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import { CAUSAL, isLocal, type Mask, sayMask, sinkTokensOf } from "../layout/mask.ts";
import { type Dealing, DEALINGS, type Sequence } from "../layout/shards.ts";
import type { Link } from "../cluster/types.ts";
import { InputError } from "../errors.ts";
import { didYouMean } from "../options.ts";
import { readCount, readRate } from "../quantity.ts";
import { validateLink } from "../cluster/link.ts";

/** Options as parseArgs describes them. */
type Known = NonNullable<ParseArgsConfig["options"]>;
/** Their values. */
type Values<T extends Known> = ReturnType<
  typeof parseArgs<{ args: string[]; options: T; allowPositionals: false; strict: true }>
>["values"];

/** parseArgs without positional arguments. Errors: InputError; for an unknown option with the closest known one. */
export function parseOptions<T extends Known>(argv: readonly string[], options: T): Values<T> {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: false, strict: true }).values;
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    const what = message.replaceAll("\n", " ").replace(/\.$/, "");
    if (code !== "ERR_PARSE_ARGS_UNKNOWN_OPTION") throw new InputError(what);
    // The launcher takes --runtime out, but only if it is spelled right.
    const known = [...Object.keys(options), "runtime"];
    const wanted = /'--?([^'=]*)/.exec(what)?.[1] ?? "";
    throw new InputError(
      `${what.replace(/\. To specify.*$/, "")}; known options: ${known.map((name) => `--${name}`).join(", ")}${
        didYouMean(wanted, known, (name) => `--${name}`)
      }`,
    );
  }
}

/** Options, and the files beside them. Errors: as parseOptions'. */
export function parseFiles<T extends Known>(
  argv: readonly string[],
  options: T,
): { readonly values: Values<T>; readonly files: readonly string[] } {
  const valued = Object.entries(options).filter(([, { type }]) => type === "string").map(([name]) => `--${name}`);
  const isFile = (word: string, i: number) => !word.startsWith("-") && !valued.includes(argv[i - 1]);
  return {
    values: parseOptions(argv.filter((word, i) => !isFile(word, i)), options),
    files: argv.filter(isFile),
  };
}

/** A number without a unit. */
export function numberOption(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = text.trim() === "" ? NaN : Number(text);
  if (!Number.isFinite(value)) throw new InputError(`${name}: found ${JSON.stringify(text)}, expected a number`);
  return value;
}

/** A whole number of at least `least`, such as 131072, 128k or 128_000. `why` is the reason for `most`. */
export function wholeOption(
  name: string,
  text: string | undefined,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
  why?: string,
): number | undefined {
  if (text === undefined) return undefined;
  const value = readCount(text);
  if (value === undefined) throw new InputError(`${name}: found ${JSON.stringify(text)}, expected a number`);
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
    throw new InputError(
      `${name}: found ${JSON.stringify(text)}, expected a whole number ${range}${why === undefined ? "" : `: ${why}`}`,
    );
  }
  return value;
}

/** A rate above 0. `read` is `readRate` for bytes a second, or `readCount` for FLOP/s and other counts. */
export function rateOption(
  name: string,
  text: string | undefined,
  read: typeof readRate = readRate,
): number | undefined {
  if (text === undefined) return undefined;
  const value = read(text);
  if (value === undefined || !(value > 0)) {
    throw new InputError(
      `${name}: found ${JSON.stringify(text)}, expected a rate above 0, such as ${
        read === readRate ? "5e10, 50GB/s (bytes) or 400Gbps (bits)" : "8e14 or 800T"
      }`,
    );
  }
  return value;
}

/** One of `choices`. */
export function choiceOption<const T extends string>(
  name: string,
  text: string | undefined,
  choices: readonly T[],
): T | undefined {
  if (text !== undefined && !choices.includes(text as T)) {
    throw new InputError(
      `${name}: found ${JSON.stringify(text)}, expected ${choices.join(" or ")}${
        didYouMean(text, choices, (near) => near)
      }`,
    );
  }
  return text as T | undefined;
}

/** The options of a mask, for parseOptions. */
export const MASK_OPTIONS = { mask: { type: "string" }, "sink-tokens": { type: "string" } } as const;

/**
 * The mask of `--mask causal|full|window:W|chunk:C` with `--sink-tokens S`; causal if not given. `--no-causal` is the
 * older way to ask for `full`.
 */
export function maskOption(
  o: { readonly mask?: string; readonly "sink-tokens"?: string; readonly "no-causal"?: boolean },
): Mask {
  const given = o.mask === undefined ? undefined : readMaskOption(o.mask);
  if (o["no-causal"] && given !== undefined && given.kind !== "full") {
    throw new InputError(
      `--no-causal: found beside --mask ${o.mask}, expected one of them: --no-causal is --mask full`,
    );
  }
  const mask = given ?? (o["no-causal"] ? { kind: "full" } : CAUSAL);
  const sinkTokens = wholeOption("--sink-tokens", o["sink-tokens"], 0);
  if (sinkTokens === undefined) return mask;
  if (!isLocal(mask)) {
    throw new InputError(
      `--sink-tokens: found with the mask ${mask.kind}, expected --mask window:W or chunk:C: a ${mask.kind} mask ` +
        "hides no first token",
    );
  }
  if (sinkTokensOf(mask) > 0) {
    throw new InputError(`--sink-tokens: found beside --mask ${sayMask(mask)}, whose +S says the same; expected one`);
  }
  return sinkTokens === 0 ? mask : { ...mask, sinkTokens };
}

function readMaskOption(text: string): Mask {
  const [, kind, colon, size, sinks] = /^([^:=\s]*)([:=\s]?)([^+]*)(?:\+(.*))?$/.exec(text) ?? [];
  const found = `--mask: found ${JSON.stringify(text)}`;
  if (kind === "causal" || kind === "full") {
    if (text !== kind) throw new InputError(`${found}, expected ${kind}, which has no size`);
    return { kind };
  }
  if (kind !== "window" && kind !== "chunk") {
    throw new InputError(
      `${found}, expected causal, full, window:W or chunk:C${
        didYouMean(kind ?? "", ["causal", "full", "window", "chunk"], (near) =>
          near === "window" || near === "chunk" ? `${near}:${size || (near === "window" ? "W" : "C")}` : near)
      }`,
    );
  }
  const [tokens, first] = [readTokens(size), sinks === undefined ? 0 : readTokens(sinks)];
  if (colon !== ":" || tokens === undefined || tokens < 1 || first === undefined) {
    const [letter, example] = kind === "window" ? ["W", 1024] : ["C", 8192];
    const more = sinks !== undefined;
    throw new InputError(
      `${found}, expected ${kind}:${letter}${more ? "+S" : ""}, ${letter} a whole number of tokens of at least 1, ` +
        `such as ${kind}:${example}${more ? "+4" : ""}`,
    );
  }
  return first === 0 ? { kind, size: tokens } : { kind, size: tokens, sinkTokens: first };
}

/** `--dealing`; undefined if not given. */
export function dealingOption(o: { readonly dealing?: string }): Dealing | undefined {
  return choiceOption("--dealing", o.dealing, DEALINGS);
}

/** `RATE,LATENCY_S` */
export function linkOption(text: string | undefined): Link | undefined {
  if (text === undefined) return undefined;
  const [rate = "", seconds = "", ...rest] = text.split(",");
  const link = { bandwidth: readRate(rate) ?? NaN, latency: seconds.trim() === "" ? NaN : Number(seconds) };
  if (rest.length > 0 || !(link.bandwidth > 0) || !(link.latency >= 0 && Number.isFinite(link.latency))) {
    throw new InputError(
      `--link: found ${JSON.stringify(text)}, expected BYTES_PER_S,LATENCY_S ` +
        "such as 5e7,0.001, 50GB/s,1e-6 or 400Gbps,1e-6",
    );
  }
  validateLink(link, "--link");
  return link;
}

/** `T:P,T:P` */
export function sequencesOption(text: string | undefined): Sequence[] | undefined {
  return text?.split(",").map((part) => {
    const [fresh, cached, ...rest] = part.split(":").map(readTokens);
    if (rest.length > 0 || fresh === undefined || cached === undefined) {
      throw new InputError(
        `--sequences: found ${JSON.stringify(part)}, expected T:P for each sequence, such as 128:0,40:512 or 4k:128k`,
      );
    }
    return { new: fresh, cached };
  });
}

/** A whole number of at least 0; undefined if `text` is something else. */
export function readTokens(text: string): number | undefined {
  const value = readCount(text);
  return value !== undefined && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}

/** `FLOP_PER_S,BYTES_PER_S` of a rank. */
export function ratesOption(text: string | undefined): { flops: number; bandwidth: number } | undefined {
  if (text === undefined) return undefined;
  const [first = "", second = "", ...rest] = text.split(",");
  const [flops, bandwidth] = [readCount(first) ?? NaN, readRate(second) ?? NaN];
  if (rest.length > 0 || !(flops > 0) || !(bandwidth > 0)) {
    throw new InputError(
      `--rates: found ${JSON.stringify(text)}, expected FLOP_PER_S,BYTES_PER_S such as 5e14,2.5e10 or 500T,25GB/s`,
    );
  }
  return { flops, bandwidth };
}
