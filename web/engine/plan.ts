/** The page's door to the planner and the policy: pure functions over data, for the main thread and for workers. */
export { InputError } from "../../engine/errors.ts";
export {
  ACCELERATORS,
  type Breakdown,
  type Cell,
  CELLS,
  clusterFromJson,
  CLUSTERS,
  type ClusterSpec,
  FABRICS,
  findModel,
  type GroupError,
  type Memory,
  type Model,
  MODELS,
  NEAR_TIE,
  type PaperReport,
  paperReport,
  type PaperRow,
  PARAMETERS,
  type Plan,
  plan,
  type PlanInput,
  PROVENANCE,
  ratesOf,
  type Sweep,
  sweep,
  type SweepRow,
  TABLE_4,
} from "../../engine/plan/index.ts";
export {
  type Choice,
  choose,
  fittedThreshold,
  hiddenKv,
  PRINTED,
  REFITTED,
  type Rule,
  RULES,
  type Setting,
  smallerQueries,
  smallerQueriesAll2All,
} from "../../engine/policy/index.ts";
export { isLocal, type Mask, sayMask } from "../../engine/layout/mask.ts";
export { type Dealing, DEALINGS } from "../../engine/layout/shards.ts";
export { chromeTrace } from "../../engine/trace/perfetto.ts";
