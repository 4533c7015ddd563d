/** Clusters as data: hosts of equal GPUs on a fabric. Some are known by name; users give their own as JSON. */
import { InputError } from "../errors.ts";
import { type Accelerator, findAccelerator } from "./accelerators.ts";
import { type Fabric, findFabric } from "./fabrics.ts";

/** The hardware that a plan is for. (A `Cluster` of engine/cluster runs; this one is described.) */
export interface ClusterSpec {
  /** The name that findCluster takes. */
  readonly name: string;
  /** The GPU of every host. */
  readonly accelerator: Accelerator;
  /** GPUs of a host. */
  readonly gpusPerHost: number;
  /** A host's ports to the fabric. If it has fewer ports than GPUs, GPUs share a port in equal parts. */
  readonly portsPerHost: number;
  /** The network between hosts. */
  readonly fabric: Fabric;
}

type ClusterRow = readonly [name: string, accelerator: string, fabric: string];

const ROWS: readonly ClusterRow[] = [
  ["gtt", "h100-hbm2e", "gtt"],
  ["gti", "h100-hbm2e", "gti"],
  ["h100", "h100", "ndr"],
  ["h200", "h200", "ndr"],
  ["b200", "b200", "ndr"],
  ["mi300x", "mi300x", "ndr"],
];

/** The clusters known by name: hosts of eight GPUs, each with its port. */
export const CLUSTERS: readonly ClusterSpec[] = ROWS.map(([name, accelerator, fabric]) => ({
  name,
  accelerator: findAccelerator(accelerator),
  gpusPerHost: 8,
  portsPerHost: 8,
  fabric: findFabric(fabric),
}));

/** The cluster of that name. Errors: InputError with the known names. */
export function findCluster(name: string): ClusterSpec {
  const found = CLUSTERS.find((c) => c.name === name.toLowerCase());
  if (found === undefined) {
    throw new InputError(
      `cluster: found ${JSON.stringify(name)}, expected one of ${
        CLUSTERS.map((c) => c.name).join(", ")
      }, or the path of a JSON file`,
    );
  }
  return found;
}

/** The limit on GPUs, and on ports, of a host. The largest NVLink domain on sale has 576 GPUs. */
const MOST_A_HOST = 1024;

const ACCELERATOR_FIELDS = ["bf16", "memory", "memoryRate", "units", "hostLink"] as const;

/**
 * A user's cluster from parsed JSON: `{accelerator, fabric, gpusPerHost?, portsPerHost?}`. accelerator and fabric are
 * names, or objects with the fields of {@link Accelerator} and {@link Fabric}. fp8 defaults to the bf16 rate, so that
 * FP8 gains nothing. Errors: InputError with the field's name.
 */
export function clusterFromJson(json: unknown, name: string): ClusterSpec {
  if (!isObject(json)) {
    throw new InputError(
      `cluster ${name}: found ${
        JSON.stringify(json)?.slice(0, 40)
      }, expected a JSON object {"accelerator", "fabric", "gpusPerHost"}`,
    );
  }
  const gpusPerHost = json.gpusPerHost === undefined ? 8 : positive(json.gpusPerHost, "gpusPerHost", name);
  const portsPerHost = json.portsPerHost === undefined
    ? gpusPerHost
    : positive(json.portsPerHost, "portsPerHost", name);
  for (const [field, value] of Object.entries({ gpusPerHost, portsPerHost })) {
    if (!Number.isInteger(value) || value > MOST_A_HOST) {
      throw new InputError(
        `cluster ${name}: ${field}: found ${value}, expected a whole number of at most ${MOST_A_HOST}: no host has more`,
      );
    }
  }
  return {
    name,
    accelerator: accelerator(json.accelerator, name),
    gpusPerHost,
    portsPerHost,
    fabric: fabric(json.fabric, name),
  };
}

function accelerator(json: unknown, cluster: string): Accelerator {
  if (typeof json === "string") return findAccelerator(json);
  if (!isObject(json)) {
    throw new InputError(
      `cluster ${cluster}: accelerator: found ${JSON.stringify(json) ?? "nothing"}, expected a name or an object`,
    );
  }
  const [bf16, memory, memoryRate, units, hostLink] = ACCELERATOR_FIELDS.map((field) =>
    positive(json[field], `accelerator.${field}`, cluster)
  );
  const fp8 = json.fp8 === undefined ? bf16 : positive(json.fp8, "accelerator.fp8", cluster);
  const name = typeof json.name === "string" ? json.name : "custom";
  return { name, label: name, bf16, fp8, memory, memoryRate, units, hostLink, source: cluster };
}

function fabric(json: unknown, cluster: string): Fabric {
  if (typeof json === "string") return findFabric(json);
  if (!isObject(json)) {
    throw new InputError(
      `cluster ${cluster}: fabric: found ${JSON.stringify(json) ?? "nothing"}, expected a name or an object`,
    );
  }
  const name = typeof json.name === "string" ? json.name : "custom";
  return {
    name,
    label: name,
    line: positive(json.line, "fabric.line", cluster),
    ...(json.achieved === undefined ? {} : { achieved: positive(json.achieved, "fabric.achieved", cluster) }),
    ...(json.latency === undefined ? {} : { latency: positive(json.latency, "fabric.latency", cluster) }),
    source: cluster,
  };
}

function positive(value: unknown, field: string, cluster: string): number {
  if (typeof value !== "number" || !(value > 0) || !Number.isFinite(value)) {
    throw new InputError(
      `cluster ${cluster}: ${field}: found ${JSON.stringify(value) ?? "nothing"}, expected a positive number`,
    );
  }
  return value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
