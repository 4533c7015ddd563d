/** What the Lab gives away as files. */
import type { Check } from "../check.ts";
import type { Report } from "../engine.ts";
import type { Experiment } from "../experiment.ts";

/** The report with its experiment, the seconds of compiling before it, its check (null where there was none) and the address that reproduces it. */
export function reportJson(experiment: Experiment, report: Report, compiledBefore: number, check: Check | undefined, address: string): string {
  return JSON.stringify({ address, experiment, compiledBefore, ...report, check: check ?? null }, null, 2);
}

/** Title of a trace. */
export function traceTitle({ N, T, P, H, Hkv, D, variant }: Experiment): string {
  return `Ringside ${variant}, N=${N}, T=${T}, P=${P}, H=${H}/${Hkv}, D=${D}`;
}
