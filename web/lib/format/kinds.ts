/**
 * Kinds of span and kinds of time: names, colours, hatching, and the summary's row for each. Timeline, stage, legends
 * and tables read only these two tables. A new kind of span is a row of `spanKinds`; a new kind of time is a row of
 * `timeKinds`, with its colour in tokens.css.
 */
import type { Kind, Lane, Times } from "../../engine/run.ts";

/** The kind of time that a span counts as. */
export type TimeKind = "attend" | "transfer" | "wait" | "late" | "all2all" | "merge" | "barrier" | "other";

interface KindOfTime {
  /** In a legend. */
  readonly label: string;
  /** Its token in tokens.css. */
  readonly colour: string;
  /** If the device waits: the degrees by which its hatching leans to the right. Kinds differ in it, without colour. */
  readonly leans?: number;
  /** What a rank does meanwhile, if the stage shows it. */
  readonly doing?: string;
  /** The report's sum of it, and its name in tables. */
  readonly sum?: readonly [key: keyof Times, name: string];
}

/** In the order of legends and tables. */
export const timeKinds: Readonly<Record<TimeKind, KindOfTime>> = {
  attend: { label: "attend", colour: "--attend", doing: "attends", sum: ["attend", "Attend"] },
  transfer: { label: "transfer", colour: "--transfer" },
  wait: {
    label: "wait for the link",
    colour: "--wait",
    leans: 45,
    doing: "waits for the link",
    sum: ["exchange", "Exposed communication"],
  },
  late: {
    label: "wait for a late sender",
    colour: "--late",
    leans: -45,
    doing: "waits for a late sender",
    sum: ["late", "Late senders"],
  },
  all2all: { label: "All2All", colour: "--transfer", leans: 0, doing: "exchanges partial results" },
  merge: { label: "merge", colour: "--merge", doing: "merges", sum: ["merge", "Merge"] },
  // Ranks wait for each other here even if their kernels come from an earlier run.
  barrier: {
    label: "wait for ranks to be ready",
    colour: "--other",
    leans: 90,
    doing: "waits for ranks to be ready",
    sum: ["barrier", "Ranks not ready yet"],
  },
  other: { label: "compile, upload or download", colour: "--other", sum: ["upload", "Upload"] },
};

interface KindOfSpan {
  /** Its name on the page. */
  readonly name: string;
  readonly time: TimeKind;
  /** What it counts as on the device's lane, if that differs. */
  readonly onDevice?: TimeKind;
  /** The words before its peer: "to rank" 3. */
  readonly peer?: string;
}

/** Every kind of span that the engine has. */
export const spanKinds: Readonly<Record<Kind, KindOfSpan>> = {
  compile: { name: "compile", time: "other" },
  upload: { name: "upload", time: "other" },
  attend: { name: "attend", time: "attend", peer: "chunk of rank" },
  merge: { name: "merge", time: "merge" },
  download: { name: "download", time: "other" },
  send: { name: "send", time: "transfer", peer: "to rank" },
  receive: { name: "receive", time: "transfer", peer: "from rank" },
  wait: { name: "wait for the link", time: "wait", peer: "from rank" },
  late: { name: "wait for a late sender", time: "late", peer: "rank" },
  barrier: { name: "wait for ranks to be ready", time: "barrier" },
  // A device in All2All has sent its own parcels and waits for the others'.
  all2all: { name: "All2All", time: "transfer", onDevice: "all2all" },
  gemm: { name: "GEMM", time: "other" },
  allreduce: { name: "all-reduce", time: "transfer" },
  launch: { name: "launch", time: "other" },
};

/** The kind of time of a span. */
export function timeKind({ kind, lane }: { readonly kind: Kind; readonly lane: Lane }): TimeKind {
  const { time, onDevice } = spanKinds[kind];
  return lane === "device" ? (onDevice ?? time) : time;
}

/** The kinds of time in which a device waits. Each has a hatching. */
export const hatched = (Object.keys(timeKinds) as TimeKind[]).filter((kind) => timeKinds[kind].leans !== undefined);

/** The sums of a report, in the order of the table. */
export const sums = (Object.keys(timeKinds) as TimeKind[]).flatMap((kind) => {
  const { sum } = timeKinds[kind];
  return sum === undefined ? [] : [{ kind, key: sum[0], name: sum[1] }];
});
