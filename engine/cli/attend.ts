/** `ringside attend`: O and LSE of one's own Q, K and V over a ring of ranks. */
import { Cluster } from "../cluster/cluster.ts";
import type { AttendInput, Backend, Report, Variant } from "../cluster/types.ts";
import { validateAttend } from "../cluster/validate.ts";
import { InputError } from "../errors.ts";
import type { Fault } from "../rank/job.ts";
import { type Check, check } from "../reference/check.ts";
import { writeNpy } from "../tensor/npy.ts";
import { chromeTrace } from "../trace/perfetto.ts";
import { checkOutputs, type Command, type Io, writeOutputs } from "./io.ts";
import { choiceOption, faultOption, linkOption, numberOption, parseOptions, ratesOption, sequencesOption, wholeOption } from "./options.ts";
import { naming, readTensors, sequencesFor } from "./tensors.ts";
import { table } from "./table.ts";

const HELP = `ringside attend: exact attention over a ring of simulated ranks

  ringside attend --q Q.npy --k K.npy --v V.npy        or --tensors F.safetensors (tensors q, k, v)

  q [sum T, H, D]; k, v [sum (T+P), Hkv, D], each sequence's cached rows before its new rows.
  .npy: little-endian f4 or f2, C order. safetensors: F32, F16 or BF16.

  --ranks N              context-parallel ranks (4)
  --variant V            pass-kv (default), pass-q, or auto (Algorithm 5)
  --sequences T:P,...    new and cached tokens of each sequence (one sequence, P = K rows - Q rows)
  --no-causal            every query sees every key of its sequence
  --scale X              of the scores (1/sqrt(D))
  --wire-dtype E         how KV (pass-kv) or Q (pass-q) is stored and sent: f32 (default), f16, bf16
  --link B,L             a link of B bytes/s and L s latency for each rank
  --backend B            webgpu (default) or cpu (plain TypeScript)
  --rates C,BW           FLOP/s and bytes/s of a rank, for --variant auto (else the smaller message travels)
  --timeout S            seconds from a fault to its error (5)
  --out O.npy            O, f4 [sum T, H, D]
  --lse L.npy            LSE, f4 [sum T, H]
  --trace T.json         timeline as Chrome-trace JSON, for ui.perfetto.dev
  --check                compare with float64; exit status 1 if it is off
  --json                 the report as one JSON document
  --runtime R            node (default) or deno
  --fault rank=R,hop=J[,kind=exit|drop|lose-device]    make a rank fail on purpose

  Exit status: 0 done, 1 the check or the run failed, 2 bad input or usage.
`;

/** The command. */
export const attend: Command = async (argv, io) => {
  const o = parseOptions(argv, {
    q: { type: "string" }, k: { type: "string" }, v: { type: "string" }, tensors: { type: "string" },
    ranks: { type: "string" }, variant: { type: "string" }, sequences: { type: "string" }, "no-causal": { type: "boolean" }, scale: { type: "string" },
    "wire-dtype": { type: "string" }, link: { type: "string" }, backend: { type: "string" }, timeout: { type: "string" }, rates: { type: "string" },
    out: { type: "string" }, lse: { type: "string" }, trace: { type: "string" }, check: { type: "boolean" }, json: { type: "boolean" },
    fault: { type: "string" }, help: { type: "boolean", short: "h" },
  });
  if (o.help) {
    io.stdout(HELP);
    return 0;
  }
  const ranks = wholeOption("--ranks", o.ranks, 1, 64) ?? 4;
  const variant = choiceOption("--variant", o.variant, ["pass-kv", "pass-q", "auto"]) ?? "pass-kv";
  const wireDtype = choiceOption("--wire-dtype", o["wire-dtype"], ["f32", "f16", "bf16"]) ?? "f32";
  const backend = choiceOption("--backend", o.backend, ["webgpu", "cpu"]) ?? "webgpu";
  const [link, fault, scale, timeout] = [linkOption(o.link), faultOption(o.fault), numberOption("--scale", o.scale), numberOption("--timeout", o.timeout)];
  if (fault !== undefined) requireFault(fault, ranks, variant, backend);
  const given = sequencesOption(o.sequences);
  await checkOutputs({ "--out": o.out, "--lse": o.lse, "--trace": o.trace });
  const tensors = await readTensors(o);
  const sequences = sequencesFor(tensors, given);

  const { signal } = io;
  const input: AttendInput = { ...tensors, sequences, variant, wireDtype, causal: !o["no-causal"], scale, rates: ratesOption(o.rates), signal, onProgress: progress(io) };
  naming(tensors.names, () => validateAttend(input)); // before ranks are started, and with the files' names
  const cluster = await Cluster.start(io.platform, { ranks, backend, link, timeout, fault, signal });
  try {
    const result = await cluster.attend(input);
    const checked = o.check ? check({ ...input, variant: result.report.variant }, result) : undefined;
    // The check holds the thread: a Ctrl-C of that time is heard only now, and must not leave files.
    await new Promise((resolve) => setTimeout(resolve));
    signal.throwIfAborted();
    const files: [string, Uint8Array | string][] = [];
    const { heads, headDim, queryRows } = tensors;
    if (o.out !== undefined) files.push([o.out, writeNpy([queryRows, heads, headDim], result.out)]);
    if (o.lse !== undefined) files.push([o.lse, writeNpy([queryRows, heads], result.lse)]);
    if (o.trace !== undefined) files.push([o.trace, chromeTrace(result.report.spans, `ringside attend ${result.report.variant}, ${ranks} ranks`)]);
    await writeOutputs(files);
    io.stdout(o.json ? `${JSON.stringify(document(result.report, checked), null, 2)}\n` : describe(result.report, checked));
    return checked?.passed === false ? 1 : 0;
  } finally {
    await cluster.dispose();
  }
};

