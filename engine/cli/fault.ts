/** The option --fault: a rank that fails on purpose. */
import type { Backend, Variant } from "../cluster/types.ts";
import { InputError } from "../errors.ts";
import { didYouMean } from "../options.ts";
import { type Mask, sayMask } from "../layout/mask.ts";
import type { Fault } from "../rank/job.ts";
import { choiceOption, wholeOption } from "./options.ts";

/** `rank=2,hop=1,kind=exit`; in a session also with a step: `rank=2,step=5,hop=1,kind=exit`. */
export function faultOption(text: string | undefined, where: "run" | "session" = "run"): Fault | undefined {
  if (text === undefined) return undefined;
  const known = where === "run" ? ["rank=R", "hop=J", "kind=K"] : ["rank=R", "step=S", "hop=J", "kind=K"];
  const fields = new Map(text.split(",").map((part) => part.split("=", 2) as [string, string]));
  const unknown = [...fields.keys()].find((name) => !known.some((field) => field.startsWith(`${name}=`)));
  if (unknown !== undefined) {
    throw new InputError(`--fault: found ${JSON.stringify(unknown)}, expected ${known.join(",")}${
      didYouMean(
        unknown,
        known.map((field) => field.split("=")[0]),
      )
    }`);
  }
  if (where === "session" && !fields.has("step")) {
    throw new InputError(
      `--fault: found ${JSON.stringify(text)}, expected also the step in which it strikes: rank=R,step=S,hop=J`,
    );
  }
  const kind = choiceOption("--fault kind", fields.get("kind"), ["exit", "drop", "lose-device"]) ?? "exit";
  const rank = wholeOption("--fault rank", fields.get("rank") ?? "", 0)!;
  return {
    rank,
    hop: wholeOption("--fault hop", fields.get("hop") ?? "0", 0)!,
    kind,
    step: wholeOption("--fault step", fields.get("step"), 0),
  };
}

/** Refuses a fault that cannot strike: the run would pass although it should fail. Errors: InputError. */
export function requireFault(
  { rank, hop, kind }: Fault,
  ranks: number,
  variant: Variant | "auto",
  backend: Backend,
): void {
  const last = variant === "pass-kv" ? ranks - 2 : ranks - 1;
  if (rank >= ranks) throw new InputError(`--fault rank: found ${rank}, expected a rank from 0 to ${ranks - 1}`);
  if (hop > last) {
    throw new InputError(
      `--fault hop: found ${hop}, expected a hop at which ${variant} on ${ranks} ranks sends${
        last < 0 ? " (it has none)" : `, 0 to ${last}`
      }`,
    );
  }
  if (kind === "lose-device" && backend === "cpu") {
    throw new InputError(
      "--fault kind: found lose-device with --backend cpu, which has no device; expected exit or drop",
    );
  }
}

/** The error of a run that passed although a fault was asked for: the rank had no message to lose. */
export function needlessFault({ rank, hop, kind }: Fault, mask: Mask): InputError {
  const where = `hop ${hop} of rank ${rank}, which sends nothing there under the mask ${sayMask(mask)}`;
  return new InputError(`--fault: found ${kind} at ${where}; expected a hop at which it sends, or the kind exit`);
}
