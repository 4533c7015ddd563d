/**
 * `ringside session`: a conversation from a script of steps over one's own tensors, checked against one full prefill.
 */
import type { Backend, SessionOptions, SessionRows, StepReport, Variant } from "../cluster/types.ts";
import type { Fault } from "../rank/job.ts";
import {
  type Elsewhere,
  NOTHING_CACHED,
  validateRows,
  validateRun,
  validateScale,
  validateSession,
} from "../cluster/validate.ts";
import { InputError, RankError } from "../errors.ts";
import { productsOf } from "../gpu/products.ts";
import { offsets } from "../layout/shards.ts";
import { PAGE } from "../layout/pages.ts";
import { writeNpy } from "../tensor/npy.ts";
import { chromeTrace } from "../trace/perfetto.ts";
import type { Span } from "../trace/span.ts";
import { adapterSource, requireFault, sayTimeout } from "./attend.ts";
import { FAULT, OPTION, optionLines, withRemark } from "./help.ts";
import { checkOutputs, type Command, readInput, writeOutputs } from "./io.ts";
import {
  choiceOption,
  faultOption,
  linkOption,
  numberOption,
  parseOptions,
  ratesOption,
  wholeOption,
} from "./options.ts";
import {
  describeRemote,
  elsewhere,
  REMOTE_HELP,
  REMOTE_OPTIONS,
  remoteOption,
  remoteRunOf,
  startCluster,
} from "./remote.ts";
import { readScript, type Script } from "./script.ts";
import { table } from "./table.ts";
import { readTensors } from "./tensors.ts";
import { checkDocument, checkResult, sayCheck, warnUnderflow } from "./verdict.ts";

const HELP = `ringside session: runs a conversation on a KV cache that stays on the ranks

  ringside session --tensors F.safetensors --script S.json [options]
  ringside session --q Q.npy --k K.npy --v V.npy --script S.json [options]

Inputs
  q has the shape [rows, H, D]; k and v have [rows, Hkv, D]. They hold all rows of all sequences,
  one sequence after the other. A script is, for example:
    {"sequences": [{"rows": 200}, {"rows": 77}],
     "steps": [{"0": 128, "1": 40}, {"0": 1, "1": 1}, {"1": 35}]}
  Each step appends the next rows of its sequences: the first one 128 rows of sequence 0 and 40 rows
  of sequence 1. A step is a decode if each of its sequences gets one row and has rows already.
  Attention is causal, so any script must give the same as one full prefill. --check compares them.
${optionLines(OPTION.npy, OPTION.tensors, ["--script S.json", "the sequences and the steps"])}

The run
  K and V are always rounded to --wire-dtype, because the ranks cache them in that type.
${
  optionLines(
    withRemark(OPTION.ranks, "default 4"),
    ["--variant V", "variant of prefills: auto (default, Algorithm 5), pass-kv or pass-q"],
    OPTION.scale,
    OPTION.wireDtype,
    ["--capacity T", "tokens that each rank's cache holds (default: as many as the script needs)"],
    OPTION.link,
    withRemark(OPTION.rates, "default: measured in the run"),
    OPTION.backend,
    OPTION.timeout,
    [
      "--fault rank=R,step=S,hop=J[,kind=K]",
      `${FAULT}; the session then replaces the rank and repeats the step`,
    ],
    OPTION.runtime,
  )
}

Output
${optionLines(OPTION.out, OPTION.lse, OPTION.trace, OPTION.check, OPTION.json)}

A remote worker
${REMOTE_HELP}

Exit status: 0 done, 1 the check or the run failed, 2 bad input or usage.
`;

