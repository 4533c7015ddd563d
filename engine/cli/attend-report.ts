/** The report of `ringside attend`, for people and for --json. */
import type { Report } from "../cluster/types.ts";
import type { Check } from "../reference/check.ts";
import type { Verification } from "../reference/verify/types.ts";
import { describeRemote, remoteRunOf } from "./remote.ts";
import { maskLines } from "./mask-text.ts";
import { adapterSource, adapterText, headsText, millisecondsText, timeoutText } from "./run-text.ts";
import { table } from "./table.ts";
import { checkDocument, describeVerification, sayCheck, verificationDocument } from "./verdict.ts";

/** The report as --json prints it. */
export function attendDocument(report: Report, checked: Check | undefined, verified: Verification | undefined) {
  const { spans: _, ...facts } = report;
  return {
    ...facts,
    adapterSource: adapterSource(report.backend) ?? null,
    ...(checked && { error: checkDocument(checked) }),
    ...(verified && { verified: verificationDocument(verified) }),
  };
}

/** The report as text for people. */
export function attendText(report: Report, checked: Check | undefined, verified: Verification | undefined): string {
  const { shape, times } = report;
  const ran = remoteRunOf(report);
  const batch = shape.sequences.map((s) => `${s.new} new + ${s.cached} cached`).join(", ");
  const heads = headsText(shape);
  const lines = [
    `${report.variant} on ${report.ranks} ranks (${report.runtime}): ${batch} tokens; ${heads}, wire ${report.wireDtype}`,
    `adapter: ${adapterText(report.adapter, report.backend)}`,
    `kernel:  ${report.kernel}; clock: ${report.clock}`,
    ...(report.timeout === undefined ? [] : [`timeout: ${timeoutText(report.timeout)}`]),
    ...(ran === undefined ? [] : describeRemote(ran)),
    ...maskLines([report]),
    ...(report.choice === undefined ? [] : [`chosen:  ${report.choice.reason}`]),
    "",
    table(
      ["rank", "bytes sent", "bytes received", "messages", "padding bytes"],
      report.perRank.map((r) => [r.rank, r.bytesSent, r.bytesReceived, r.messages, r.paddingBytes]),
    ),
    "",
    `ms: ${timesText(times)} (each of the slowest rank)`,
  ];
  if (checked !== undefined) {
    lines.push(sayCheck("against float64", checked, { ...shape, wireDtype: report.wireDtype }));
  }
  if (verified !== undefined) lines.push(describeVerification(verified));
  return `${lines.join("\n")}\n`;
}

/** The times of a run. A worker doesn't measure all of them. */
function timesText(times: Partial<Report["times"]>): string {
  const all = [
    ["compile", times.compile],
    ["waiting for all ranks to be ready", times.barrier],
    ["upload", times.upload],
    ["attend", times.attend],
    ["exposed communication", times.exchange],
    ["waiting for late senders", times.late],
    ["merge", times.merge],
    ["total", times.total],
  ] as const;
  return all.flatMap(([name, seconds]) => seconds === undefined ? [] : [`${name} ${millisecondsText(seconds)}`]).join(
    ", ",
  );
}
