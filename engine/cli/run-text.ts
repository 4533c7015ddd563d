/** Words about a run that several commands print. */
import process from "node:process";
import type { Backend, Report } from "../cluster/types.ts";

/** The source of the adapter, as the launcher found it. Undefined if the run uses no adapter. */
export function adapterSource(backend: Backend | "remote"): string | undefined {
  return backend !== "webgpu" ? undefined : process.env.RINGSIDE_ADAPTER_SOURCE;
}

/** The adapter, and its source. */
export function adapterText({ name, software }: Report["adapter"], backend: Backend | "remote"): string {
  const source = adapterSource(backend);
  return `${name}${software ? " (software)" : ""}${source === undefined ? "" : `; ${source}`}`;
}

/** The time limit from a fault to its error. */
export function timeoutText({ asked, used }: NonNullable<Report["timeout"]>): string {
  return `${asked} s on a quiet machine, ${used.toFixed(1)} s on this one now`;
}

/** The heads of a run: H/Hkv, D, and Dv if it differs or values are part of K. */
export function headsText(
  { heads, kvHeads, headDim, valueDim, valuesInKeys }: Omit<Report["shape"], "sequences">,
): string {
  const values = valuesInKeys
    ? `, V the first ${valueDim} of K's ${headDim} elements`
    : valueDim === headDim
    ? ""
    : `, Dv ${valueDim}`;
  return `heads ${heads}/${kvHeads}, D ${headDim}${values}`;
}

/** Seconds as milliseconds; "-" for a time that a worker doesn't measure. */
export function millisecondsText(seconds: number | undefined): string {
  return seconds === undefined ? "-" : (seconds * 1000).toFixed(1);
}
