/** `ringside attend`: computes O and LSE of a user's Q, K and V over a ring of ranks. */
import { validateScale, validateSeeded } from "../cluster/validate.ts";
import { InputError } from "../errors.ts";
import { sampleRows } from "../reference/verify/sample.ts";
import { writeNpy } from "../tensor/npy.ts";
import { chromeTrace } from "../trace/perfetto.ts";
import { attendDocument, attendText } from "./attend-report.ts";
import { fromFiles, fromSeed, pickRows, runSeeded, runTensors, verifyRowsOf } from "./attend-run.ts";
import { faultOption, needlessFault, requireFault } from "./fault.ts";
import { FAULT, INPUTS, OPTION, optionLines, withRemark } from "./help.ts";
import { checkOutputs, type Command, writeOutputs } from "./io.ts";
import {
  choiceOption,
  dealingOption,
  linkOption,
  MASK_OPTIONS,
  maskOption,
  numberOption,
  parseOptions,
  ratesOption,
  sequencesOption,
  wholeOption,
} from "./options.ts";
import { elsewhere, REMOTE_HELP, REMOTE_OPTIONS, remoteOption } from "./remote.ts";
import { seededOption } from "./seeded.ts";
import { sinksOption, TENSOR_OPTIONS } from "./tensors.ts";

const HELP = `ringside attend: computes exact attention over a ring of simulated ranks

  ringside attend --q Q.npy --k K.npy --v V.npy [options]
  ringside attend --tensors F.safetensors [options]
  ringside attend --seed S --shape T[:P],H,Hkv,D [options]

Inputs
  q has the shape [sum T, H, D], k [sum (T+P), Hkv, D] and v [sum (T+P), Hkv, Dv]. In k and v, each
  sequence has its cached rows before its new rows. Dv may differ from D.
${
  optionLines(
    ...INPUTS,
    ["--seed S", "make the inputs from this seed: the same numbers here and on a remote worker"],
    ["--shape T[:P],H,Hkv,D", "their new and cached tokens, query heads, KV heads and head dimension"],
    OPTION.sequences,
  )
}

The run
${
  optionLines(
    withRemark(OPTION.ranks, "default 4"),
    ["--variant V", "pass-kv (default), pass-q, or auto (Algorithm 5)"],
    OPTION.mask,
    ["--no-causal", "the same as --mask full"],
    OPTION.sinkTokens,
    OPTION.dealing,
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
    ...TENSOR_OPTIONS,
    ranks: { type: "string" },
    variant: { type: "string" },
    sequences: { type: "string" },
    ...MASK_OPTIONS,
    "no-causal": { type: "boolean" },
    dealing: { type: "string" },
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
    "--sinks": o.sinks,
    "--token-file": o["token-file"],
  });
  const remote = await remoteOption(o, { "--backend": o.backend, "--timeout": o.timeout, "--fault": o.fault });
  const ranks = wholeOption("--ranks", o.ranks, 1, remote === undefined ? 64 : 1024) ?? 4;
  const variant = choiceOption("--variant", o.variant, ["pass-kv", "pass-q", "auto"]) ?? "pass-kv";
  const wireDtype = choiceOption("--wire-dtype", o["wire-dtype"], ["f32", "f16", "bf16"]) ?? "f32";
  const backend = choiceOption("--backend", o.backend, ["webgpu", "cpu"]) ??
    (remote === undefined ? "webgpu" : undefined);
  const [mask, dealing] = [maskOption(o), dealingOption(o)];
  const [link, fault, scale, timeout] = [
    linkOption(o.link),
    faultOption(o.fault),
    numberOption("--scale", o.scale),
    numberOption("--timeout", o.timeout),
  ];
  validateScale(scale, elsewhere(remote), "--scale");
  if (fault !== undefined) requireFault(fault, ranks, variant, backend!);
  const given = sequencesOption(o.sequences);
  const seeded = seededOption(o.seed, o.shape, given, o["v-prefix"]);
  const verifyRows = wholeOption("--verify-rows", o["verify-rows"], 1, 4096);
  const how = choiceOption("--verify-with", o["verify-with"], ["float64", "webgpu"]);
  if (seeded !== undefined && remote !== undefined) validateSeeded({ ...seeded, scale }, elsewhere(remote));
  const files = (["q", "k", "v", "tensors", "dims", "names", "layer"] as const).find((name) => o[name] !== undefined);
  if (seeded !== undefined && files !== undefined) {
    throw new InputError(`--seed: found beside --${files}, expected seeded inputs or files`);
  }
  if (verifyRows !== undefined && seeded === undefined) {
    throw new InputError(
      "--verify-rows: found without --seed and --shape, expected seeded inputs, whose rows can be made again; " +
        "use --check for files",
    );
  }
  if (how !== undefined && verifyRows === undefined) {
    throw new InputError("--verify-with: found without --verify-rows, expected the number of rows too");
  }
  if (o.check && remote !== undefined && wireDtype !== "f32") {
    throw new InputError(
      `--check: found beside --remote and --wire-dtype ${wireDtype}, whose kernels round more than what travels; ` +
        "expected --verify-rows with seeded inputs, or --wire-dtype f32",
    );
  }

  const { signal } = io;
  const sinks = seeded && await sinksOption(o.sinks, seeded.heads);
  const rows = seeded && verifyRows && sampleRows(seeded, ranks, verifyRows);
  const options = {
    variant,
    wireDtype,
    mask,
    dealing,
    scale,
    rates: ratesOption(o.rates),
    signal,
  };
  // A seeded run on a worker sends back only the rows to verify, unless an option needs the whole result.
  const away = remote !== undefined && seeded !== undefined && !o.check && o.out === undefined && o.lse === undefined
    ? { ...options, seeded, sinks, ranks, link, rows: rows || undefined }
    : undefined;
  const run = away !== undefined ? await runSeeded(io, remote!, away) : await runTensors(
    io,
    remote,
    { ranks, backend, link, timeout, fault },
    options,
    seeded === undefined ? await fromFiles(io, o, given) : await fromSeed(seeded, sinks, signal),
    o.check ?? false,
  );
  const { result, tensors, checked } = run;
  if (fault !== undefined) throw needlessFault(fault, mask);
  // Ranks on this machine compute in f32, and a 16-bit wire does not round seeded values.
  const verified = rows && seeded
    ? await verifyRowsOf(
      io,
      { ...seeded, sinks, ...options, dtype: remote === undefined ? "f32" : wireDtype, with: how },
      rows,
      tensors === undefined ? result : pickRows(result, rows, seeded),
    )
    : undefined;
  // The check holds the thread, so we notice a Ctrl-C of that time only now. It must leave no files.
  await new Promise((resolve) => setTimeout(resolve));
  signal.throwIfAborted();
  const outputs: [string, Uint8Array | string][] = [];
  if (o.out !== undefined) {
    outputs.push([o.out, writeNpy([tensors!.queryRows, tensors!.heads, tensors!.valueDim], result.out)]);
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
      ? `${JSON.stringify(attendDocument(result.report, checked, verified), null, 2)}\n`
      : attendText(result.report, checked, verified),
  );
  return checked?.passed === false || verified?.passed === false ? 1 : 0;
};
