/**
 * `ringside selftest`: is the ring exact on this machine's adapter? Runs both variants on four ranks, hop by hop, and
 * then a grid, with one line for each case.
 */
import { Cluster } from "../cluster/cluster.ts";
import type { AttendInput, Backend } from "../cluster/types.ts";
import { seededRows } from "../tensor/seeded.ts";
import type { DType } from "../tensor/dtype.ts";
import { CAUSAL, type Mask, sayMask } from "../layout/mask.ts";
import type { Sequence } from "../layout/shards.ts";
import type { Variant } from "../cluster/types.ts";
import { OPTION, optionLines } from "./help.ts";
import type { Command } from "./io.ts";
import { choiceOption, parseOptions } from "./options.ts";
import { adapterText } from "./run-text.ts";
import { table } from "./table.ts";
import { checkResult, sayCheck } from "./verdict.ts";

const HELP = `ringside selftest: checks the ring against float64 on this machine's adapter

${optionLines(OPTION.backend, OPTION.runtime)}

Exit status: 0 all passed, 1 a case failed, 2 bad usage.
`;

interface Case {
  readonly ranks: number;
  readonly variant: Variant;
  readonly sequences: readonly Sequence[];
  readonly heads: readonly [number, number];
  readonly headDim: number;
  readonly wireDtype: DType;
  readonly mask: Mask;
  /** Whether each head has a sink. */
  readonly sinks?: boolean;
  /** Dv, if V is the first elements of K's rows. */
  readonly prefix?: number;
}

const one = (T: number, P = 0): readonly Sequence[] => [{ new: T, cached: P }];

/** A small grid: many shapes but few kernels, because every rank compiles each pipeline. */
const GRID: readonly Case[] = [1, 2, 3, 4].flatMap((ranks): Case[] => {
  const small = { ranks, headDim: 16, wireDtype: "f32", mask: CAUSAL } as const;
  return [
    { ...small, variant: "pass-kv", sequences: one(1), heads: [8, 2] },
    { ...small, variant: "pass-kv", sequences: one(113), heads: [8, 1] },
    { ...small, variant: "pass-q", sequences: [...one(31, 90), ...one(7), ...one(64, 3)], heads: [8, 2] },
    { ...small, variant: "pass-kv", sequences: one(64, 31), heads: [4, 4], mask: { kind: "full" } },
    ...(ranks === 4
      ? [
        { ...small, variant: "pass-kv", sequences: one(113, 20), heads: [8, 2], wireDtype: "bf16" },
        { ...small, variant: "pass-q", sequences: one(113, 20), heads: [8, 2], wireDtype: "f16" },
        { ...small, variant: "pass-kv", sequences: one(257), heads: [8, 1], headDim: 128 },
        { ...small, variant: "pass-kv", sequences: one(113, 20), heads: [8, 2], mask: { kind: "window", size: 24 } },
        { ...small, variant: "pass-q", sequences: one(113, 20), heads: [8, 2], mask: { kind: "chunk", size: 40 } },
        {
          ...small,
          variant: "pass-q",
          sequences: one(113, 20),
          heads: [8, 2],
          mask: { kind: "window", size: 24, sinkTokens: 4 },
        },
        { ...small, variant: "pass-kv", sequences: one(113, 20), heads: [8, 2], sinks: true },
        { ...small, variant: "pass-kv", sequences: one(113, 20), heads: [8, 1], headDim: 32, prefix: 16 },
      ] satisfies Case[]
      : []),
  ];
});

