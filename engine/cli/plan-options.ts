/** Reads the planner's models, clusters and disturbances from the command line. */
import { InputError } from "../errors.ts";
import { clusterFromJson, type ClusterSpec, findCluster } from "../plan/clusters.ts";
import { modelFromConfig } from "../plan/hf-config.ts";
import type { Disturbance } from "../plan/layer.ts";
import { findModel, type Model } from "../plan/models.ts";
import { readInput } from "./io.ts";

/** `--model`: a known name, or the path of a Hugging Face config.json. */
export async function modelOption(text: string): Promise<Model> {
  return isPath(text) ? modelFromConfig(await json("--model", text), text) : findModel(text);
}

/** `--cluster`: a known name, or the path of a JSON file. */
export async function clusterOption(text: string): Promise<ClusterSpec> {
  return isPath(text) ? clusterFromJson(await json("--cluster", text), text) : findCluster(text);
}

/** `--slow RANK=FACTOR,...` and `--jitter AMPLITUDE[,SEED]`, for `ranks` ranks. */
export function disturbanceOption(
  slow: string | undefined,
  jitter: string | undefined,
  ranks: number,
): Disturbance | undefined {
  if (slow === undefined && jitter === undefined) return undefined;
  return {
    ...(slow === undefined ? {} : { slow: slowRanks(slow, ranks) }),
    ...(jitter === undefined ? {} : { jitter: noise(jitter) }),
  };
}

function slowRanks(text: string, ranks: number): Map<number, number> {
  return new Map(
    text.split(",").map((part) => {
      const match = /^(\d+)=([\d.]+)$/.exec(part.trim());
      const [rank, factor] = [Number(match?.[1]), Number(match?.[2])];
      if (match === null || rank >= ranks || !(factor > 0)) {
        throw new InputError(
          `--slow: found ${JSON.stringify(part)}, expected RANK=FACTOR with a rank from 0 to ${
            ranks - 1
          } and a factor above 0, such as 2=1.5`,
        );
      }
      return [rank, factor];
    }),
  );
}

function noise(text: string): { seed: number; amplitude: number } {
  const [amplitude, seed = 0] = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (!(amplitude >= 0 && amplitude < 1) || !Number.isInteger(seed)) {
    throw new InputError(
      `--jitter: found ${
        JSON.stringify(text)
      }, expected AMPLITUDE[,SEED] with an amplitude from 0 to below 1, such as 0.1,7`,
    );
  }
  return { seed, amplitude };
}

function isPath(text: string): boolean {
  return /[/\\]|\.json$/.test(text);
}

async function json(option: string, path: string): Promise<unknown> {
  const text = new TextDecoder().decode(await readInput(option, path));
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`${option} ${path}: found no JSON (${(error as Error).message}), expected a JSON object`);
  }
}