/** The command. */
export const session: Command = async (argv, io) => {
  const o = parseOptions(argv, {
    q: { type: "string" },
    k: { type: "string" },
    v: { type: "string" },
    tensors: { type: "string" },
    script: { type: "string" },
    ranks: { type: "string" },
    variant: { type: "string" },
    "wire-dtype": { type: "string" },
    scale: { type: "string" },
    capacity: { type: "string" },
    link: { type: "string" },
    rates: { type: "string" },
    backend: { type: "string" },
    timeout: { type: "string" },
    fault: { type: "string" },
    out: { type: "string" },
    lse: { type: "string" },
    trace: { type: "string" },
    check: { type: "boolean" },
    json: { type: "boolean" },
    ...REMOTE_OPTIONS,
    help: { type: "boolean", short: "h" },
  });
  if (o.help) {
    io.stdout(HELP);
    return 0;
  }
  const inputs = {
    "--q": o.q,
    "--k": o.k,
    "--v": o.v,
    "--tensors": o.tensors,
    "--script": o.script,
    "--token-file": o["token-file"],
  };
  await checkOutputs({ "--out": o.out, "--lse": o.lse, "--trace": o.trace }, inputs);
  const remote = await remoteOption(o, { "--backend": o.backend, "--timeout": o.timeout, "--fault": o.fault });
  const ranks = wholeOption("--ranks", o.ranks, 1, remote === undefined ? 64 : 1024) ?? 4;
  const variant = choiceOption("--variant", o.variant, ["auto", "pass-kv", "pass-q"]) ?? "auto";
  const wireDtype = choiceOption("--wire-dtype", o["wire-dtype"], ["f32", "f16", "bf16"]) ?? "f32";
  const backend = choiceOption("--backend", o.backend, ["webgpu", "cpu"]) ??
    (remote === undefined ? "webgpu" : undefined);
  const [link, fault, scale, timeout] = [
    linkOption(o.link),
    faultOption(o.fault, "session"),
    numberOption("--scale", o.scale),
    numberOption("--timeout", o.timeout),
  ];
  validateScale(scale, elsewhere(remote), "--scale");
  const rates = ratesOption(o.rates);
  const capacity = wholeOption("--capacity", o.capacity, 1);
  if (o.check && remote !== undefined && wireDtype !== "f32") {
    throw new InputError(
      `--check: found beside --remote and --wire-dtype ${wireDtype}, whose kernels round more than what is cached; expected --wire-dtype f32`,
    );
  }
  if (o.script === undefined) throw new InputError("--script: not given, expected a .json file");
  const script = readScript(new TextDecoder().decode(await readInput("--script", o.script)), o.script);
  const tensors = await readTensors(o);
  const { q, k, v, heads, kvHeads, headDim, queryRows, keyRows } = tensors;
  const described = script.rows.reduce((sum, n) => sum + n, 0);
  if (queryRows !== described || keyRows !== described) {
    throw new InputError(
      `${o.script}: found ${described} rows in all its sequences, expected those of q (${queryRows}) and k (${keyRows})`,
    );
  }

  if (fault !== undefined) requireSessionFault(fault, script, ranks, variant, backend!);
  const starts = offsets(script.rows);
  const consumed = script.rows.map((_, i) => script.steps.reduce((sum, step) => sum + (step.get(i) ?? 0), 0));
  const rowsOf = (sequence: number, from: number, n: number): SessionRows => {
    const at = starts[sequence] + from;
    const part = (x: Float32Array, width: number) => x.subarray(at * width, (at + n) * width);
    return { sequence, q: part(q, heads * headDim), k: part(k, kvHeads * headDim), v: part(v, kvHeads * headDim) };
  };
  const kept = offsets(consumed);
  const total = consumed.reduce((sum, n) => sum + n, 0);
  const out = new Float32Array(total * heads * headDim);
  const lse = new Float32Array(total * heads);
  const reports: StepReport[] = [];
  const recovered: { step: number; replaced: readonly number[]; error: string }[] = [];

  const pages = consumed.reduce((sum, n) => sum + Math.ceil(Math.ceil(n / ranks) / PAGE), 0);
  const opened: SessionOptions = {
    heads,
    kvHeads,
    headDim,
    scale,
    wireDtype,
    variant,
    rates,
    capacity: capacity ?? Math.max(1, pages) * PAGE,
  };
  validateRun({ heads, kvHeads, headDim, wireDtype, variant }, { new: total, cached: 0 }, ranks, link, "--link");
  validateScript(script, rowsOf, opened, elsewhere(remote)); // before ranks are started
  warnUnderflow(io, [[tensors.names.q, q], [tensors.names.k, k], [tensors.names.v, v]], wireDtype, headDim);
  const cluster = await startCluster(io, remote, { ranks, backend, link, timeout, fault });
  try {
    const talk = await cluster.session(opened);
    const held = script.rows.map(() => 0);
    for (const [number, step] of script.steps.entries()) {
      const batch = [...step].map(([sequence, n]) => rowsOf(sequence, held[sequence], n));
      const isDecode = [...step].every(([sequence, n]) => n === 1 && held[sequence] > 0);
      const run = () =>
        isDecode ? talk.decode(batch, { signal: io.signal }) : talk.prefill(batch, { signal: io.signal });
      const result = await run().catch(async (error: unknown) => {
        if (!(error instanceof RankError) || fault?.step !== number) throw error;
        const replaced = await cluster.repair();
        io.stderr(`step ${number}: ${error.message}; replaced rank ${replaced.join(", ")}, and did the step again\n`);
        recovered.push({ step: number, replaced, error: error.message });
        return await run();
      });
      for (const { sequence, out: o, lse: l } of result.outputs) {
        out.set(o, (kept[sequence] + held[sequence]) * heads * headDim);
        lse.set(l, (kept[sequence] + held[sequence]) * heads);
      }
      for (const [sequence, n] of step) held[sequence] += n;
      reports.push(result.report);
      if (io.watched) {
        io.stderr(
          `\rstep ${number + 1} of ${script.steps.length}${number + 1 === script.steps.length ? "\r\x1b[K" : ""}`,
        );
      }
    }
    const all = (x: Float32Array, width: number) =>
      concatenated(consumed.map((n, i) => x.subarray(starts[i] * width, (starts[i] + n) * width)));
    const checked = o.check
      ? await checkResult(io, {
        ranks,
        products: productsOf(reports.map(({ kernel }) => kernel).join(" + ")),
        q: all(q, heads * headDim),
        k: all(k, kvHeads * headDim),
        v: all(v, kvHeads * headDim),
        heads,
        kvHeads,
        headDim,
        scale,
        wireDtype,
        variant: wireVariant(reports),
        sequences: consumed.map((n) => ({ new: n, cached: 0 })),
      }, { out, lse })
      : undefined;
    const files: [string, Uint8Array | string][] = [];
    if (o.out !== undefined) files.push([o.out, writeNpy([total, heads, headDim], out)]);
    if (o.lse !== undefined) files.push([o.lse, writeNpy([total, heads], lse)]);
    if (o.trace !== undefined) {
      files.push([o.trace, chromeTrace(endToEnd(reports), `ringside session, ${ranks} ranks`)]);
    }
    await writeOutputs(files);
    const { adapter, runtime, kernel, clock, timeout: limit, backend: computed } = reports[0];
    const ran = remoteRunOf(reports[0]);
    const source = adapterSource(computed);
    const verdict = checked && sayCheck("against one full prefill in float64", checked, { heads, headDim, wireDtype });
    if (o.json) {
      const document = {
        adapter,
        adapterSource: source ?? null,
        backend: computed,
        runtime,
        clock,
        timeout: limit,
        ranks,
        wireDtype,
        shape: { heads, kvHeads, headDim },
        capacity: talk.capacity,
        steps: reports.map(stepDocument),
        recovered,
        ...(checked && { error: checkDocument(checked) }),
        ...(ran && { remote: ran }),
      };
      io.stdout(`${JSON.stringify(document, null, 2)}\n`);
    } else {
      io.stdout(
        `${ranks} ranks (${runtime}); adapter: ${adapter.name}${adapter.software ? " (software)" : ""}${
          source === undefined ? "" : `; ${source}`
        }; kernel: ${kernel}; clock: ${clock}${limit === undefined ? "" : `; timeout: ${sayTimeout(limit)}`}\n${
          (ran === undefined ? [] : describeRemote(ran)).map((line) => `${line}\n`).join("")
        }\n${stepTable(reports)}\n${verdict === undefined ? "" : `\n${verdict}\n`}`,
      );
    }
    await talk.dispose();
    return checked?.passed === false ? 1 : 0;
  } finally {
    await cluster.dispose();
  }
};