/** The command. */
export const selftest: Command = async (argv, io) => {
  const { stdout, platform, signal } = io;
  const options = parseOptions(argv, { backend: { type: "string" }, help: { type: "boolean", short: "h" } });
  if (options.help) {
    stdout(HELP);
    return 0;
  }
  const backend: Backend = choiceOption("--backend", options.backend, ["webgpu", "cpu"]) ?? "webgpu";
  let failed = 0;
  let passed = 0;
  for (const ranks of [4, 1, 2, 3]) {
    const cluster = await Cluster.start(platform, { ranks, backend, signal });
    try {
      if (ranks === 4) {
        stdout(`adapter: ${adapterText(cluster.adapter, backend)}; runtime: ${platform.runtime}\n`);
        for (const variant of ["pass-kv", "pass-q"] as const) {
          const input = inputOf({
            ranks,
            variant,
            sequences: one(256, 64),
            heads: [8, 2],
            headDim: 16,
            wireDtype: "f32",
            mask: CAUSAL,
          });
          const result = await cluster.attend({ ...input, signal });
          const found = await checkResult(io, { ...input, ranks }, result);
          const { kernel, clock, spans } = result.report;
          const shape = "4 ranks, 256 new and 64 cached tokens, heads 8/2, D 16, wire f32";
          stdout(`\n${variant}, ${shape}; ${kernel}; clock: ${clock}\n\n${hops(spans)}\n\n`);
          stdout(`${sayCheck("against float64", found, input)}\n`);
          if (found.passed) passed++;
          else failed++;
        }
        stdout("\n");
      }
      for (const c of GRID.filter((g) => g.ranks === ranks)) {
        const input = inputOf(c);
        const { out, lse, passed: fine } = await checkResult(
          io,
          { ...input, ranks },
          await cluster.attend({ ...input, signal }),
        );
        stdout(
          `${fine ? "ok    " : "FAILED"} ${label(c)}: out ${out.max.toExponential(1)}, lse ${
            lse.max.toExponential(1)
          }\n`,
        );
        if (fine) passed++;
        else failed++;
      }
    } finally {
      await cluster.dispose();
    }
  }
  stdout(`\nself-test: ${passed} passed, ${failed} failed\n`);
  return failed === 0 ? 0 : 1;
};

/** Seeded tensors, moved off the 16-bit grids so that a 16-bit wire rounds them. */
function inputOf(c: Case): AttendInput {
  const [heads, kvHeads] = c.heads;
  const fresh = c.sequences.reduce((sum, s) => sum + s.new, 0);
  const all = c.sequences.reduce((sum, s) => sum + s.new + s.cached, 0);
  const tensor = (name: "q" | "k" | "v", rows: number, h: number) =>
    seededRows(1, name, 0, rows, h * c.headDim).map((x) => x * 1.0009765);
  const { headDim, sequences, variant, wireDtype, mask, prefix } = c;
  return {
    q: tensor("q", fresh, heads),
    k: tensor("k", all, kvHeads),
    v: prefix === undefined ? tensor("v", all, kvHeads) : { prefixOfK: prefix },
    // From below to above the scores, which are within a few of 0.
    ...(c.sinks && { sinks: Float32Array.from({ length: heads }, (_, h) => 2 * h - heads) }),
    heads,
    kvHeads,
    headDim,
    sequences,
    variant,
    wireDtype,
    mask,
  };
}

function label({ ranks, variant, sequences, heads, headDim, wireDtype, mask, sinks, prefix }: Case): string {
  const batch = sequences.map((s) => `${s.new}:${s.cached}`).join(",");
  return `N ${ranks} ${variant.padEnd(7)} T:P ${batch.padEnd(15)} heads ${heads.join("/")} D ${
    String(headDim).padEnd(3)
  } wire ${wireDtype.padEnd(4)} ${sayMask(mask)}${sinks ? ", sinks" : ""}${
    prefix === undefined ? "" : `, V the first ${prefix} of K`
  }`;
}

function hops(spans: Awaited<ReturnType<Cluster["attend"]>>["report"]["spans"]): string {
  const ms = (s: number) => (s * 1000).toFixed(2);
  const rows = spans.filter((s) => s.kind === "attend").sort((a, b) => a.hop - b.hop || a.rank - b.rank).map(
    (attend) => {
      const sent = spans.find((s) =>
        s.lane === "send" && s.kind === "send" && s.rank === attend.rank && s.hop === attend.hop
      );
      return [
        attend.hop,
        attend.rank,
        attend.peer ?? attend.rank,
        ms(attend.duration),
        (attend.flops / 1e6).toFixed(2),
        sent?.bytes ?? 0,
      ];
    },
  );
  return table(["hop", "rank", "chunk of", "attend ms", "MFLOP", "bytes sent on"], rows);
}
