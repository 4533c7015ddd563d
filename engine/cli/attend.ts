/** `ringside attend`: O and LSE of one's own Q, K and V over a ring of ranks. */
import type { AttendInput, Backend, ClusterOptions, Report, Variant } from "../cluster/types.ts";
import { validateAttend, validateRun, validateScale, validateSeeded } from "../cluster/validate.ts";
import { InputError } from "../errors.ts";
import { productsOf } from "../gpu/products.ts";
import type { Fault } from "../rank/job.ts";
import type { Check } from "../reference/check.ts";
import { sampleRows } from "../reference/verify/sample.ts";
import type { Row, Verification, VerifyInput } from "../reference/verify/types.ts";
import { verifyRows as verifyHere } from "../reference/verify/verify.ts";
import { writeNpy } from "../tensor/npy.ts";
import { chromeTrace } from "../trace/perfetto.ts";
import { FAULT, OPTION, optionLines, withRemark } from "./help.ts";
import { checkOutputs, type Command, type Io, writeOutputs } from "./io.ts";
import {
  choiceOption,
  faultOption,
  linkOption,
  numberOption,
  parseOptions,
  ratesOption,
  sequencesOption,
  wholeOption,
} from "./options.ts";
import {
  connect,
  describeRemote,
  describeVerification,
  elsewhere,
  REMOTE_HELP,
  REMOTE_OPTIONS,
  remoteOption,
  remoteRunOf,
  type RemoteWorker,
  startCluster,
  verificationDocument,
  watchOf,
} from "./remote.ts";
import { type Seeded, seededOption, seededTensors } from "./seeded.ts";
import { checkDocument, checkResult, sayCheck, warnUnderflow } from "./verdict.ts";
import { naming, readTensors, sequencesFor, type Tensors } from "./tensors.ts";
import { table } from "./table.ts";

const HELP = `ringside attend: computes exact attention over a ring of simulated ranks

  ringside attend --q Q.npy --k K.npy --v V.npy [options]
  ringside attend --tensors F.safetensors [options]
  ringside attend --seed S --shape T[:P],H,Hkv,D [options]

Inputs
  q has the shape [sum T, H, D]; k and v have [sum (T+P), Hkv, D]. In k and v, each sequence has its
  cached rows before its new rows.
${
  optionLines(
    OPTION.npy,
    OPTION.tensors,
    ["--seed S", "make the inputs from this seed: the same numbers here and on a remote worker"],
    ["--shape T[:P],H,Hkv,D", "their new and cached tokens, query heads, KV heads and head dimension"],
    ["--sequences T:P,...", "new and cached tokens of each sequence (default: one, with P = K rows - Q rows)"],
  )
}

The run
${
  optionLines(
    withRemark(OPTION.ranks, "default 4"),
    ["--variant V", "pass-kv (default), pass-q, or auto (Algorithm 5)"],
    ["--no-causal", "let every query see every key of its sequence"],
    OPTION.scale,
    OPTION.wireDtype,
    OPTION.link,
    withRemark(OPTION.rates, "default: the smaller message travels"),
    OPTION.backend,
    OPTION.timeout,
    ["--fault rank=R,hop=J[,kind=K]", FAULT],
    OPTION.runtime,
  )
}

Output
${
  optionLines(
    OPTION.out,
    OPTION.lse,
    OPTION.trace,
    OPTION.check,
    [
      "--verify-rows N",
      "with seeded inputs: compute N rows of O and LSE again in float64, without any whole tensor, and exit with " +
      "status 1 if a row is off",
    ],
    ["--verify-with W", "float64 (default), or webgpu: f32 on this machine's GPU"],
    OPTION.json,
  )
}

A remote worker
  It holds and computes Q, K and V in the type of --wire-dtype, and makes seeded inputs itself. Then
  only verified rows come back, and O and LSE only if --out, --lse or --check need them.
${REMOTE_HELP}

Exit status: 0 done, 1 the check or the run failed, 2 bad input or usage.
`;