/** Checks every step's rows, with what its sequences will have cached by then. Errors: InputError naming the step. */
function validateScript(
  script: Script,
  rowsOf: (sequence: number, from: number, n: number) => SessionRows,
  options: SessionOptions,
  where: Elsewhere | undefined,
): void {
  validateSession(options, where);
  const cached = script.rows.map(() => NOTHING_CACHED);
  for (const [number, step] of script.steps.entries()) {
    for (const [sequence, n] of step) {
      try {
        ({ cached: cached[sequence] } = validateRows(rowsOf(sequence, cached[sequence].tokens, n), {
          ...options,
          wireDtype: options.wireDtype ?? "f32",
        }, cached[sequence]));
      } catch (error) {
        throw error instanceof InputError ? new InputError(`step ${number}, ${error.message}`) : error;
      }
    }
  }
}

/** A fault that cannot strike would let a session pass that was to fail. */
function requireSessionFault(
  fault: Fault,
  { rows, steps }: Script,
  ranks: number,
  variant: Variant | "auto",
  backend: Backend,
): void {
  const number = fault.step!;
  if (number >= steps.length) {
    throw new InputError(`--fault step: found ${number}, expected a step of the script, 0 to ${steps.length - 1}`);
  }
  const held = rows.map((_, i) => steps.slice(0, number).reduce((sum, step) => sum + (step.get(i) ?? 0), 0));
  const isDecode = [...steps[number]].every(([sequence, n]) => n === 1 && held[sequence] > 0);
  requireFault(fault, ranks, isDecode ? "pass-q" : variant, backend);
}

/** Which operands a 16-bit wire rounded: keys and values always (they are cached so), queries where they travelled. */
function wireVariant(reports: readonly StepReport[]): "pass-kv" | "auto" {
  return reports.some((r) => r.variant === "pass-q") ? "auto" : "pass-kv";
}

function stepDocument(report: StepReport) {
  const { step, mode, batch, missRate, variant, choice, kernel, perRank, paddingBytes, tokens, times } = report;
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
    paddingBytes,
    perRank,
    tokens,
    times,
  };
}

function stepTable(reports: readonly StepReport[]): string {
  const ms = (s: number) => (s * 1000).toFixed(1);
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
      d.paddingBytes,
      ms(d.times.compile + d.times.barrier),
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
    "padding",
    "compile ms",
    "attend ms",
    "exposed ms",
    "late ms",
    "total ms",
  ], rows);
}

/** The steps' spans one after the other. */
function endToEnd(reports: readonly StepReport[]): Span[] {
  let at = 0;
  return reports.flatMap((report) => {
    const shifted = report.spans.map((s) => ({ ...s, start: s.start + at }));
    at += report.times.total;
    return shifted;
  });
}

function concatenated(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