/** A fault that cannot strike would let a run pass that was to fail. */
function requireFault({ rank, hop, kind }: Fault, ranks: number, variant: Variant | "auto", backend: Backend): void {
  const last = variant === "pass-kv" ? ranks - 2 : ranks - 1;
  if (rank >= ranks) throw new InputError(`--fault rank: found ${rank}, expected a rank from 0 to ${ranks - 1}`);
  if (hop > last) throw new InputError(`--fault hop: found ${hop}, expected a hop at which ${variant} on ${ranks} ranks sends${last < 0 ? " (it has none)" : `, 0 to ${last}`}`);
  if (kind === "lose-device" && backend === "cpu") throw new InputError("--fault kind: found lose-device with --backend cpu, which has no device; expected exit or drop");
}

/** Where the adapter came from, as the launcher tells it; nothing where no adapter is used. */
export function adapterSource(backend: Backend | "remote"): string | undefined {
  return backend !== "webgpu" ? undefined : process.env.RINGSIDE_ADAPTER_SOURCE;
}

function document(report: Report, checked: Check | undefined) {
  const { spans: _, ...facts } = report;
  const error = checked && {
    out: { max: checked.out.max, rms: checked.out.rms },
    lse: { max: checked.lse.max, rms: checked.lse.rms },
    tolerance: checked.tolerance,
    passed: checked.passed,
  };
  return { ...facts, adapterSource: adapterSource(report.backend) ?? null, ...(error && { error }) };
}

/** Hops done, on a line that overwrites itself. */
export function progress({ watched, stderr }: Io): ((done: number, total: number) => void) | undefined {
  return watched ? (done, total) => stderr(`\r${done} of ${total} hops${done === total ? "\r\x1b[K" : ""}`) : undefined;
}

function describe(report: Report, checked: Check | undefined): string {
  const { shape, times } = report;
  const batch = shape.sequences.map((s) => `${s.new} new + ${s.cached} cached`).join(", ");
  const ms = (s: number) => (s * 1000).toFixed(1);
  const lines = [
    `${report.variant} on ${report.ranks} ranks (${report.runtime}): ${batch} tokens; heads ${shape.heads}/${shape.kvHeads}, D ${shape.headDim}, wire ${report.wireDtype}`,
    `adapter: ${report.adapter.name}${report.adapter.software ? " (software)" : ""}${adapterSource(report.backend) === undefined ? "" : `; ${adapterSource(report.backend)}`}`,
    `kernel:  ${report.kernel}; clock: ${report.clock}`,
    ...(report.choice === undefined ? [] : [`chosen:  ${report.choice.reason}`]),
    "",
    table(["rank", "bytes sent", "bytes received", "messages", "padding bytes"], report.perRank.map((r) => [r.rank, r.bytesSent, r.bytesReceived, r.messages, r.paddingBytes])),
    "",
    `ms: compile ${ms(times.compile)}, upload ${ms(times.upload)}, attend ${ms(times.attend)}, exposed exchange ${ms(times.exchange)}, merge ${ms(times.merge)}, total ${ms(times.total)} (each of the slowest rank)`,
  ];
  if (checked !== undefined) lines.push(`against float64: out max ${checked.out.max.toExponential(2)}, rms ${checked.out.rms.toExponential(2)}; lse max ${checked.lse.max.toExponential(2)}: ${checked.passed ? "passed" : "FAILED"}`);
  return `${lines.join("\n")}\n`;
}