/** The command. */
export const attend: Command = async (argv, io) => {
  const o = parseOptions(argv, {
    q: { type: "string" },
    k: { type: "string" },
    v: { type: "string" },
    tensors: { type: "string" },
    ranks: { type: "string" },
    variant: { type: "string" },
    sequences: { type: "string" },
    "no-causal": { type: "boolean" },
    scale: { type: "string" },
    "wire-dtype": { type: "string" },
    link: { type: "string" },
    backend: { type: "string" },
    timeout: { type: "string" },
    rates: { type: "string" },
    out: { type: "string" },
    lse: { type: "string" },
    trace: { type: "string" },
    check: { type: "boolean" },
    json: { type: "boolean" },
    fault: { type: "string" },
    seed: { type: "string" },
    shape: { type: "string" },
    "verify-rows": { type: "string" },
    "verify-with": { type: "string" },
    ...REMOTE_OPTIONS,
    help: { type: "boolean", short: "h" },
  });
  if (o.help) {
    io.stdout(HELP);
    return 0;
  }
  await checkOutputs({ "--out": o.out, "--lse": o.lse, "--trace": o.trace }, {
    "--q": o.q,
    "--k": o.k,
    "--v": o.v,
    "--tensors": o.tensors,
    "--token-file": o["token-file"],
  });
  const remote = await remoteOption(o, { "--backend": o.backend, "--timeout": o.timeout, "--fault": o.fault });
  const ranks = wholeOption("--ranks", o.ranks, 1, remote === undefined ? 64 : 1024) ?? 4;
  const variant = choiceOption("--variant", o.variant, ["pass-kv", "pass-q", "auto"]) ?? "pass-kv";
  const wireDtype = choiceOption("--wire-dtype", o["wire-dtype"], ["f32", "f16", "bf16"]) ?? "f32";
  const backend = choiceOption("--backend", o.backend, ["webgpu", "cpu"]) ??
    (remote === undefined ? "webgpu" : undefined);
  const [link, fault, scale, timeout] = [
    linkOption(o.link),
    faultOption(o.fault),
    numberOption("--scale", o.scale),
    numberOption("--timeout", o.timeout),
  ];
  validateScale(scale, elsewhere(remote), "--scale");
  if (fault !== undefined) requireFault(fault, ranks, variant, backend!);
  const given = sequencesOption(o.sequences);
  const seeded = seededOption(o.seed, o.shape, given);
  const verifyRows = wholeOption("--verify-rows", o["verify-rows"], 1, 4096);
  const how = choiceOption("--verify-with", o["verify-with"], ["float64", "webgpu"]);
  if (seeded !== undefined && remote !== undefined) validateSeeded({ ...seeded, scale }, elsewhere(remote));
  const files = (["q", "k", "v", "tensors"] as const).find((name) => o[name] !== undefined);
  if (seeded !== undefined && files !== undefined) {
    throw new InputError(`--seed: found beside --${files}, expected seeded inputs or files`);
  }
  if (verifyRows !== undefined && seeded === undefined) {
    throw new InputError(
      "--verify-rows: found without --seed and --shape, expected seeded inputs, which can be made again row by row; use --check for files",
    );
  }
  if (how !== undefined && verifyRows === undefined) {
    throw new InputError("--verify-with: found without --verify-rows, expected how many rows too");
  }
  if (o.check && remote !== undefined && wireDtype !== "f32") {
    throw new InputError(
      `--check: found beside --remote and --wire-dtype ${wireDtype}, whose kernels round more than what travels; expected --verify-rows with seeded inputs, or --wire-dtype f32`,
    );
  }

  const { signal } = io;
  const rows = seeded && verifyRows && sampleRows(seeded, ranks, verifyRows);
  const options = { variant, wireDtype, causal: !o["no-causal"], scale, rates: ratesOption(o.rates), signal };
  // Nothing of a seeded remote run is needed here but the rows to verify, unless the whole of it is asked for.
  const away = remote !== undefined && seeded !== undefined && !o.check && o.out === undefined && o.lse === undefined
    ? { ...options, seeded, ranks, link, rows: rows || undefined }
    : undefined;
  const run = away !== undefined ? await runSeeded(io, remote!, away) : await runHere(
    io,
    remote,
    { ranks, backend, link, timeout, fault },
    options,
    seeded === undefined ? await fromFiles(o, given) : await fromSeed(seeded, signal),
    o.check ?? false,
  );
  const { result, tensors, checked } = run;
  // Ranks here compute in f32, and a 16-bit wire rounds nothing of what is seeded.
  const verified = rows && seeded
    ? await verify(
      io,
      { ...seeded, ...options, dtype: remote === undefined ? "f32" : wireDtype, with: how },
      rows,
      tensors === undefined ? result : picked(result, rows, seeded),
    )
    : undefined;
  // The check holds the thread: a Ctrl-C of that time is heard only now, and must not leave files.
  await new Promise((resolve) => setTimeout(resolve));
  signal.throwIfAborted();
  const outputs: [string, Uint8Array | string][] = [];
  if (o.out !== undefined) {
    outputs.push([o.out, writeNpy([tensors!.queryRows, tensors!.heads, tensors!.headDim], result.out)]);
  }
  if (o.lse !== undefined) outputs.push([o.lse, writeNpy([tensors!.queryRows, tensors!.heads], result.lse)]);
  if (o.trace !== undefined) {
    outputs.push([
      o.trace,
      chromeTrace(result.report.spans, `ringside attend ${result.report.variant}, ${ranks} ranks`),
    ]);
  }
  await writeOutputs(outputs);
  io.stdout(
    o.json
      ? `${JSON.stringify(document(result.report, checked, verified), null, 2)}\n`
      : describe(result.report, checked, verified),
  );
  return checked?.passed === false || verified?.passed === false ? 1 : 0;
};

