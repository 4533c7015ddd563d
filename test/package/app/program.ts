/** A user's program, the same in every runtime: it uses each entry of the package and gives back what it computed. */
import { type AttendInput, check, Cluster, InputError, seededRows, type Session } from "ringside-cp";
import { shard, tokens } from "ringside-cp/layout";
import { findCluster, findModel, type Plan, plan } from "ringside-cp/plan";
import { type Choice, choose } from "ringside-cp/policy";
import { reference } from "ringside-cp/reference";
import { Remote, RemoteError } from "ringside-cp/remote";

/** What a run gives back, as JSON. */
export interface Found {
  readonly runtime: string;
  readonly adapter: string;
  /** Did every element lie within its float64 bound? */
  readonly passed: boolean;
  /** The largest difference of O from the float64 reference. */
  readonly furthest: number;
  readonly out: readonly number[];
  readonly lse: readonly number[];
  readonly decoded: number;
  readonly tokens: readonly number[];
  readonly milliseconds: number;
  readonly choice: string;
  readonly remote: string;
  readonly refused: string;
  /** Rows of K on each rank. */
  readonly keys: readonly number[];
}

const [heads, kvHeads, headDim] = [8, 2, 64];
const [fresh, cached] = [128, 384];

const input: AttendInput = {
  heads,
  kvHeads,
  headDim,
  sequences: [{ new: fresh, cached }],
  q: seededRows(1, "q", 0, fresh, heads * headDim),
  k: seededRows(1, "k", 0, cached + fresh, kvHeads * headDim),
  v: seededRows(1, "v", 0, cached + fresh, kvHeads * headDim),
};

/** Tokens of a conversation. */
const rows = (from: number, count: number) => ({
  sequence: 0,
  q: seededRows(2, "q", from, count, heads * headDim),
  k: seededRows(2, "k", from, count, kvHeads * headDim),
  v: seededRows(2, "v", from, count, kvHeads * headDim),
});

async function decodeOne(cluster: Cluster): Promise<{ decoded: number; tokens: readonly number[] }> {
  const session: Session = await cluster.session({ heads, kvHeads, headDim, capacity: 1024 });
  await session.prefill([rows(0, 201)]);
  const { outputs, report } = await session.decode([rows(201, 1)]);
  await session.dispose();
  return { decoded: outputs[0]!.lse[3]!, tokens: report.tokens[0]!.perRank };
}

/** Attention over two ranks and what else the package offers, on a back-end. */
export async function run(backend: "cpu" | "webgpu"): Promise<Found> {
  await using cluster = await Cluster.start({ ranks: 2, backend });
  const { out, lse, report } = await cluster.attend({ ...input, variant: "pass-q" });
  const exact = reference(input).out;
  const planned: Plan = await plan({
    model: findModel("llama3-405b"),
    cluster: findCluster("gtt"),
    cp: 4,
    new: 128_000,
  });
  const choice: Choice = choose({
    new: 3200,
    cached: 124_800,
    ranks: 4,
    heads: 128,
    kvHeads: 8,
    flops: 4e14,
    bandwidth: 2.5e10,
    rule: "alg1",
  });
  return {
    runtime: report.runtime,
    adapter: report.adapter.name,
    passed: check(input, { out, lse }).passed,
    furthest: out.reduce((most, value, i) => Math.max(most, Math.abs(value - exact[i]!)), 0),
    out: [out[5]!, out[4000]!, out[65_535]!],
    lse: [lse[7]!, lse[1023]!],
    ...await decodeOne(cluster),
    milliseconds: planned.seconds * 1000,
    choice: choice.variant,
    remote: await nobody(),
    refused: await refusal(),
    keys: shard(input.sequences, 2).keys.map((block) => tokens(block)),
  };
}

/** Nobody answers at port 9: what the bridge's client says then. */
async function nobody(): Promise<string> {
  try {
    const remote: Remote = await Remote.connect("ws://127.0.0.1:9", { token: "0123456789abcdef" });
    await remote.dispose();
    return "connected";
  } catch (error) {
    return error instanceof RemoteError ? error.code : String(error);
  }
}

/** How a bad option is refused. */
async function refusal(): Promise<string> {
  try {
    await Cluster.start({ ranks: 0 });
    return "started";
  } catch (error) {
    return error instanceof InputError ? "InputError" : String(error);
  }
}
