/** Validates a simulated link: its own numbers, and the time that a run's messages take on it. */
import { InputError } from "../errors.ts";
import { refuseUnknown, sayValue } from "../options.ts";
import { bytesPer } from "../tensor/dtype.ts";
import { type ValueHead, valueHead } from "../tensor/heads.ts";
import type { AttendInput, Link } from "./types.ts";

/** Most seconds for one message on a simulated link, and for all of a run. */
const MOST_SECONDS = 3600;

/**
 * Throws InputError unless a link can carry a message; `name` is the option that gave it. See also {@link validateRun}.
 */
export function validateLink(link: Link, name = "link"): void {
  refuseUnknown(name, link, ["bandwidth", "latency"]);
  const { bandwidth, latency } = link;
  if (typeof bandwidth !== "number" || typeof latency !== "number" || !(bandwidth > 0) || !(latency >= 0)) {
    throw new InputError(
      `${name}: found ${sayValue(bandwidth)} bytes/s and ${
        sayValue(latency)
      } s, expected a bandwidth above 0 and a latency of at least 0`,
    );
  }
  if (latency > MOST_SECONDS) {
    throw new InputError(
      `${name}: found a latency of ${latency} s, expected at most ${MOST_SECONDS}: each message takes that long`,
    );
  }
}

/**
 * Throws InputError if a rank's messages of one attention of T new and P cached tokens would take hours on a link: N-1
 * ring messages, and in pass-Q N-1 parcels.
 */
export function validateRun(
  { heads, kvHeads, headDim, wireDtype = "f32", variant = "pass-kv", ...values }:
    & Pick<AttendInput, "heads" | "kvHeads" | "headDim" | "wireDtype" | "variant">
    & Omit<ValueHead, "headDim">,
  tokens: { readonly new: number; readonly cached: number },
  ranks: number,
  link: Link | undefined,
  name = "link",
): void {
  if (link === undefined || ranks === 1) return;
  const fresh = Math.ceil(tokens.new / ranks);
  const { valueDim, valuesInKeys } = valueHead({ headDim, ...values });
  const elements = kvHeads * (valuesInKeys ? headDim : headDim + valueDim);
  const kv = Math.ceil((tokens.new + tokens.cached) / ranks) * elements * bytesPer(wireDtype);
  const q = fresh * heads * (headDim * bytesPer(wireDtype) + valueDim * 4 + 4);
  const bytes = (ranks - 1) * (variant === "pass-kv" ? kv : variant === "pass-q" ? q : Math.min(kv, q));
  const seconds = bytes / link.bandwidth + (ranks - 1) * link.latency;
  if (seconds > MOST_SECONDS) {
    throw new InputError(
      `${name}: found ${link.bandwidth} bytes/s and ${link.latency} s, on which a rank's ${bytes} bytes in ${
        ranks - 1
      } messages take ${
        seconds.toPrecision(3)
      } s, expected at most ${MOST_SECONDS} (an hour): use a faster link or fewer tokens`,
    );
  }
}
