/** Clusters: hosts of equal GPUs on a fabric, the well-known ones by name and one's own from JSON. */
import { InputError } from "../errors.ts";
import { type Accelerator, findAccelerator } from "./accelerators.ts";
import { type Fabric, findFabric } from "./fabrics.ts";

/** What a plan runs on. */
export interface Cluster {
  readonly name: string;
  readonly accelerator: Accelerator;
  readonly gpusPerHost: number;
  /** Ports of the fabric a host has; fewer than GPUs means that GPUs share a port, each getting its part. */
  readonly portsPerHost: number;
  readonly fabric: Fabric;
}

type Row = readonly [name: string, accelerator: string, fabric: string];

const ROWS: readonly Row[] = [
  ["gtt", "h100-hbm2e", "gtt"],
  ["gti", "h100-hbm2e", "gti"],
  ["h100", "h100", "ndr"],
  ["h200", "h200", "ndr"],
  ["b200", "b200", "ndr"],
  ["mi300x", "mi300x", "ndr"],
];

/** The clusters known by name: hosts of eight GPUs, a port each. */
export const CLUSTERS: readonly Cluster[] = ROWS.map(([name, accelerator, fabric]) => ({
  name,
  accelerator: findAccelerator(accelerator),
  gpusPerHost: 8,
  portsPerHost: 8,
  fabric: findFabric(fabric),
}));

/** The cluster of that name. Errors: InputError listing the names there are. */
export function findCluster(name: string): Cluster {
  const found = CLUSTERS.find((c) => c.name === name.toLowerCase());
  if (found === undefined) {
    throw new InputError(
      `unknown cluster ${JSON.stringify(name)}; there are ${
        CLUSTERS.map((c) => c.name).join(", ")
      }, or the path of a JSON file`,
    );
  }
  return found;
}

/** GPUs, or ports, of a host: the largest NVLink domain sold has 576. */
const MOST_A_HOST = 1024;

const ACCELERATOR_FIELDS = ["bf16", "memory", "memoryRate", "units", "hostLink"] as const;

/**
 * One's own cluster, parsed JSON: `{accelerator, fabric, gpusPerHost?, portsPerHost?}`, where accelerator and fabric
 * are names or objects with the fields of {@link Accelerator} and {@link Fabric} (fp8 defaults to bf16: no gain).
 * Errors: InputError naming the field.
 */
export function clusterFromJson(json: unknown, name: string): Cluster {
  if (!isObject(json)) {
    throw new InputError(
      `cluster ${name}: expected a JSON object {"accelerator", "fabric", "gpusPerHost"}, found ${
        JSON.stringify(json)?.slice(0, 40)
      }`,
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
      `cluster ${cluster}: accelerator: expected a name or an object, found ${JSON.stringify(json)}`,
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
    throw new InputError(`cluster ${cluster}: fabric: expected a name or an object, found ${JSON.stringify(json)}`);
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
