/**
 * The planner's eight calibrated parameters, each with the cells of the paper that fix it. Everything else is data or a
 * count.
 */

/** Achieved rates as shares of datasheet peaks, and overheads in seconds. */
export interface PlanParameters {
  /** Rate of bf16 tensor-core work (attention and bf16 matrix products), over the bf16 peak. */
  readonly tensorShare: number;
  /** Rate of FP8 matrix products with the element-wise kernels around them, over the FP8 peak. */
  readonly fp8Share: number;
  /** Rate of one ring transfer that runs beside attention, over the fabric's line rate. */
  readonly flowShare: number;
  /** Rate of each port in an all-reduce between hosts, over the rate of a ring transfer. */
  readonly allReduceShare: number;
  /** Seconds that a message takes before its bytes flow. */
  readonly messageLatency: number;
  /** Seconds of host work that each ring step of a prefill adds to a layer. (No CUDA graph captures a prefill.) */
  readonly hopOverhead: number;
  /** Seconds that a persistent KV cache adds to each layer of a prefill. */
  readonly cacheOverhead: number;
  /** The shortest time of a small kernel: the cost of a launch in a decode graph. */
  readonly kernelFloor: number;
}

/** Where a parameter comes from. */
export interface Provenance {
  /** The parameter. */
  readonly name: keyof PlanParameters;
  /** A share of a peak, or seconds. */
  readonly unit: "share" | "s";
  /** What it stands for. */
  readonly meaning: string;
  /** Ids of the paper's cells (engine/plan/paper) that fix it. */
  readonly cells: readonly string[];
  /** The kind of figure that fixes it. */
  readonly kind: "micro-measurement" | "end-to-end";
  /** How the cells fix it. */
  readonly how: string;
}

/** The results of engine/plan/paper/calibrate.ts, rounded to four digits. A test runs it again. */
export const PARAMETERS: PlanParameters = {
  tensorShare: 0.6532,
  fp8Share: 0.4019,
  flowShare: 0.5296,
  allReduceShare: 0.8299,
  messageLatency: 35.23e-6,
  hopOverhead: 0.5573e-3,
  cacheOverhead: 2.549e-3,
  kernelFloor: 7.483e-6,
};

/** One row for each parameter. */
export const PROVENANCE: readonly Provenance[] = [
  {
    name: "tensorShare",
    unit: "share",
    meaning: "attention and bf16 matrix products, over the bf16 peak",
    cells: ["headline.kernel", "t5.10.attn"],
    kind: "micro-measurement",
    how: "geometric mean of two rates, each without its launch: the 540 TFLOP/s kernel figure, " +
      "and Table 5's attention at a miss rate of 10 % (1608 µs)",
  },
  {
    name: "fp8Share",
    unit: "share",
    meaning: "FP8 matrix products with the element-wise kernels around them, over the FP8 peak",
    cells: ["t7.cp1.ttft"],
    kind: "end-to-end",
    how: "the rest of CP1's TTFT of 42.010 s at 128K, without attention, bf16 products and the all-reduce in the host",
  },
  {
    name: "flowShare",
    unit: "share",
    meaning: "one ring transfer beside attention, over the line rate",
    cells: ["t5.2.5.kv.sendrecv", "t5.2.5.q.sendrecv", "t5.10.kv.sendrecv", "t5.10.q.sendrecv"],
    kind: "micro-measurement",
    how: "geometric mean of the rates of Table 5's four SendRecv cells, without the message latency",
  },
  {
    name: "allReduceShare",
    unit: "share",
    meaning: "a port's rate in an all-reduce between hosts, over that of a ring transfer",
    cells: ["t7.tp16.ttft"],
    kind: "end-to-end",
    how: "the rest of TP16's TTFT of 29.917 s at 128K without compute, as bus bandwidth of a ring over eight rails",
  },
  {
    name: "messageLatency",
    unit: "s",
    meaning: "latency of a message before its bytes flow",
    cells: ["t8.128.cp4.sendrecv"],
    kind: "micro-measurement",
    how: "a third of CP4's 105.7 µs of SendRecv in decode, which are three messages of 4 kB",
  },
  {
    name: "hopOverhead",
    unit: "s",
    meaning: "host work of a ring step in prefill",
    cells: ["headline.128k.cp8"],
    kind: "end-to-end",
    how: "CP8's TTFT of 5.85 s at 128K, less the work, for each of the 8 ring steps of a layer",
  },
  {
    name: "cacheOverhead",
    unit: "s",
    meaning: "extra time of a prefill layer with a persistent KV cache",
    cells: ["t4.3200.q"],
    kind: "end-to-end",
    how:
      "Table 4's pass-Q cell at T = 3200, less the work: Table 5 gives this cell's attention, transfers and All2All, " +
      "and attention hides its ring",
  },
  {
    name: "kernelFloor",
    unit: "s",
    meaning: "launch of a small kernel in a decode graph",
    cells: ["t8.32.cp2.op", "t8.32.cp4.op"],
    kind: "micro-measurement",
    how: "mean of Table 8's two shortest attention ops (13.9 and 9.6 µs), " +
      "less the time to read their KV at the datasheet's HBM rate",
  },
];
