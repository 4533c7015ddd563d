/** `ringside session`: runs a conversation from a script of steps, and checks it against one full prefill. */
import type { SessionOptions } from "../cluster/types.ts";
import { validateRun } from "../cluster/link.ts";
import { validateScale } from "../cluster/validate.ts";
import { InputError } from "../errors.ts";
import { PAGE } from "../layout/pages.ts";
import { isPrefixOfK } from "../tensor/heads.ts";
import { writeNpy } from "../tensor/npy.ts";
import { chromeTrace } from "../trace/perfetto.ts";
import { faultOption, needlessFault } from "./fault.ts";
import { FAULT, INPUTS, OPTION, optionLines, withRemark } from "./help.ts";
import { checkOutputs, type Command, readInput, writeOutputs } from "./io.ts";
import {
  choiceOption,
  dealingOption,
  linkOption,
  MASK_OPTIONS,
  maskOption,
  numberOption,
  parseOptions,
  ratesOption,
  wholeOption,
} from "./options.ts";
import { elsewhere, REMOTE_HELP, REMOTE_OPTIONS, remoteOption, startCluster } from "./remote.ts";
import { readScript, requireSessionFault } from "./script.ts";
import { endToEnd, sessionDocument, sessionText } from "./session-report.ts";
import { prefillInput, runScript, ScriptRows } from "./session-run.ts";
import { readTensors, TENSOR_OPTIONS, warnOfDoubt } from "./tensors.ts";
import { checkResult, warnUnderflow } from "./verdict.ts";

const HELP = `ringside session: runs a conversation on a KV cache that stays on the ranks

  ringside session --tensors F.safetensors --script S.json [options]
  ringside session --q Q.npy --k K.npy --v V.npy --script S.json [options]

Inputs
  q has the shape [rows, H, D], k [rows, Hkv, D] and v [rows, Hkv, Dv]. They hold all rows of all
  sequences, one sequence after the other. A script is, for example:
    {"sequences": [{"rows": 200}, {"rows": 77}],
     "steps": [{"0": 128, "1": 40}, {"0": 1, "1": 1}, {"1": 35}]}
  Each step appends the next rows of its sequences: the first one 128 rows of sequence 0 and 40 rows
  of sequence 1. A step is a decode if each of its sequences gets one row and has rows already.
  No query sees a later token, so any script must give the same as one full prefill under the same
  mask. --check compares them. All steps have one mask. It can't be full: later tokens are not there
  yet.
${optionLines(...INPUTS, ["--script S.json", "the sequences and the steps"])}

The run
  K and V are always rounded to --wire-dtype, because the ranks cache them in that type.
${
  optionLines(
    withRemark(OPTION.ranks, "default 4"),
    ["--variant V", "variant of prefills: auto (default, Algorithm 5), pass-kv or pass-q"],
    OPTION.mask,
    OPTION.sinkTokens,
    OPTION.dealing,
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
    ...TENSOR_OPTIONS,
    ...MASK_OPTIONS,
    dealing: { type: "string" },
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
    "--sinks": o.sinks,
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
  const [mask, dealing] = [maskOption(o), dealingOption(o)];
  if (mask.kind === "full") {
    throw new InputError(
      '--mask: found "full", expected causal, window:W or chunk:C: a session does not have its later tokens yet',
    );
  }
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
      `--check: found beside --remote and --wire-dtype ${wireDtype}, whose kernels round more than what is cached; ` +
        "expected --wire-dtype f32",
    );
  }
  if (o.script === undefined) throw new InputError("--script: not given, expected a .json file");
  const script = readScript(new TextDecoder().decode(await readInput("--script", o.script)), o.script);
  const tensors = await readTensors(o);
  warnOfDoubt(io, tensors);
  const { q, k, v, sinks, heads, kvHeads, headDim, valueDim, queryRows, keyRows, names } = tensors;
  const described = script.rows.reduce((sum, n) => sum + n, 0);
  if (queryRows !== described || keyRows !== described) {
    throw new InputError(
      `${o.script}: found ${described} rows in all its sequences, expected those of q (${queryRows}) and k (${keyRows})`,
    );
  }
  if (fault !== undefined) requireSessionFault(fault, script, ranks, variant, backend!);

  const rows = new ScriptRows(script, tensors);
  const { consumed } = rows;
  const total = consumed.reduce((sum, n) => sum + n, 0);
  const pages = consumed.reduce((sum, n) => sum + Math.ceil(Math.ceil(n / ranks) / PAGE), 0);
  const shape = { heads, kvHeads, headDim, valueDim, ...(isPrefixOfK(v) && { v }), wireDtype };
  const options: SessionOptions = {
    ...shape,
    mask,
    sinks,
    dealing,
    scale,
    variant,
    rates,
    capacity: capacity ?? Math.max(1, pages) * PAGE,
  };
  // These checks come before ranks start, so that an error comes soon.
  validateRun({ ...shape, variant }, { new: total, cached: 0 }, ranks, link, "--link");
  rows.validate(options, elsewhere(remote));
  warnUnderflow(
    io,
    [[names.q, q], [names.k, k], ...(isPrefixOfK(v) ? [] : [[names.v, v] as const])],
    wireDtype,
    headDim,
  );
  const cluster = await startCluster(io, remote, { ranks, backend, link, timeout, fault });
  try {
    const talk = await cluster.session(options);
    const run = await runScript(io, cluster, talk, rows, shape, fault);
    if (fault !== undefined && run.recovered.length === 0) throw needlessFault(fault, mask);
    const checked = o.check ? await checkResult(io, prefillInput(rows, run.reports, options, ranks), run) : undefined;
    const files: [string, Uint8Array | string][] = [];
    if (o.out !== undefined) files.push([o.out, writeNpy([total, heads, valueDim], run.out)]);
    if (o.lse !== undefined) files.push([o.lse, writeNpy([total, heads], run.lse)]);
    if (o.trace !== undefined) {
      files.push([o.trace, chromeTrace(endToEnd(run.reports), `ringside session, ${ranks} ranks`)]);
    }
    await writeOutputs(files);
    io.stdout(
      o.json
        ? `${JSON.stringify(sessionDocument(run, ranks, shape, talk.capacity, checked), null, 2)}\n`
        : sessionText(run, ranks, shape, checked),
    );
    await talk.dispose();
    return checked?.passed === false ? 1 : 0;
  } finally {
    await cluster.dispose();
  }
};
