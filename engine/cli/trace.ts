/** `ringside trace`: what somebody's run really did, from profiler traces of its ranks. */
import { InputError } from "../errors.ts";
import { plan } from "../plan/plan.ts";
import type { Kind } from "../trace/span.ts";
import { readHops, type TracedHop, type TraceReading } from "../trace/hops.ts";
import { type KinetoTrace, readKineto } from "../trace/kineto.ts";
import { requireOneEach, textOf } from "../trace/traces.ts";
import { chromeTrace } from "../trace/perfetto.ts";
import { OPTION, optionLines, withRemark } from "./help.ts";
import { checkOutputs, type Command, readInput, writeOutputs } from "./io.ts";
import { choiceOption, parseFiles, wholeOption } from "./options.ts";
import { clusterOption, modelOption } from "./plan-options.ts";
import { table } from "./table.ts";

/** Unknown kernels that the text shows. */
const SHOWN = 8;

const HELP = `ringside trace: reads profiler traces of a run, one for each rank, and finds the waits

  ringside trace rank0.json.gz rank1.json.gz ... [options]

It reads what torch.profiler's export_chrome_trace writes, packed with gzip or not, of CUDA and ROCm
kernels or, over gloo, of CPU operators. It cuts steps (ProfilerStep) into hops, aligns the ranks'
clocks where exchanges end, and shows how much of each hop's communication is hidden behind
computation, and how much is exposed.

${
  optionLines(
    ["--model M", "plan the same step beside it: a known model or config.json, as in plan"],
    ["--cluster C", "the cluster of that plan"],
    ["--new T", "its new tokens"],
    ["--cached P", "its cached tokens (default 0)"],
    ["--tp N", "its tensor parallelism (default: all GPUs of a host)"],
    ["--variant V", "its variant: pass-kv (default) or pass-q"],
    withRemark(OPTION.trace, "attention, messages and waits"),
    OPTION.json,
    OPTION.runtime,
  )
}

Exit status: 0 done, 2 a file cannot be read.
`;

/** The command. */
export const trace: Command = async (argv, io) => {
  const { values: o, files } = parseFiles(argv, {
    model: { type: "string" },
    cluster: { type: "string" },
    new: { type: "string" },
    cached: { type: "string" },
    tp: { type: "string" },
    variant: { type: "string" },
    trace: { type: "string" },
    json: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  });
  if (o.help) {
    io.stdout(HELP);
    return 0;
  }
  if (files.length === 0) throw new InputError("trace: found no file, expected a profiler trace of each rank");
  await checkOutputs({ "--trace": o.trace }, {
    ...Object.fromEntries(files.map((file) => [`input ${file}`, file])),
    "--model": o.model,
    "--cluster": o.cluster,
  });
  const predicted = await prediction(o, files.length, io.signal);
  const traces: KinetoTrace[] = [];
  for (const [place, file] of files.entries()) {
    io.signal.throwIfAborted();
    traces.push(readKineto(await textOf(await readInput("trace", file), file), file, place));
  }
  requireOneEach(traces);
  const reading = readHops(traces);
  if (o.trace !== undefined) await writeOutputs([[o.trace, chromeTrace(reading.spans, "profiler traces")]]);
  const { spans: _, ...facts } = reading;
  io.stdout(
    o.json
      ? `${JSON.stringify({ files, device: traces[0].device, ...facts, predicted: predicted ?? null }, null, 2)}\n`
      : text(reading, predicted),
  );
  return 0;
};

/** One hop of the planner, the mean of all ranks. Seconds. */
interface PredictedHop {
  readonly hop: number;
  readonly attention: number;
  readonly communication: number;
  readonly exposed: number;
}

