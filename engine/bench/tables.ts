/** A benchmark's figures as tables, the same rows for a terminal and for the docs. */
import { barsOf } from "./bars.ts";
import type { BenchDocument } from "./document.ts";
import type { Heads } from "./inputs.ts";

/** A title, a header, and cells. */
export interface Figures {
  readonly title: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

const digits = (x: number) => (x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2));
const ms = (seconds: number) => digits(seconds * 1000);
const giga = (rate: number) => digits(rate / 1e9);
const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
const headsOf = ({ heads, kvHeads, headDim }: Heads) => `${heads}/${kvHeads}, ${headDim}`;

/** Tables name the type of keys and values only if it isn't f32. */
const typeOf = (kv: "f32" | "f16" = "f32") => (kv === "f32" ? "" : `, K and V ${kv}`);

/** The ceilings. */
export function ceilingFigures({ ceilings }: BenchDocument): Figures | undefined {
  if (ceilings === null) return undefined;
  const { f32, f16, matrix, copy } = ceilings;
  return {
    title: "What the adapter can do at most",
    header: ["micro-kernel", "best G/s", "median", "least"],
    rows: [
      ["f32, dots of vec4, FLOP", giga(f32.dot.max), giga(f32.dot.median), giga(f32.dot.min)],
      ["f32, vec4 multiply-add, FLOP", giga(f32.fma.max), giga(f32.fma.median), giga(f32.fma.min)],
      ...(f16 === undefined ? [] : [
        ["f16, dots of vec4, FLOP", giga(f16.dot.max), giga(f16.dot.median), giga(f16.dot.min)],
        ["f16, vec4 multiply-add, FLOP", giga(f16.fma.max), giga(f16.fma.median), giga(f16.fma.min)],
      ]),
      ...(matrix === undefined
        ? []
        : [["f16 matrix products into f32, FLOP", giga(matrix.max), giga(matrix.median), giga(matrix.min)]]),
      ["copy by a kernel, bytes", giga(copy.kernel.max), giga(copy.kernel.median), giga(copy.kernel.min)],
      ["copy command, bytes", giga(copy.command.max), giga(copy.command.median), giga(copy.command.min)],
    ],
  };
}

/** Compile times. */
export function compileFigures({ checks }: BenchDocument): Figures {
  return {
    title: "Compile time, apart from all times below (ms)",
    header: ["kernel", "D", "pipeline", "first run", "checked cases", "largest error of O"],
    rows: checks.flatMap((c) =>
      c.compile.map((
        { headDim, pipeline, firstRun },
      ) => [
        `${c.kernel}${typeOf(c.kv)}`,
        String(headDim),
        ms(pipeline),
        ms(firstRun),
        String(c.cases),
        c.worst.out.toExponential(1),
      ])
    ),
  };
}

/** The attention kernels. */
export function kernelFigures({ kernels }: BenchDocument): Figures {
  return {
    title: "Attention (* runs when no kernel is named)",
    header: ["mask", "T", "P", "H/Hkv, D", "kernel", "ms", "GFLOP/s", "of ceiling", "GB/s", "of copy kernel"],
    rows: kernels.map((k) => [
      k.shape.mask,
      String(k.shape.tokens),
      String(k.shape.cached),
      headsOf(k.shape),
      `${k.kernel}${typeOf(k.shape.dtype)}${k.chosen ? " *" : ""}`,
      ms(k.seconds.median),
      giga(k.flopsPerSecond),
      k.ofMatrix === undefined ? percent(k.ofMultiplyAdd) : `${percent(k.ofMatrix)} of matrix`,
      giga(k.bytesPerSecond),
      percent(k.ofCopyKernel),
    ]),
  };
}

/** The merge kernel. */
export function mergeFigures({ merge }: BenchDocument): Figures {
  return {
    title: "Merge of partial results",
    header: ["rows", "parts", "H/Hkv, D", "ms", "GB/s", "of copy kernel"],
    rows: merge.map((
      m,
    ) => [
      String(m.rows),
      String(m.parts),
      headsOf(m),
      ms(m.seconds.median),
      giga(m.bytesPerSecond),
      percent(m.ofCopyKernel),
    ]),
  };
}

