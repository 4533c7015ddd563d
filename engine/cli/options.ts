/** Reads options: one place that says what was found and what was expected. */
import { parseArgs, type ParseArgsConfig } from "node:util";
import type { Sequence } from "../layout/shards.ts";
import type { Fault } from "../rank/job.ts";
import type { Link } from "../cluster/types.ts";
import { InputError } from "../errors.ts";

/** parseArgs whose complaints are InputErrors. No positional arguments. */
export function parseOptions<T extends NonNullable<ParseArgsConfig["options"]>>(argv: readonly string[], options: T) {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: false, strict: true }).values;
  } catch (error) {
    const { code, message } = error as Error & { code?: string };
    const what = message.replaceAll("\n", " ").replace(/\.$/, "");
    throw new InputError(code === "ERR_PARSE_ARGS_UNKNOWN_OPTION" ? `${what}; known options: ${Object.keys(options).map((name) => `--${name}`).join(", ")}` : what);
  }
}

/** A number written in full. */
export function numberOption(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = text.trim() === "" ? NaN : Number(text);
  if (!Number.isFinite(value)) throw new InputError(`${name}: found ${JSON.stringify(text)}, expected a number`);
  return value;
}

/** A whole number of at least `least`. */
export function wholeOption(name: string, text: string | undefined, least: number, most = Number.MAX_SAFE_INTEGER): number | undefined {
  const value = numberOption(name, text);
  if (value !== undefined && (!Number.isSafeInteger(value) || value < least || value > most)) {
    throw new InputError(`${name}: found ${JSON.stringify(text)}, expected a whole number ${most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`}`);
  }
  return value;
}

/** One of some words. */
export function choiceOption<const T extends string>(name: string, text: string | undefined, choices: readonly T[]): T | undefined {
  if (text !== undefined && !choices.includes(text as T)) throw new InputError(`${name}: found ${JSON.stringify(text)}, expected ${choices.join(" or ")}`);
  return text as T | undefined;
}

/** `BYTES_PER_S,LATENCY_S` */
export function linkOption(text: string | undefined): Link | undefined {
  if (text === undefined) return undefined;
  const parts = text.split(",").map((part) => (part.trim() === "" ? NaN : Number(part)));
  const [bandwidth, latency] = parts;
  if (parts.length !== 2 || !(bandwidth > 0) || !(latency >= 0) || !Number.isFinite(latency)) {
    throw new InputError(`--link: found ${JSON.stringify(text)}, expected BYTES_PER_S,LATENCY_S such as 5e7,0.001`);
  }
  return { bandwidth, latency };
}

/** `T:P,T:P` */
export function sequencesOption(text: string | undefined): Sequence[] | undefined {
  return text?.split(",").map((part) => {
    const match = /^(\d+):(\d+)$/.exec(part.trim());
    if (match === null) throw new InputError(`--sequences: found ${JSON.stringify(part)}, expected T:P for each sequence, such as 128:0,40:512`);
    return { new: Number(match[1]), cached: Number(match[2]) };
  });
}

/** `rank=2,hop=1,kind=exit`, in a session with its step: `rank=2,step=5,hop=1,kind=exit`. */
export function faultOption(text: string | undefined, where: "run" | "session" = "run"): Fault | undefined {
  if (text === undefined) return undefined;
  const known = where === "run" ? ["rank=R", "hop=J", "kind=K"] : ["rank=R", "step=S", "hop=J", "kind=K"];
  const fields = new Map(text.split(",").map((part) => part.split("=", 2) as [string, string]));
  const unknown = [...fields.keys()].find((name) => !known.some((field) => field.startsWith(`${name}=`)));
  if (unknown !== undefined) throw new InputError(`--fault: found ${JSON.stringify(unknown)}, expected ${known.join(",")}`);
  if (where === "session" && !fields.has("step")) throw new InputError(`--fault: found ${JSON.stringify(text)}, expected the step that it strikes too: rank=R,step=S,hop=J`);
  const kind = choiceOption("--fault kind", fields.get("kind"), ["exit", "drop", "lose-device"]) ?? "exit";
  const rank = wholeOption("--fault rank", fields.get("rank") ?? "", 0)!;
  return { rank, hop: wholeOption("--fault hop", fields.get("hop") ?? "0", 0)!, kind, step: wholeOption("--fault step", fields.get("step"), 0) };
}

/** `FLOP_PER_S,BYTES_PER_S` of a rank. */
export function ratesOption(text: string | undefined): { flops: number; bandwidth: number } | undefined {
  if (text === undefined) return undefined;
  const [flops, bandwidth, ...rest] = text.split(",").map(Number);
  if (rest.length > 0 || !(flops > 0) || !(bandwidth > 0)) throw new InputError(`--rates: found ${JSON.stringify(text)}, expected FLOP_PER_S,BYTES_PER_S such as 5e14,2.5e10`);
  return { flops, bandwidth };
}
