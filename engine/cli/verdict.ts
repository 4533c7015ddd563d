/** Judges a result: the check against float64, the verification of rows, and warnings of underflow. */
import { type Check, checkAsync, type CheckInput, type Judged } from "../reference/check.ts";
import type { Verification } from "../reference/verify/types.ts";
import { valueHead } from "../tensor/heads.ts";
import type { DType } from "../tensor/dtype.ts";
import { sayUnderflow } from "../tensor/underflow.ts";
import type { Io } from "./io.ts";
import { progressLine } from "./progress.ts";

/** Checks a result and shows its progress. Ctrl-C ends it. */
export async function checkResult(
  io: Io,
  input: CheckInput,
  result: Parameters<typeof checkAsync>[1],
): Promise<Check> {
  const line = progressLine(io);
  let shown = 0;
  try {
    return await checkAsync(input, result, {
      signal: io.signal,
      onProgress: (done, total) => {
        if (performance.now() - shown < 100) return;
        shown = performance.now();
        line(`checked ${done} of ${total} rows`);
      },
    });
  } finally {
    line("");
  }
}

/** The check in --json. */
export function checkDocument({ out, lse, tolerance, passed }: Check) {
  const side = ({ max, rms, worst }: Judged) => ({ max, rms, share: worst.share });
  return { out: side(out), lse: side(lse), tolerance, passed };
}

/** A line for people. If the check failed, a second line names the element that is furthest beyond its bound. */
export function sayCheck(
  against: string,
  { out, lse, passed }: Check,
  { heads, wireDtype = "f32", ...shape }:
    & Pick<CheckInput, "heads" | "headDim" | "valueDim" | "wireDtype">
    & { readonly v?: CheckInput["v"] },
): string {
  const { valueDim: Dv } = valueHead(shape);
  const percent = (100 * Math.max(out.worst.share, lse.worst.share)).toFixed(1);
  const share = `at most ${percent} % of what rounding allows${
    wireDtype === "f32" ? "" : ` the values in ${wireDtype}`
  }`;
  const verdict = `${against}: out max ${out.max.toExponential(2)}, rms ${out.rms.toExponential(2)}; lse max ${
    lse.max.toExponential(2)
  } (${share})`;
  if (passed) return `${verdict}: passed`;
  const of = out.within ? lse : out;
  const [token, head, column] = of === out
    ? [
      Math.floor(out.worst.at / (heads * Dv)),
      Math.floor(out.worst.at / Dv) % heads,
      `, column ${out.worst.at % Dv}`,
    ]
    : [Math.floor(lse.worst.at / heads), lse.worst.at % heads, ""];
  const { found, expected, allowed } = of.worst;
  return `${verdict}: FAILED\n${
    of === out ? "O" : "LSE"
  } of row ${token}, head ${head}${column}: found ${found}, expected ${expected} within ${allowed.toExponential(2)}`;
}

/** A verification of sampled rows in --json. */
export function verificationDocument(
  { rows, maxOut, maxLse, tolerance, passed, worst, with: how, seconds }: Verification,
) {
  return { rows: rows.length, maxOut, maxLse, tolerance, passed, worst: worst ?? null, with: how, seconds };
}

/** A verification as text for people, with the row that is nearest to its bar. */
export function describeVerification(
  { rows, maxOut, maxLse, tolerance, passed, worst, with: how, seconds }: Verification,
): string {
  const where = worst === undefined
    ? ""
    : `; nearest to its bar: token ${worst.row[0]}, head ${worst.row[1]} (${worst.keys} keys): O off by ${
      worst.out.error.toExponential(2)
    } at column ${worst.out.column} of ${worst.out.allowed.toExponential(2)} allowed, LSE by ${
      worst.lse.error.toExponential(2)
    } of ${worst.lse.allowed.toExponential(2)}`;
  return `verified ${rows.length} rows here (${how}, ${seconds.toFixed(1)} s): out max ${
    maxOut.toExponential(2)
  }, lse max ${maxLse.toExponential(2)}: ${passed ? "passed" : "FAILED"}${where}\nallowed: ${tolerance}`;
}

/** Warns if the wire type underflows values of a tensor: one line for each such tensor. */
export function warnUnderflow(
  io: Io,
  tensors: readonly (readonly [name: string, data: Float32Array])[],
  wireDtype: DType,
  headDim: number,
): void {
  for (const [name, data] of tensors) {
    const said = sayUnderflow(name, data, wireDtype, headDim);
    if (said !== undefined) io.stderr(`warning: ${said}\n`);
  }
}
