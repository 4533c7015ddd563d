/** The page's door for Learn: the engine's parts that its chapters take apart and compute with. */
export { attendInProcess } from "../../engine/cluster/in-process.ts";
export { keyChunk, queryChunk } from "../../engine/cluster/scatter.ts";
export { CpuAttention, type CpuKeys, type CpuPartial, type CpuRows } from "../../engine/cpu/attention.ts";
export { CpuPagePool } from "../../engine/cpu/page-pool.ts";
export { dealDecode, dealPrefill } from "../../engine/layout/deal.ts";
export {
  type Block,
  block,
  chunks,
  count,
  headTail,
  joined,
  type Range,
  type Sequence,
  shard,
  tokens,
} from "../../engine/layout/shards.ts";
export { CAUSAL } from "../../engine/layout/mask.ts";
export { visibility } from "../../engine/layout/visibility.ts";
export { findCluster, findModel, plan, TABLE_4, TABLE_7 } from "../../engine/plan/index.ts";
export { type RankTime, simulateRing } from "../../engine/plan/simulate.ts";
export { type Choice, choose, type Exposure, exposure, hiddenKv, type Setting } from "../../engine/policy/index.ts";
export { KvCache } from "../../engine/rank/cache.ts";
export { localRings } from "../../engine/rank/local.ts";
export { runStep } from "../../engine/rank/run.ts";
export { reference, type ReferenceInput } from "../../engine/reference/attention.ts";
export { type Difference, difference } from "../../engine/reference/error.ts";
export { publicLse, type RankChunk, rankChunk, type Shape } from "../../engine/ring/chunk.ts";
export { fromBytes, toBytes } from "../../engine/tensor/dtype.ts";
export { seededRows } from "../../engine/tensor/seeded.ts";
export { Recorder } from "../../engine/trace/clock.ts";
