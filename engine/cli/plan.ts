/** `ringside plan`: predicts the time and memory of a step on a cluster you don't have, and sweeps over layouts. */
import { InputError } from "../errors.ts";
import { gemmFlops } from "../plan/flops.ts";
import { kvBytesPerToken } from "../plan/memory.ts";
import { type Model, weightCount } from "../plan/models.ts";
import { sayMask } from "../layout/mask.ts";
import { DEALINGS } from "../layout/shards.ts";
import { type Plan, plan as planStep } from "../plan/plan.ts";
import type { PlanInput } from "../plan/plan-input.ts";
import { MOST_GPUS, type Sweep, sweep } from "../plan/sweep.ts";
import { EVERY_RANK_UP_TO } from "../plan/work.ts";
import { bytesText, flopsText, percentText, secondsText } from "../policy/units.ts";
import { chromeTrace } from "../trace/perfetto.ts";
import { OPTION, optionLines, withRemark } from "./help.ts";
import { checkOutputs, type Io, writeOutputs } from "./io.ts";
import { choiceOption, MASK_OPTIONS, maskOption, numberOption, parseOptions, wholeOption } from "./options.ts";
import { clusterOption, disturbanceOption, modelOption } from "./plan-options.ts";
import { table } from "./table.ts";

const HELP = `ringside plan: predicts the time and memory of a prefill or decode step on a cluster, by simulation

  ringside plan --model llama3-405b --cluster gtt --cp 4 --tp 8 --new 128000
  ringside plan --sweep --max-gpus 128 --new 1000000 --ttft 60

The step
${
  optionLines(
    ["--model M", "a known name, or the path of a Hugging Face config.json (default llama3-405b)"],
    ["--new T", "new tokens of each sequence; required without --decode"],
    ["--cached P", "cached tokens of each sequence (default 0)"],
    ["--batch B", "number of equal sequences (default 1)"],
    ["--decode", "one new token for each sequence, which reads the --cached tokens: gives TTIT"],
    ["--persistent", "include the overhead of a persistent KV cache even if nothing is cached"],
    ["--ffn P", "precision of the feed-forward weights, fp8 or bf16 (default: the model's)"],
    ["--kv-bytes E", "bytes of a KV element (default 2)"],
    withRemark(OPTION.mask, "in every layer; a plan's default is the model's own masks"),
    OPTION.sinkTokens,
  )
}

The layout
${
  optionLines(
    ["--cluster C", "a known name, or the path of a JSON file (default gtt)"],
    ["--cp N", "context-parallel ranks (default 1)"],
    ["--tp N", "GPUs of each rank (default: one host); more than a host is multi-node tensor parallelism"],
    ["--variant V", "pass-kv, pass-q or auto (default: simulate both and take the faster)"],
    withRemark(
      OPTION.dealing,
      "or auto, a plan's default: if layers have windows or chunks, simulate both and take the faster",
    ),
  )
}

The simulation
${
  optionLines(
    ["--slow R=X,...", "rank R computes X times slower"],
    ["--jitter A[,SEED]", "noise of up to A (from 0 to below 1) on every attention and transfer"],
    ["--every-rank", "simulate every rank even if they are alike (above 256 ranks, one stands for all)"],
  )
}

A sweep
${
  optionLines(
    ["--sweep", "try every CP x TP x variant up to --max-gpus; show what fits and the Pareto front"],
    ["--max-gpus G", "the most GPUs of a sweep (default 128)"],
    ["--ttft S", "target time in seconds; the sweep names the fewest GPUs that reach it"],
  )
}

Output
${optionLines(withRemark(OPTION.trace, "of one layer"), OPTION.json, OPTION.runtime)}

An unknown model or cluster lists the known names.
Exit status: 0 done, even if the layout does not fit (memory.fits is then false); 2 bad input, or
no layout of a sweep fits.
`;