/** The ring. */
export function ringFigures({ ring }: BenchDocument): Figures {
  return {
    title: "The ring, all ranks on one device",
    header: ["T", "N", "variant", "sum of attention ms", "of single call", "merge share", "total ms"],
    rows: ring.map((
      r,
    ) => [
      String(r.tokens),
      String(r.ranks),
      r.variant,
      ms(r.attendSeconds.median),
      r.ofSingleCall.toFixed(3),
      percent(r.mergeShare),
      ms(r.wallSeconds.median),
    ]),
  };
}

/** The reach. */
export function reachFigures({ reach = [] }: BenchDocument): Figures {
  return {
    title: "Reach of one rank: a causal prefill as tokens double",
    header: [
      "T",
      "H/Hkv, D",
      "MB on the device",
      "bytes a token",
      "s",
      "ns a T²",
      "GFLOP/s",
      "largest error of O, three rows",
    ],
    rows: reach.map((r) => [
      String(r.tokens),
      headsOf(r),
      digits(r.bytes / 1e6),
      digits(r.bytes / r.tokens),
      digits(r.seconds),
      digits((r.seconds * 1e9) / r.tokens ** 2),
      giga(r.flopsPerSecond),
      `${r.maxError.toExponential(1)}${r.passed ? "" : " TOO MUCH"}`,
    ]),
  };
}

/** The peers. */
export function peerFigures({ peers }: BenchDocument): Figures {
  return {
    title: "Beside a peer, in one page (causal prefill, f32; ratio: the peer's time over ours)",
    header: ["peer", "T", "H/Hkv, D", "peer ms", "ours ms", "ratio", "largest difference", "our kernel"],
    rows: peers.map((p) => [
      `${p.name} ${p.version}`,
      String(p.shape.tokens),
      headsOf(p.shape),
      ms(p.peerSeconds),
      ms(p.ourSeconds),
      p.ratio.toFixed(2),
      `${p.maxDifference.toExponential(1)}${p.agrees ? "" : " TOO MUCH"}`,
      p.kernel.split(":")[0],
    ]),
  };
}

/** The first result in a fresh browser. */
export function coldFigures({ coldStart: c }: BenchDocument): Figures | undefined {
  if (c === null) return undefined;
  return {
    title: "First result in a browser just started",
    header: ["N", "T", "H/Hkv, D", "workers and devices ms", "experiment ms", "of it compiling", "both ms"],
    rows: [[
      String(c.ranks),
      String(c.tokens),
      headsOf(c),
      ms(c.startSeconds),
      ms(c.attendSeconds),
      ms(c.compileSeconds),
      `${ms(c.firstResultSeconds)}${c.passed ? "" : " FAILED"}`,
    ]],
  };
}

/** The bars. */
export function barFigures(document: BenchDocument): Figures {
  return {
    title: "Bars (the worst figure of this run counts)",
    header: ["what", "bar", "found", ""],
    rows: barsOf(document).map((
      { what, sense, bar, found, met },
    ) => [what, `${sense} ${bar}`, found.toPrecision(3), met ? "met" : "missed"]),
  };
}

/** All tables that have rows. */
export function allFigures(document: BenchDocument): readonly Figures[] {
  const all = [
    ceilingFigures(document),
    compileFigures(document),
    kernelFigures(document),
    mergeFigures(document),
    ringFigures(document),
    reachFigures(document),
    peerFigures(document),
    coldFigures(document),
    barFigures(document),
  ];
  return all.filter((f): f is Figures => f !== undefined && f.rows.length > 0);
}

/** How a run was made, and on what; a line each. */
export function circumstances(d: BenchDocument): readonly string[] {
  const load = d.host.load.map((x) => x.toFixed(1)).join(" before, ");
  return [
    `adapter: ${d.adapter.name}${d.adapter.software ? " (software)" : ""}${
      d.adapterSource === null ? "" : `; ${d.adapterSource}`
    }`,
    `runtime: ${
      Object.entries(d.versions).map(([name, version]) => `${name} ${version}`).join(", ")
    }; ${d.host.processor}, ${d.host.cores} cores, load ${load} after`,
    `clock: ${d.clock}; medians of ${d.repeats} interleaved repeats; sizes ${d.sizes.join(", ")}; ${d.date}`,
    ...(d.peerPage === null ? [] : [
      `page: ${d.peerPage.browser}, ${d.peerPage.source}; adapter ${d.peerPage.adapter.name}${
        d.peerPage.adapter.software ? " (software)" : ""
      }`,
    ]),
    ...d.notes.map((note) => `note: ${note}`),
  ];
}