type Options = Pick<AttendInput, "variant" | "wireDtype" | "causal" | "scale" | "rates" | "signal">;

/** What a run gave; tensors and the check's verdict where they are here. */
interface Ran {
  readonly result: { readonly out: Float32Array; readonly lse: Float32Array; readonly report: Report };
  readonly tensors?: Tensors;
  readonly checked?: Check;
}

async function fromFiles(o: Parameters<typeof readTensors>[0], given: AttendInput["sequences"] | undefined) {
  const tensors = await readTensors(o);
  return { tensors, sequences: sequencesFor(tensors, given) };
}

async function fromSeed(seeded: Seeded, signal: AbortSignal) {
  return { tensors: await seededTensors(seeded, signal), sequences: seeded.sequences };
}

/** With tensors that are here: on ranks here, or sent to a worker. */
async function runHere(
  io: Io,
  remote: RemoteWorker | undefined,
  where: ClusterOptions,
  options: Options,
  { tensors, sequences }: Awaited<ReturnType<typeof fromSeed>>,
  checking: boolean,
): Promise<Ran> {
  const { q, k, v, heads, kvHeads, headDim } = tensors;
  validateRun({ heads, kvHeads, headDim, ...options }, tokensOf(sequences), where.ranks, where.link, "--link");
  const input: AttendInput = {
    q,
    k,
    v,
    heads,
    kvHeads,
    headDim,
    ...options,
    sequences,
    ...(remote === undefined ? { onProgress: progress(io) } : watchOf(io)),
  };
  naming(tensors.names, () => validateAttend(input, elsewhere(remote))); // before ranks are started, and with the files' names
  if (!tensors.names.q.startsWith("seeded")) {
    warnUnderflow(
      io,
      stored(tensors, options.variant, remote !== undefined),
      options.wireDtype ?? "f32",
      headDim,
    );
  }
  const cluster = await startCluster(io, remote, where);
  try {
    const result = await cluster.attend(input);
    return {
      result,
      tensors,
      checked: checking
        ? await checkResult(io, {
          ...input,
          variant: result.report.variant,
          ranks: result.report.ranks,
          products: productsOf(result.report.kernel),
        }, result)
        : undefined,
    };
  } finally {
    await cluster.dispose();
  }
}

function tokensOf(sequences: AttendInput["sequences"]) {
  return { new: sequences.reduce((sum, s) => sum + s.new, 0), cached: sequences.reduce((sum, s) => sum + s.cached, 0) };
}

/** The tensors that the wire's type stores. Seeded ones are exact in each. */
function stored(
  { q, k, v, names }: Tensors,
  variant: AttendInput["variant"],
  remote: boolean,
): [string, Float32Array][] {
  const all: [string, Float32Array][] = [[names.q, q], [names.k, k], [names.v, v]];
  return remote || variant === "auto" ? all : variant === "pass-q" ? all.slice(0, 1) : all.slice(1);
}

/** Seeded, on a worker: only the rows to verify come back. */
async function runSeeded(
  io: Io,
  remote: RemoteWorker,
  { seeded, wireDtype: dtype, ...rest }: Options & {
    readonly seeded: Seeded;
    readonly ranks: number;
    readonly link: ClusterOptions["link"];
    readonly rows: readonly Row[] | undefined;
  },
): Promise<Ran> {
  validateRun({ ...seeded, ...rest, wireDtype: dtype }, tokensOf(seeded.sequences), rest.ranks, rest.link, "--link");
  const worker = await connect(io, remote);
  try {
    return { result: await worker.attendSeeded({ ...seeded, ...rest, dtype, ...watchOf(io) }) };
  } finally {
    await worker.dispose();
  }
}