/** The command. */
export async function plan(
  argv: readonly string[],
  io: Pick<Io, "stdout" | "stderr"> & Partial<Pick<Io, "signal">>,
): Promise<number> {
  const o = parseOptions(argv, {
    model: { type: "string" },
    cluster: { type: "string" },
    cp: { type: "string" },
    tp: { type: "string" },
    new: { type: "string" },
    cached: { type: "string" },
    variant: { type: "string" },
    batch: { type: "string" },
    decode: { type: "boolean" },
    persistent: { type: "boolean" },
    ffn: { type: "string" },
    "kv-bytes": { type: "string" },
    ...MASK_OPTIONS,
    dealing: { type: "string" },
    slow: { type: "string" },
    jitter: { type: "string" },
    "every-rank": { type: "boolean" },
    trace: { type: "string" },
    sweep: { type: "boolean" },
    "max-gpus": { type: "string" },
    ttft: { type: "string" },
    json: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  });
  if (o.help) {
    io.stdout(HELP);
    return 0;
  }
  await checkOutputs({ "--trace": o.trace }, { "--model": o.model, "--cluster": o.cluster });
  const fresh = wholeOption("--new", o.new, 1);
  if (fresh === undefined && !o.decode) {
    throw new InputError("--new: not given, expected the number of new tokens (or --decode with --cached)");
  }
  const ffn = choiceOption("--ffn", o.ffn, ["fp8", "bf16"]);
  const kvBytes = numberOption("--kv-bytes", o["kv-bytes"]);
  const cached = wholeOption("--cached", o.cached, 0);
  const batch = wholeOption("--batch", o.batch, 1);
  if (o.mask === undefined && o["sink-tokens"] !== undefined) {
    throw new InputError("--sink-tokens: found without --mask, expected it beside --mask window:W or chunk:C");
  }
  const mask = o.mask === undefined ? undefined : maskOption(o);
  const dealing = choiceOption("--dealing", o.dealing, ["auto", ...DEALINGS]);
  const common: Omit<PlanInput, "cp" | "tp"> = {
    model: await modelOption(o.model ?? "llama3-405b"),
    cluster: await clusterOption(o.cluster ?? "gtt"),
    ...(fresh === undefined ? {} : { new: fresh }),
    ...(cached === undefined ? {} : { cached }),
    ...(batch === undefined ? {} : { batch }),
    ...(ffn === undefined ? {} : { ffn }),
    ...(kvBytes === undefined ? {} : { kvBytes }),
    ...(mask === undefined ? {} : { mask }),
    ...(dealing === undefined ? {} : { dealing }),
    ...(o.decode ? { decode: true } : {}),
    ...(o.persistent ? { persistent: true } : {}),
    ...(io.signal === undefined ? {} : { signal: io.signal }),
  };
  if (o.sweep) {
    for (const name of ["cp", "tp", "variant", "slow", "jitter", "every-rank", "trace"] as const) {
      if (o[name] !== undefined) {
        throw new InputError(
          `--sweep: found beside --${name}, expected it alone: a sweep tries every layout and variant`,
        );
      }
    }
    const target = numberOption("--ttft", o.ttft);
    if (target !== undefined && !(target > 0)) {
      throw new InputError(`--ttft: found ${target}, expected a number of seconds above 0`);
    }
    const found = await sweep({
      ...common,
      maxGpus: wholeOption("--max-gpus", o["max-gpus"], 1, MOST_GPUS, "a sweep simulates every layout") ?? 128,
      ...(target === undefined ? {} : { target }),
    });
    io.stdout(o.json ? `${JSON.stringify(found)}\n` : sweepText(found));
    return 0;
  }
  for (const name of ["max-gpus", "ttft"] as const) {
    if (o[name] !== undefined) {
      throw new InputError(`--${name}: found without --sweep, expected it only with --sweep`);
    }
  }

  const cp = wholeOption("--cp", o.cp, 1) ?? 1;
  if (o.trace !== undefined && cp > EVERY_RANK_UP_TO) {
    throw new InputError(
      `--trace: found --cp ${cp}, expected at most ${EVERY_RANK_UP_TO} ranks: a timeline has the spans of every rank`,
    );
  }
  const tp = wholeOption("--tp", o.tp, 1);
  const variant = choiceOption("--variant", o.variant, ["auto", "pass-kv", "pass-q"]);
  const disturbance = disturbanceOption(o.slow, o.jitter, cp);
  const { spans, ...found } = await planStep({
    ...common,
    cp,
    ...(tp === undefined ? {} : { tp }),
    ...(variant === undefined ? {} : { variant }),
    ...(disturbance === undefined ? {} : { disturbance }),
    everyRank: o["every-rank"] === true,
    spans: o.trace !== undefined,
  });
  if (o.trace !== undefined) await writeOutputs([[o.trace, chromeTrace(spans!, titleOf(found))]]);
  if (!found.memory.fits) io.stderr(`ringside plan: ${found.memory.summary}\n`);
  io.stdout(
    o.json ? `${JSON.stringify({ ...found, model: modelDocument(common.model, kvBytes ?? 2) })}\n` : planText(found),
  );
  return 0;
}

