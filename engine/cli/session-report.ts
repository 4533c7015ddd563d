/** The report of `ringside session`, for people and for --json. */
import type { SessionFace, SessionOptions, StepReport } from "../cluster/types.ts";
import { isLocal } from "../layout/mask.ts";
import type { Check } from "../reference/check.ts";
import type { Span } from "../trace/span.ts";
import { describeRemote, remoteRunOf } from "./remote.ts";
import { maskLines } from "./mask-text.ts";
import { adapterSource, adapterText, headsText, millisecondsText, timeoutText } from "./run-text.ts";
import type { ScriptRun } from "./session-run.ts";
import { table } from "./table.ts";
import { checkDocument, sayCheck } from "./verdict.ts";

type Shape = Pick<SessionOptions, "heads" | "kvHeads" | "headDim" | "valueDim" | "v" | "wireDtype">;

/** The report as --json prints it. */
export function sessionDocument(
  { reports, recovered }: ScriptRun,
  ranks: number,
  { wireDtype }: Shape,
  capacity: SessionFace["capacity"],
  checked: Check | undefined,
) {
  const { adapter, runtime, clock, timeout, backend, mask, sinks, dealing } = reports[0];
  const { sequences: _, ...shape } = reports[0].shape;
  const remote = remoteRunOf(reports[0]);
  return {
    adapter,
    adapterSource: adapterSource(backend) ?? null,
    backend,
    runtime,
    clock,
    timeout,
    ranks,
    wireDtype,
    mask,
    sinks,
    dealing,
    shape,
    capacity,
    steps: reports.map(stepDocument),
    recovered,
    ...(checked && { error: checkDocument(checked) }),
    ...(remote && { remote }),
  };
}

/** The report as text for people. */
export function sessionText({ reports }: ScriptRun, ranks: number, shape: Shape, checked: Check | undefined): string {
  const { adapter, runtime, kernel, clock, timeout, backend } = reports[0];
  const remote = remoteRunOf(reports[0]);
  const facts = [
    `${ranks} ranks (${runtime})`,
    headsText(reports[0].shape),
    `adapter: ${adapterText(adapter, backend)}`,
    `kernel: ${kernel}`,
    `clock: ${clock}`,
    ...(timeout === undefined ? [] : [`timeout: ${timeoutText(timeout)}`]),
  ];
  const lines = [
    facts.join("; "),
    ...(remote === undefined ? [] : describeRemote(remote)),
    ...maskLines(reports),
    "",
    stepTable(reports),
  ];
  if (checked !== undefined) lines.push("", sayCheck("against one full prefill in float64", checked, shape));
  return `${lines.join("\n")}\n`;
}

/** A step's report as --json prints it. */
function stepDocument(report: StepReport) {
  const { step, mode, batch, missRate, variant, choice, kernel, perRank, skipped, paddingBytes, tokens, times } =
    report;
  const bytes = perRank.reduce((sum, r) => sum + r.bytesSent, 0);
  const messages = perRank.reduce((sum, r) => sum + r.messages, 0);
  return {
    step,
    mode,
    batch,
    T: batch.reduce((sum, b) => sum + b.new, 0),
    P: batch.reduce((sum, b) => sum + b.cached, 0),
    missRate,
    variant,
    reason: choice?.reason ?? (mode === "decode" ? "decode is pass-Q (Algorithm 4)" : "given"),
    choice,
    kernel,
    bytes,
    messages,
    skipped,
    paddingBytes,
    perRank,
    tokens,
    times,
  };
}

/** All steps as a table. */
function stepTable(reports: readonly StepReport[]): string {
  const ms = millisecondsText;
  const local = isLocal(reports[0].mask);
  const rows = reports.map((r) => {
    const d = stepDocument(r);
    return [
      d.step,
      d.mode,
      d.T,
      d.P,
      `${(100 * d.missRate).toFixed(1)} %`,
      d.variant,
      d.bytes,
      d.messages,
      ...(local ? [d.skipped.bytes] : []),
      d.paddingBytes,
      ms(d.times.compile + (d.times.barrier ?? 0)),
      ms(d.times.attend),
      ms(d.times.exchange),
      ms(d.times.late),
      ms(d.times.total),
    ];
  });
  return table([
    "step",
    "mode",
    "T",
    "P",
    "miss",
    "variant",
    "bytes",
    "messages",
    ...(local ? ["skipped"] : []),
    "padding",
    "compile ms",
    "attend ms",
    "exposed ms",
    "late ms",
    "total ms",
  ], rows);
}

/** The spans of all steps, one step after the other. */
export function endToEnd(reports: readonly StepReport[]): Span[] {
  let at = 0;
  return reports.flatMap((report) => {
    const shifted = report.spans.map((s) => ({ ...s, start: s.start + at }));
    at += report.times.total;
    return shifted;
  });
}
