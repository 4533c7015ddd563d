/** The Lab's files. */
import type { Check } from "../../lib/experiment/judge.ts";
import type { Report } from "../../engine/run.ts";
import type { Experiment } from "../../lib/experiment/experiment.ts";
import { inputsJson, type OwnData } from "../../lib/own/data.ts";

/**
 * The report with its experiment, the seconds of compilation before it, its check (null if there was none) and the
 * address that reproduces it. The visitor's files replace seed and address.
 */
export function reportJson(
  experiment: Experiment,
  report: Report,
  compiledBefore: number,
  check: Check | undefined,
  address: string,
  own?: OwnData,
): string {
  if (own !== undefined) {
    const { seed: _, ...rest } = experiment;
    return JSON.stringify(
      { address: null, experiment: rest, inputs: inputsJson(own), compiledBefore, ...report, check: check ?? null },
      null,
      2,
    );
  }
  return JSON.stringify({ address, experiment, compiledBefore, ...report, check: check ?? null }, null, 2);
}

/** Title of a trace. */
export function traceTitle({ N, T, P, H, Hkv, D, variant }: Experiment): string {
  return `Ringside ${variant}, N=${N}, T=${T}, P=${P}, H=${H}/${Hkv}, D=${D}`;
}
