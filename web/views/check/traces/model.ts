/** Profiler traces in figures: one step of them, by hop and rank, and its spans. */
import type { TracedHop, TracedStep, TraceReading } from "../../../engine/compare.ts";
import type { Span } from "../../../engine/run.ts";

/** Spans that the timeline draws of a step; more take too long. */
export const MOST_SPANS = 4000;

/** Seconds from which a rank counts as late: clocks are aligned to less. */
const LATE = 1e-7;

/** A step of all ranks. */
export interface StepView {
  readonly steps: readonly TracedStep[];
  /** By hop, then by rank; undefined where a rank has no such hop. */
  readonly hops: readonly (readonly (TracedHop | undefined)[])[];
  /** From the first start among the ranks to the last end. */
  readonly seconds: number;
  /** The spans of the step, from 0. */
  readonly spans: readonly Span[];
  /** The rank that came last to a hop, the latest first. */
  readonly late: TraceReading["stragglers"];
}

/** The numbers of the steps; undefined stands for a trace without steps. */
export function stepsOf({ steps }: Pick<TraceReading, "steps">): (number | undefined)[] {
  return [...new Set(steps.map(({ step }) => step))];
}

/** One step. */
export function stepView({ ranks, steps, hops, spans, stragglers }: TraceReading, step: number | undefined): StepView {
  const own = steps.filter((one) => one.step === step);
  const ofStep = hops.filter((one) => one.step === step);
  const count = ofStep.reduce((most, { hop }) => Math.max(most, hop + 1), 0);
  const start = Math.min(...own.map((one) => one.start));
  const end = Math.max(...own.map((one) => one.start + one.total));
  const bounds = new Map(own.map((one) => [one.rank, [one.start, one.start + one.total]]));
  // Clocks are floating-point sums: a span may begin a hair before its step.
  const slack = 1e-9;
  return {
    steps: own,
    hops: Array.from(
      { length: count },
      (_, hop) => ranks.map((rank) => ofStep.find((one) => one.rank === rank && one.hop === hop)),
    ),
    seconds: end - start,
    spans: spans.filter((span) => {
      const [from, to] = bounds.get(span.rank) ?? [Infinity, 0];
      return span.start >= from - slack && span.start + span.duration <= to + slack;
    }).map((span) => ({ ...span, start: Math.max(0, span.start - start) })),
    late: stragglers.filter((one) => one.step === step && one.late >= LATE).toSorted((a, b) => b.late - a.late),
  };
}

/** The sums of a step over its ranks, in one sentence's figures. */
export function sumsOf(
  { steps }: Pick<StepView, "steps">,
): { readonly communication: number; readonly exposed: number } {
  const sum = (of: "communication" | "exposed") => steps.reduce((all, one) => all + one[of], 0);
  return { communication: sum("communication"), exposed: sum("exposed") };
}
