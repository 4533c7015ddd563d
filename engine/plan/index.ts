/** The planner's public face, for the command line and the page: pure functions over data. */
export { type Accelerator, ACCELERATORS, findAccelerator } from "./accelerators.ts";
export { clusterFromJson, CLUSTERS, type ClusterSpec, findCluster } from "./clusters.ts";
export { type Fabric, FABRICS, findFabric } from "./fabrics.ts";
export { modelFromConfig } from "./hf-config.ts";
export type { Breakdown, Disturbance, Layer } from "./layer.ts";
export { type Memory } from "./memory.ts";
export {
  type FfnPrecision,
  findModel,
  type Latent,
  type MaskedLayers,
  type Model,
  MODELS,
  weightCount,
} from "./models.ts";
export { PARAMETERS, type PlanParameters, PROVENANCE, type Provenance } from "./parameters.ts";
export { calibrate } from "./paper/calibrate.ts";
export { type Ask, type Cell, type CellGroup, CELLS } from "./paper/cells.ts";
export { type Contradiction, CONTRADICTIONS } from "./paper/contradictions.ts";
export { type GroupError, type PaperReport, paperReport, type PaperRow, type Winner } from "./paper/report.ts";
export { TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8 } from "./paper/tables.ts";
export { type Plan, plan } from "./plan.ts";
export type { PlanInput } from "./plan-input.ts";
export { type Alternative, type LayerKind, NEAR_TIE } from "./reason.ts";
export { type GpuRates, ratesOf, type Wire } from "./rates.ts";
export { MOST_GPUS, type Sweep, sweep, type SweepInput, type SweepRow } from "./sweep.ts";
export type { Sent } from "./work.ts";
