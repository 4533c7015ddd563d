/** The figures that the paper prints, as data: Tables 4 to 8 of arXiv 2411.01783v3. */

/** The paper's K is 1,000 tokens (Table 4 prints P + T = 128000), and its M is 1,000,000 (Appendix A). */
export const K = 1000;

/** Table 4: TTFT in ms on CP4, GTT, P + T = 128,000. */
export const TABLE_4: readonly {
  readonly cached: number;
  readonly new: number;
  readonly passKv: number;
  readonly passQ: number;
}[] = [
  { cached: 126720, new: 1280, passKv: 1023.39, passQ: 898.71 },
  { cached: 124800, new: 3200, passKv: 1110.18, passQ: 1046.43 },
  { cached: 123840, new: 4160, passKv: 1298.92, passQ: 1280.1 },
  { cached: 121600, new: 6400, passKv: 1305.56, passQ: 1302.01 },
  { cached: 115200, new: 12800, passKv: 2080.67, passQ: 2205.27 },
  { cached: 89600, new: 38400, passKv: 4629.23, passQ: 4922.52 },
  { cached: 64000, new: 64000, passKv: 6845.21, passQ: 7367.99 },
  { cached: 51200, new: 76800, passKv: 7890.35, passQ: 8468.66 },
  { cached: 25600, new: 102400, passKv: 10105.78, passQ: 10652.39 },
  { cached: 12800, new: 115200, passKv: 11136.4, passQ: 11571.62 },
  { cached: 0, new: 128000, passKv: 11462.15, passQ: 12360.57 },
];

/** Table 5: µs of one ring iteration (SendRecv, attention) and of the All2All, on CP4 with P + T = 128,000. */
export const TABLE_5: readonly {
  readonly miss: string;
  readonly new: number;
  readonly variant: "pass-kv" | "pass-q";
  readonly sendRecv: number;
  readonly attend: number;
  readonly all2all?: number;
}[] = [
  { miss: "2.5", new: 3200, variant: "pass-kv", sendRecv: 627, attend: 414 },
  { miss: "2.5", new: 3200, variant: "pass-q", sendRecv: 166, attend: 414, all2all: 424 },
  { miss: "10", new: 12800, variant: "pass-kv", sendRecv: 631, attend: 1608 },
  { miss: "10", new: 12800, variant: "pass-q", sendRecv: 544, attend: 1608, all2all: 1023 },
];

/** Table 6: TTFT and TTIT in ms, batch 1. */
export const TABLE_6: readonly {
  readonly context: number;
  readonly cp: number;
  readonly ttft: number;
  readonly ttit: number;
}[] = [
  { context: 8 * K, cp: 1, ttft: 1740, ttit: 44.51 },
  { context: 128 * K, cp: 1, ttft: 42010, ttit: 46.26 },
  { context: 8 * K, cp: 2, ttft: 999, ttit: 65.61 },
  { context: 128 * K, cp: 2, ttft: 21042, ttit: 66.63 },
];

/** Table 7: TTFT and TTIT in ms at 128K, batch 1. The third row is tensor parallel over two hosts. */
export const TABLE_7: readonly {
  readonly name: string;
  readonly cp: number;
  readonly tp: number;
  readonly ttft: number;
  readonly ttit: number;
}[] = [
  { name: "cp1", cp: 1, tp: 8, ttft: 42010, ttit: 46.26 },
  { name: "cp2", cp: 2, tp: 8, ttft: 21042, ttit: 60.23 },
  { name: "tp16", cp: 1, tp: 16, ttft: 29917, ttit: 39.52 },
  { name: "cp4", cp: 4, tp: 8, ttft: 10950, ttit: 71.31 },
];

/** Table 8: decode attention of one layer in µs. */
export const TABLE_8: readonly {
  readonly context: number;
  readonly batch: number;
  readonly cp: number;
  readonly op: number;
  readonly ring: number;
  readonly sendRecv: number;
  readonly all2all: number;
  readonly whole: number;
}[] = [
  { context: 128 * K, batch: 1, cp: 1, op: 38.9, ring: 38.9, sendRecv: 0, all2all: 0, whole: 38.9 },
  { context: 128 * K, batch: 1, cp: 2, op: 22.0, ring: 43.2, sendRecv: 32.3, all2all: 81.1, whole: 157.7 },
  { context: 128 * K, batch: 1, cp: 4, op: 14.7, ring: 60.8, sendRecv: 105.7, all2all: 79.9, whole: 238.6 },
  { context: 32 * K, batch: 4, cp: 1, op: 60.1, ring: 60.1, sendRecv: 0, all2all: 0, whole: 60.1 },
  { context: 32 * K, batch: 4, cp: 2, op: 13.9, ring: 24.5, sendRecv: 33.3, all2all: 66.8, whole: 136.6 },
  { context: 32 * K, batch: 4, cp: 4, op: 9.6, ring: 41.3, sendRecv: 104.9, all2all: 72.2, whole: 180.6 },
];

/** Appendix A: FLOP/s of FA3 alone, causal, with 8K of context on one H100. */
export const KERNEL_FLOPS = 540e12;