async function verify(
  io: Io,
  batch: Omit<VerifyInput, "rows" | "out" | "lse">,
  rows: readonly Row[],
  { out, lse }: { readonly out: Float32Array; readonly lse: Float32Array },
): Promise<Verification> {
  const line = (text: string) => io.watched && io.stderr(`\r\x1b[K${text}`);
  let done = 0;
  try {
    return await verifyHere(io.platform, {
      ...batch,
      rows,
      out,
      lse,
      onRow: () => line(`verified ${++done} of ${rows.length} rows`),
    });
  } finally {
    line("");
  }
}

/** Some rows of a whole result. */
function picked({ out, lse }: Ran["result"], rows: readonly Row[], { heads, headDim }: Seeded) {
  const some = new Float32Array(rows.length * headDim);
  rows.forEach(([token, head], i) =>
    some.set(out.subarray((token * heads + head) * headDim, (token * heads + head + 1) * headDim), i * headDim)
  );
  return { out: some, lse: Float32Array.from(rows, ([token, head]) => lse[token * heads + head]) };
}

/** A fault that cannot strike would let a run pass that was to fail. */
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

/** The limit of a fault's naming, in words. */
export function sayTimeout({ asked, used }: NonNullable<Report["timeout"]>): string {
  return `${asked} s on a quiet machine, ${used.toFixed(1)} s on this one now`;
}

/** Where the adapter came from, as the launcher tells it; nothing where no adapter is used. */
export function adapterSource(backend: Backend | "remote"): string | undefined {
  return backend !== "webgpu" ? undefined : process.env.RINGSIDE_ADAPTER_SOURCE;
}

function document(report: Report, checked: Check | undefined, verified: Verification | undefined) {
  const { spans: _, ...facts } = report;
  return {
    ...facts,
    adapterSource: adapterSource(report.backend) ?? null,
    ...(checked && { error: checkDocument(checked) }),
    ...(verified && { verified: verificationDocument(verified) }),
  };
}

/** Hops done, on a line that overwrites itself. */
export function progress({ watched, stderr }: Io): ((done: number, total: number) => void) | undefined {
  return watched ? (done, total) => stderr(`\r${done} of ${total} hops${done === total ? "\r\x1b[K" : ""}`) : undefined;
}

function describe(report: Report, checked: Check | undefined, verified: Verification | undefined): string {
  const { shape, times } = report;
  const ran = remoteRunOf(report);
  const batch = shape.sequences.map((s) => `${s.new} new + ${s.cached} cached`).join(", ");
  const ms = (s: number) => (s * 1000).toFixed(1);
  const lines = [
    `${report.variant} on ${report.ranks} ranks (${report.runtime}): ${batch} tokens; heads ${shape.heads}/${shape.kvHeads}, D ${shape.headDim}, wire ${report.wireDtype}`,
    `adapter: ${report.adapter.name}${report.adapter.software ? " (software)" : ""}${
      adapterSource(report.backend) === undefined ? "" : `; ${adapterSource(report.backend)}`
    }`,
    `kernel:  ${report.kernel}; clock: ${report.clock}`,
    ...(report.timeout === undefined ? [] : [`timeout: ${sayTimeout(report.timeout)}`]),
    ...(ran === undefined ? [] : describeRemote(ran)),
    ...(report.choice === undefined ? [] : [`chosen:  ${report.choice.reason}`]),
    "",
    table(
      ["rank", "bytes sent", "bytes received", "messages", "padding bytes"],
      report.perRank.map((r) => [r.rank, r.bytesSent, r.bytesReceived, r.messages, r.paddingBytes]),
    ),
    "",
    `ms: compile ${ms(times.compile)}, waiting for all ranks to be ready ${ms(times.barrier)}, upload ${
      ms(times.upload)
    }, attend ${ms(times.attend)}, ` +
    `exposed exchange ${ms(times.exchange)}, waiting for late senders ${ms(times.late)}, merge ${
      ms(times.merge)
    }, total ${ms(times.total)} (each of the slowest rank)`,
  ];
  if (checked !== undefined) {
    lines.push(sayCheck("against float64", checked, { ...shape, wireDtype: report.wireDtype }));
  }
  if (verified !== undefined) lines.push(describeVerification(verified));
  return `${lines.join("\n")}\n`;
}
