/**
 * The check against float64 on the command line: run, said, and written to --json; and warnings of what a wire type
 * makes of the data.
 */
import { type Check, checkAsync, type CheckInput, type Judged } from "../reference/check.ts";
import type { DType } from "../tensor/dtype.ts";
import { sayUnderflow } from "../tensor/underflow.ts";
import type { Io } from "./io.ts";

/** Checks a result; Ctrl-C is heard meanwhile, and whoever watches sees how far it is. */
export async function checked(io: Io, input: CheckInput, result: Parameters<typeof checkAsync>[1]): Promise<Check> {
  const line = (text: string) => io.watched && io.stderr(`\r\x1b[K${text}`);
  let said = 0;
  try {
    return await checkAsync(input, result, {
      signal: io.signal,
      onProgress: (done, total) => {
        if (performance.now() - said < 100) return;
        said = performance.now();
        line(`checked ${done} of ${total} rows`);
      },
    });
  } finally {
    line("");
  }
}

/** As --json has it. */
export function checkDocument({ out, lse, tolerance, passed }: Check) {
  const side = ({ max, rms, worst }: Judged) => ({ max, rms, share: worst.share });
  return { out: side(out), lse: side(lse), tolerance, passed };
}

/** A line for people; where the check failed, one more for the element that is furthest beyond its bound. */
export function sayCheck(
  against: string,
  { out, lse, passed }: Check,
  { heads, headDim, wireDtype = "f32" }: Pick<CheckInput, "heads" | "headDim" | "wireDtype">,
): string {
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
      Math.floor(out.worst.at / (heads * headDim)),
      Math.floor(out.worst.at / headDim) % heads,
      `, column ${out.worst.at % headDim}`,
    ]
    : [Math.floor(lse.worst.at / heads), lse.worst.at % heads, ""];
  const { found, expected, allowed } = of.worst;
  return `${verdict}: FAILED\n${
    of === out ? "O" : "LSE"
  } of row ${token}, head ${head}${column}: found ${found}, expected ${expected} within ${allowed.toExponential(2)}`;
}

/** Warns, a line a tensor, where a wire type underflows what it stores. */
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