/** The planner's hops of the same step, if the options describe it. */
async function prediction(
  o: { [name in "model" | "cluster" | "new" | "cached" | "tp" | "variant"]?: string },
  ranks: number,
  signal: AbortSignal,
): Promise<{ readonly model: string; readonly cluster: string; readonly hops: readonly PredictedHop[] } | undefined> {
  const given = (["model", "cluster", "new", "cached", "tp", "variant"] as const).filter((name) =>
    o[name] !== undefined
  );
  if (given.length === 0) return undefined;
  for (const name of ["model", "cluster", "new"] as const) {
    if (o[name] === undefined) {
      throw new InputError(
        `--${name}: not given beside --${given[0]}, expected --model M --cluster C --new T together`,
      );
    }
  }
  const [model, cluster] = [await modelOption(o.model!), await clusterOption(o.cluster!)];
  const tp = wholeOption("--tp", o.tp, 1);
  const { spans = [] } = await plan({
    model,
    cluster,
    cp: ranks,
    ...(tp === undefined ? {} : { tp }),
    new: wholeOption("--new", o.new, 1)!,
    cached: wholeOption("--cached", o.cached, 0) ?? 0,
    variant: choiceOption("--variant", o.variant, ["pass-kv", "pass-q"]) ?? "pass-kv",
    spans: true,
    signal,
  });
  const mean = (hop: number, ...kinds: readonly Kind[]) =>
    spans.filter((span) => span.hop === hop && span.lane !== "send" && kinds.includes(span.kind))
      .reduce((sum, { duration }) => sum + duration, 0) / ranks;
  const hops = [...new Set(spans.filter(({ kind }) => kind === "attend").map(({ hop }) => hop))].sort((a, b) => a - b);
  return {
    model: model.name,
    cluster: cluster.name,
    hops: hops.map((hop) => ({
      hop,
      attention: mean(hop, "attend"),
      communication: mean(hop, "receive", "all2all"),
      exposed: mean(hop, "wait", "late", "all2all"),
    })),
  };
}

/** Seconds in the unit that suits them. */
function time(seconds: number): string {
  const [scale, unit] = Math.abs(seconds) >= 1 ? [1, "s"] : Math.abs(seconds) >= 1e-3 ? [1e3, "ms"] : [1e6, "us"];
  return `${(seconds * scale).toPrecision(4)} ${unit}`;
}

const percent = (part: number, whole: number) => whole === 0 ? "-" : `${Math.round((100 * part) / whole)} %`;
const stepName = (step: number | undefined) => step === undefined ? "-" : String(step);

function text(
  { ranks, steps, hops, stragglers, offsets, unknown }: TraceReading,
  predicted: Awaited<ReturnType<typeof prediction>>,
): string {
  const lines = [
    `ranks     ${ranks.join(", ")}`,
    `clocks    ${
      offsets.map(({ rank, seconds }) => `rank ${rank} ${seconds >= 0 ? "+" : ""}${time(seconds)}`).join(", ")
    }`,
    "",
    table(
      ["step", "rank", "total", "attention", "computation", "communication", "exposed", "ideal"],
      steps.map((s) => [
        stepName(s.step),
        String(s.rank),
        time(s.total),
        time(s.attention),
        time(s.computation),
        time(s.communication),
        `${time(s.exposed)} (${percent(s.exposed, s.communication)})`,
        time(s.ideal),
      ]),
    ),
  ];
  if (hops.length > 0) {
    lines.push(
      "",
      table(
        ["step", "hop", "rank", "communication", "hidden", "exposed", "attention", "kernels"],
        hops.map((h: TracedHop) => [
          stepName(h.step),
          String(h.hop),
          String(h.rank),
          time(h.communication),
          time(h.hidden),
          time(h.exposed),
          time(h.attention),
          h.kernels.join(", "),
        ]),
      ),
    );
  } else lines.push("", "no communication kernel: nothing to hide");
  if (predicted !== undefined) {
    lines.push(
      "",
      `predicted: a layer of ${predicted.model} on ${predicted.cluster}; measured: the first hops of each step, the mean of all ranks`,
      table(
        ["hop", "attention", "predicted", "communication", "predicted", "exposed", "predicted"],
        predicted.hops.map(({ hop, ...of }) => {
          const own = hops.filter((one) => one.hop === hop);
          const mean = (name: "attention" | "communication" | "exposed") =>
            own.length === 0 ? "-" : time(own.reduce((sum, one) => sum + one[name], 0) / own.length);
          return [
            String(hop),
            ...(["attention", "communication", "exposed"] as const).flatMap((name) => [mean(name), time(of[name])]),
          ];
        }),
      ),
    );
  }
  for (const { step, hop, rank, late } of stragglers.toSorted((a, b) => b.late - a.late).slice(0, 3)) {
    if (late > 0) {
      lines.push(`straggler step ${stepName(step)}, hop ${hop}: rank ${rank} begins ${time(late)} after the first`);
    }
  }
  if (unknown.length > 0) {
    const more = unknown.length > SHOWN ? `, and ${unknown.length - SHOWN} more (--json has all)` : "";
    lines.push(
      `unknown   counted as computation: ${
        unknown.slice(0, SHOWN).map(({ name, count, seconds }) => `${name.slice(0, 60)} (${count} x, ${time(seconds)})`)
          .join(", ")
      }${more}`,
    );
  }
  return `${lines.join("\n")}\n`;
}
