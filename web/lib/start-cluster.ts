/** Starts ranks on the kernels that the visitor chose. */
import { type ClusterFace, type ClusterOptions, loadEngine } from "../engine/run.ts";
import { keptKernels } from "./kept-kernels.ts";

/** Loads the engine and starts a cluster. Kept kernels replace the shipped ones of the same name, except on the CPU. */
export async function startCluster(options: ClusterOptions): Promise<ClusterFace> {
  const { Cluster, kernelNames } = await loadEngine();
  const own = Object.entries(keptKernels.shaders).filter(([kernel]) => kernelNames.includes(kernel));
  const shaders = options.backend === "cpu" ? undefined : { ...Object.fromEntries(own), ...options.shaders };
  return await Cluster.start({ ...options, shaders });
}