/**
 * The model in --json: the number of its weights, and for one token the bytes of KV cache in all layers and the FLOPs
 * of the weights (Appendix A's 2 W).
 */
function modelDocument(model: Model, kvBytes: number) {
  return {
    name: model.name,
    parameters: weightCount(model),
    kvBytesPerToken: kvBytesPerToken(model, 1, kvBytes),
    flopsPerToken: gemmFlops(model, 1),
    source: model.source,
  };
}

function titleOf(p: Plan): string {
  const layout = `CP${p.cp} x TP${p.tp}`;
  const step = `${p.mode}, T = ${p.new}, P = ${p.cached}, ${p.variant}`;
  return `ringside plan: one layer of ${p.model} on ${p.cluster}, ${layout}, ${step}`;
}

function planText(p: Plan): string {
  const b = p.breakdown;
  const rows = Object.entries({
    gemm: b.gemm,
    attention: b.attention,
    "exposed communication": b.exposed,
    all2all: b.all2all,
    allreduce: b.allreduce,
    launch: b.launch,
  });
  const layout = `CP${p.cp} x TP${p.tp} = ${p.gpus} GPUs (${p.hosts} hosts)`;
  const lines = [
    `${p.model} on ${p.cluster}, ${layout}, ${p.mode}, T = ${p.new}, P = ${p.cached}, batch ${p.batch}`,
    "",
    `${p.mode === "decode" ? "TTIT" : "TTFT"}        ${secondsText(p.seconds)}`,
    `variant     ${p.variant}`,
    `because     ${p.reason}`,
    ...maskLines(p),
    `per GPU     ${flopsText(p.flopsPerGpu)}, ${percentText(p.utilization)} of the bf16 peak`,
    `efficiency  ${percentText(p.parallelEfficiency)} of a perfect split over ${p.cp} ranks`,
    `memory      ${p.memory.summary}`,
    "",
    table(
      ["time", "seconds", "share"],
      rows.map(([name, seconds]) => [name, secondsText(seconds), percentText(seconds / p.seconds)]),
    ),
    ...p.notes.map((note) => `note: ${note}`),
  ];
  return `${lines.join("\n")}\n`;
}

/** The masks of the layers and the dealing, unless they are the paper's. */
function maskLines({ kinds, dealing, dealingReason }: Plan): string[] {
  if (dealing === "head-tail" && kinds.every(({ mask }) => mask.kind === "causal")) return [];
  return [
    `mask        ${kinds.map(({ mask, layers }) => `${sayMask(mask)} in ${layers} layers`).join(", ")}`,
    `dealing     ${dealing}`,
    `because     ${dealingReason}`,
  ];
}

function sweepText(s: Sweep): string {
  const dealt = s.rows.some((r) => r.dealing !== "head-tail");
  const rows = s.rows.map((
    r,
  ) => [
    r.gpus,
    r.cp,
    r.tp,
    r.variant,
    ...dealt ? [r.dealing] : [],
    secondsText(r.seconds),
    r.fits ? "yes" : "no",
    bytesText(r.memory),
    percentText(r.parallelEfficiency),
    r.pareto ? "*" : "",
  ]);
  return `${
    table(
      ["GPUs", "CP", "TP", "variant", ...dealt ? ["dealing"] : [], "time", "fits", "a GPU", "efficiency", "Pareto"],
      rows,
    )
  }\n\n${s.summary}\n`;
}
