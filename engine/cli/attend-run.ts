/** Runs the attention of `ringside attend`, on this machine or on a worker, and verifies rows of seeded runs. */
import type { AttendInput, ClusterOptions, Report } from "../cluster/types.ts";
import { validateRun } from "../cluster/link.ts";
import { validateAttend } from "../cluster/validate.ts";
import { productsOf } from "../gpu/products.ts";
import type { Check } from "../reference/check.ts";
import { naming, type Operands, sequencesFor } from "../reference/compare/operands.ts";
import type { Row, Verification, VerifyInput } from "../reference/verify/types.ts";
import { verifyRows } from "../reference/verify/verify.ts";
import { valueHead } from "../tensor/heads.ts";
import type { Io } from "./io.ts";
import { hopsProgress, progressLine, workerProgress } from "./progress.ts";
import { connect, elsewhere, type RemoteWorker, startCluster } from "./remote.ts";
import { type Seeded, seededTensors } from "./seeded.ts";
import { readTensors, warnOfDoubt } from "./tensors.ts";
import { checkResult, warnUnderflow } from "./verdict.ts";

/** The options of an attention. */
export type AttendOptions = Pick<
  AttendInput,
  "variant" | "wireDtype" | "mask" | "dealing" | "scale" | "rates" | "signal"
>;

/** A run's result; the tensors and the check's verdict if they are on this machine. */
export interface AttendRun {
  readonly result: { readonly out: Float32Array; readonly lse: Float32Array; readonly report: Report };
  readonly tensors?: Operands;
  readonly checked?: Check;
}

/** Operands from files, and their sequences. */
export async function fromFiles(
  io: Pick<Io, "stderr">,
  o: Parameters<typeof readTensors>[0],
  given: AttendInput["sequences"] | undefined,
) {
  const tensors = await readTensors(o);
  warnOfDoubt(io, tensors);
  return { tensors, sequences: sequencesFor(tensors, given) };
}

/** Seeded tensors, and their sequences. */
export async function fromSeed(
  seeded: Seeded,
  sinks: Float32Array | undefined,
  signal: AbortSignal,
): Promise<{ readonly tensors: Operands; readonly sequences: AttendInput["sequences"] }> {
  return { tensors: { ...await seededTensors(seeded, signal), sinks }, sequences: seeded.sequences };
}

/** Runs with tensors of this machine, on ranks of this machine or on a worker. Errors name the files. */
export async function runTensors(
  io: Io,
  remote: RemoteWorker | undefined,
  where: ClusterOptions,
  options: AttendOptions,
  { tensors, sequences }: Awaited<ReturnType<typeof fromSeed>>,
  checking: boolean,
): Promise<AttendRun> {
  const { q, k, v, sinks, heads, kvHeads, headDim, valueDim } = tensors;
  validateRun({ heads, kvHeads, headDim, ...options }, tokensOf(sequences), where.ranks, where.link, "--link");
  const input: AttendInput = {
    q,
    k,
    v,
    heads,
    kvHeads,
    headDim,
    valueDim,
    sinks,
    ...options,
    sequences,
    ...(remote === undefined ? { onProgress: hopsProgress(io) } : workerProgress(io)),
  };
  // This is before ranks start, so that an error comes soon.
  naming(tensors.names, () => validateAttend(input, elsewhere(remote)));
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

/** The tensors that are stored in the wire's type. */
function stored(
  { q, k, v, names }: Operands,
  variant: AttendInput["variant"],
  remote: boolean,
): [string, Float32Array][] {
  const all: [string, Float32Array][] = [[names.q, q], [names.k, k]];
  if (v instanceof Float32Array) all.push([names.v, v]);
  return remote || variant === "auto" ? all : variant === "pass-q" ? all.slice(0, 1) : all.slice(1);
}

/** Runs seeded inputs on a worker, which makes them. Only the rows to verify come back. */
export async function runSeeded(
  io: Io,
  remote: RemoteWorker,
  { seeded, wireDtype: dtype, ...rest }: AttendOptions & {
    readonly seeded: Seeded;
    readonly ranks: number;
    readonly link: ClusterOptions["link"];
    readonly rows: readonly Row[] | undefined;
    readonly sinks: Float32Array | undefined;
  },
): Promise<AttendRun> {
  validateRun({ ...seeded, ...rest, wireDtype: dtype }, tokensOf(seeded.sequences), rest.ranks, rest.link, "--link");
  const worker = await connect(io, remote);
  try {
    return { result: await worker.attendSeeded({ ...seeded, ...rest, dtype, ...workerProgress(io) }) };
  } finally {
    await worker.dispose();
  }
}

/** Verifies rows of a seeded result on this machine, and shows the progress. */
export async function verifyRowsOf(
  io: Io,
  batch: Omit<VerifyInput, "rows" | "out" | "lse">,
  rows: readonly Row[],
  { out, lse }: { readonly out: Float32Array; readonly lse: Float32Array },
): Promise<Verification> {
  const line = progressLine(io);
  let done = 0;
  try {
    return await verifyRows(io.platform, {
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
export function pickRows({ out, lse }: AttendRun["result"], rows: readonly Row[], { heads, ...shape }: Seeded) {
  const { valueDim: Dv } = valueHead(shape);
  const some = new Float32Array(rows.length * Dv);
  rows.forEach(([token, head], i) =>
    some.set(out.subarray((token * heads + head) * Dv, (token * heads + head + 1) * Dv), i * Dv)
  );
  return { out: some, lse: Float32Array.from(rows, ([token, head]) => lse[token * heads + head]) };
}
