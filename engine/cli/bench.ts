/**
 * `ringside bench`: times the kernels on this machine's adapter, and compares them with its ceilings and with a peer.
 */
import { type Part, PARTS, runBench } from "../bench/bench.ts";
import type { BenchDocument } from "../bench/document.ts";
import { allFigures, circumstances } from "../bench/tables.ts";
import { InputError } from "../errors.ts";
import { OPTION, optionLines, withRemark } from "./help.ts";
import type { Command, Io } from "./io.ts";
import { connect, REMOTE_HELP, REMOTE_OPTIONS, remoteOption, type RemoteWorker } from "./remote.ts";
import { choiceOption, parseOptions, readTokens, wholeOption } from "./options.ts";
import { progressLine, workerProgress } from "./progress.ts";
import { adapterSource } from "./run-text.ts";
import { table } from "./table.ts";
import { sayValue } from "./value.ts";

const HELP = `ringside bench: checks each kernel on this machine's adapter against float64, then times it

It measures multiply-add rates and copy bandwidth with micro-kernels; each kernel on full, causal,
partial-prefill and decode shapes; the merge; and the ring on 1, 2, 4 and 8 ranks. It reports
compile time separately.

${
  optionLines(
    ["--sizes T,T,...", "numbers of tokens (default 512,1024 on a software adapter, 4096,16384 on hardware)"],
    ["--repeats R", "interleaved repeats, whose medians the report gives (default 5)"],
    [
      "--peers",
      "also run onnxruntime-web's GroupQueryAttention in the same Chromium page: compare outputs, times and the " +
      "first result in a new browser",
    ],
    [
      "--only PART,...",
      "of kernels, merge, ring, reach and peers (default: the first three; ceilings always run). reach runs one rank " +
      "on 8,192 to 65,536 tokens, for memory and time; it takes minutes on a software adapter",
    ],
    withRemark(OPTION.json, "with every repeat and every check"),
    ["--backend webgpu", "the only back-end with kernels to time"],
    OPTION.runtime,
  )
}

A remote worker
  It measures all its ceilings, single calls, rings and a layer (see cuda-bridge/README.md). Of the
  options above, only --json applies.
${REMOTE_HELP}
${optionLines(["--quick", "leave out the largest sizes"])}

Exit status: 0 done, 1 a check failed or outputs differ, 2 bad input or usage.
`;

const LEAST_SIZE = 16, MOST_SIZE = 131072, MOST_REPEATS = 100;

/** The command. */
export const bench: Command = async (argv, io) => {
  const { stdout, platform, signal } = io;
  const o = parseOptions(argv, {
    sizes: { type: "string" },
    repeats: { type: "string" },
    peers: { type: "boolean" },
    only: { type: "string" },
    json: { type: "boolean" },
    backend: { type: "string" },
    quick: { type: "boolean" },
    ...REMOTE_OPTIONS,
    help: { type: "boolean", short: "h" },
  });
  if (o.help) {
    stdout(HELP);
    return 0;
  }
  const remote = await remoteOption(o, {
    "--backend": o.backend,
    "--sizes": o.sizes,
    "--repeats": o.repeats,
    "--only": o.only,
    "--peers": o.peers,
  });
  if (remote !== undefined) return await benchRemote(io, remote, o.quick ?? false, o.json ?? false);
  if (o.quick) throw new InputError("--quick: found without --remote, expected --sizes for kernels here");
  choiceOption("--backend", o.backend, ["webgpu"]);
  const repeats = wholeOption("--repeats", o.repeats, 1, MOST_REPEATS) ?? 5;
  const sizes = sizesOption(o.sizes);
  const parts = partsOption(o.only);
  if (o.peers) parts.add("peers");
  const progress = progressLine(io);
  let document: BenchDocument;
  try {
    document = await runBench(platform, {
      parts,
      sizes,
      repeats,
      adapterSource: adapterSource("webgpu"),
      signal,
      progress,
    });
  } finally {
    progress("");
  }
  stdout(o.json ? `${JSON.stringify(document, null, 2)}\n` : describe(document));
  return document.passed ? 0 : 1;
};

/** The worker's own benchmark. Status 1 if it missed a bar that it could judge. */
async function benchRemote(io: Io, remote: RemoteWorker, quick: boolean, json: boolean): Promise<number> {
  const worker = await connect(io, remote);
  try {
    const { value } = await worker.bench({ quick, signal: io.signal, ...workerProgress(io, "parts") });
    io.stdout(
      json
        ? `${JSON.stringify({ address: worker.address, facts: worker.facts, ...value }, null, 2)}\n`
        : `${worker.address}: ${worker.facts.devices.map((d) => d.name).join(", ")}\n\n${sayValue(value)}\n`,
    );
    return Array.isArray(value.bars) && value.bars.some((bar: { passed?: unknown } | null) => bar?.passed === false)
      ? 1
      : 0;
  } finally {
    await worker.dispose();
  }
}

function partsOption(text: string | undefined): Set<Part> {
  const parts = text?.split(",").map((part) => choiceOption("--only", part.trim(), PARTS)!);
  return new Set(parts ?? PARTS.filter((part) => part !== "peers" && part !== "reach"));
}

function sizesOption(text: string | undefined): number[] | undefined {
  return text?.split(",").map((part) => {
    const size = readTokens(part) ?? NaN;
    if (!(size >= LEAST_SIZE && size <= MOST_SIZE)) {
      throw new InputError(
        `--sizes: found ${
          JSON.stringify(part)
        }, expected whole numbers from ${LEAST_SIZE} to ${MOST_SIZE}, separated by commas, such as 512,1024`,
      );
    }
    return size;
  });
}

function describe(document: BenchDocument): string {
  const failures = [...document.checks, ...(document.peerPage?.checks ?? [])].flatMap((c) =>
    c.failed.map((what) => `FAILED ${c.kernel}: ${what}`)
  );
  const parts = [
    circumstances(document).join("\n"),
    ...allFigures(document).map(({ title, header, rows }) => `${title}\n\n${table(header, rows)}`),
    ...(failures.length === 0 ? [] : [failures.join("\n")]),
    document.passed ? "every kernel passed its checks" : "CHECKS FAILED",
  ];
  return `${parts.join("\n\n")}\n`;
}
