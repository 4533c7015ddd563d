/**
 * Every fault of the catalogue, planted in a program of the test's own: it is found at its place and named, in f32 and
 * with bf16 noise. Right results name nothing.
 */
import assert from "node:assert/strict";
import test from "node:test";
import { compare, type Comparison } from "../../../engine/reference/compare/compare.ts";
import { HYPOTHESES } from "../../../engine/reference/compare/hypotheses.ts";
import type { Problem } from "../../../engine/reference/compare/problem.ts";
import { Setting } from "../../../engine/reference/compare/setting.ts";
import { type DType, fromBytes, toBytes } from "../../../engine/tensor/dtype.ts";
import { attend, type Made, type Maker, merge, open, problemOf, shardsOf, visible, whereIs } from "./plant.ts";

const RANKS = 4;

interface Plant {
  readonly name: string;
  /** What the catalogue says of it. */
  readonly detail?: string | RegExp;
  readonly problem?: Partial<Problem>;
  readonly layout?: string;
  readonly make: (p: Problem, setting: Setting) => Maker;
  /** Only one of the types shows it. */
  readonly only?: DType;
}

/** A maker of programs that differ in their choices alone. */
const by =
  (choices: (p: Problem, setting: Setting) => Parameters<typeof attend>[3]) =>
  (p: Problem, setting: Setting): Maker =>
  ({ row, head }) => attend(p, row, head, choices(p, setting));

/** The parts that a rank merges, by hop. */
const partsOf = (p: Problem, setting: Setting, row: number, head: number, rank: number): Made[] =>
  Array.from({ length: RANKS }, (_, hop) => {
    const owner = (rank - hop + RANKS) % RANKS;
    const { sequence } = whereIs(p.sequences, row);
    return attend(p, row, head, {}, (key) => setting.owners[sequence][key] === owner);
  });

const zero = (p: Problem): Made => ({ o: new Array<number>(p.headDim).fill(0), lse: 0 });
const turned = (x: number[], by: number): number[] => {
  const half = x.length / 2;
  return x.map((_, i) => {
    const angle = by * 10_000 ** (-(i % half) / half);
    return i < half
      ? x[i] * Math.cos(angle) - x[i + half] * Math.sin(angle)
      : x[i - half] * Math.sin(angle) + x[i] * Math.cos(angle);
  });
};

const PLANTS: readonly Plant[] = [
  { name: "all-zero", make: (p) => () => zero(p) },
  { name: "shard-missing", make: (p) => ({ row, head, rank }) => rank === 2 ? zero(p) : attend(p, row, head) },
  {
    name: "shard-missing",
    detail: "keys of rank 2",
    make: (p, setting) => ({ row, head }) => attend(p, row, head, {}, (key) => setting.owners[0][key] !== 2),
  },
  {
    name: "nan-empty-row",
    problem: { mask: { kind: "window", size: 1 } },
    make: (p) => ({ row, head }) => attend(p, row, head),
  },
  { name: "lse-base-2", make: (p) => ({ row, head }) => half(attend(p, row, head), (l) => l / Math.LN2) },
  {
    name: "lse-base-2",
    detail: "merged as natural ones",
    make: (p, setting) => ({ row, head, rank }) =>
      merge(partsOf(p, setting, row, head, rank).map((part) => half(part, (l) => l / Math.LN2))),
  },
  { name: "lse-base-2-read-as-e", make: (p) => ({ row, head }) => half(attend(p, row, head), (l) => l * Math.LN2) },
  {
    name: "lse-without-scale",
    make: (p) => ({ row, head }) => ({ o: attend(p, row, head).o, lse: attend(p, row, head, { scale: 1 }).lse }),
  },
  {
    name: "lse-transposed",
    make: (p, setting) => ({ row, head, rank, place }) => {
      const flat = place * p.heads + head;
      const rows = setting.rows[rank];
      return {
        o: attend(p, row, head).o,
        lse: attend(p, rows[flat % rows.length], Math.floor(flat / rows.length)).lse,
      };
    },
  },
  { name: "scale-missing", make: by(() => ({ scale: 1 })) },
  { name: "scale-twice", problem: { scale: 0.4 }, make: by(() => ({ scale: 0.16 })) },
  { name: "scale-1-over-d", problem: { scale: 0.4 }, make: by((p) => ({ scale: 1 / p.headDim })) },
  { name: "causal-off-by-one", detail: "not its own key", make: by(() => ({ sees: (p, k) => k < p })) },
  { name: "causal-off-by-one", detail: "one key too many", make: by(() => ({ sees: (p, k) => k <= p + 1 })) },
  {
    name: "causal-top-left",
    problem: { sequences: [{ new: 40, cached: 23 }] },
    make: by(() => ({ sees: (p, k) => k <= p - 23 })),
  },
  {
    name: "cached-missing",
    problem: { sequences: [{ new: 40, cached: 23 }] },
    make: by(() => ({ sees: (p, k) => k <= p && k >= 23 })),
  },
  { name: "no-mask", make: by(() => ({ sees: () => true })) },
  { name: "causal-for-full", problem: { mask: { kind: "full" } }, make: by(() => ({ sees: (p, k) => k <= p })) },
  {
    name: "mask-by-local-position",
    make: by((_, setting) => ({ sees: (p, k) => setting.places[0][k] <= setting.places[0][p] })),
  },
  {
    name: "window-off-by-one",
    detail: "one key too many",
    problem: { mask: { kind: "window", size: 12 } },
    make: by(() => ({ sees: (p, k) => k <= p && p - k <= 12 })),
  },
  {
    name: "window-missing",
    problem: { mask: { kind: "window", size: 12 } },
    make: by(() => ({ sees: (p, k) => k <= p })),
  },
  {
    name: "sink-tokens-missing",
    problem: { mask: { kind: "window", size: 12, sinkTokens: 4 } },
    make: by(() => ({ sees: (p, k) => k <= p && p - k < 12 })),
  },
  { name: "window-for-causal", detail: "W = 20", make: by(() => ({ sees: (p, k) => k <= p && p - k < 20 })) },
  { name: "sink-missing", problem: { sinks: Float32Array.of(1, 2, 0, 3) }, make: by(() => ({})) },
  {
    name: "sink-per-rank",
    problem: { sinks: Float32Array.of(1, 2, 0, 3) },
    make: by((p) => ({ sinks: [...p.sinks!].map((s) => s + Math.log(RANKS)) })),
  },
  { name: "kv-heads-interleaved", make: by((p) => ({ keyHead: (h) => h % p.kvHeads })) },
  { name: "value-head-other", make: by(() => ({ keyHead: (h) => h >> 1, valueHead: (h) => 1 - (h >> 1) })) },
  { name: "kv-head-other", make: by(() => ({ keyHead: (h) => 1 - (h >> 1) })) },
  {
    name: "hop-missing",
    detail: "hop 2",
    make: (p, setting) => ({ row, head, rank }) => merge(partsOf(p, setting, row, head, rank), [1, 1, 0, 1]),
  },
  {
    name: "hop-twice",
    detail: "hop 1",
    make: (p, setting) => ({ row, head, rank }) => merge(partsOf(p, setting, row, head, rank), [1, 2, 1, 1]),
  },
  {
    name: "merge-unweighted",
    make: (p, setting) => ({ row, head, rank }) => {
      const parts = partsOf(p, setting, row, head, rank);
      const o = parts[0].o.map((_, d) => parts.reduce((sum, part) => sum + part.o[d], 0) / RANKS);
      return { o, lse: attend(p, row, head).lse };
    },
  },
  {
    name: "merge-unweighted",
    detail: "the running LSE never updated",
    make: (p, setting) => ({ row, head, rank }) => {
      const [first, ...rest] = partsOf(p, setting, row, head, rank);
      return rest.reduce((sum, part) => half(merge([sum, part]), () => first.lse), first);
    },
  },
  {
    name: "shard-from-neighbour",
    detail: "rows of rank 2",
    make: (p, setting) => ({ row, head, rank, place }) =>
      attend(p, rank === 1 ? setting.rows[2][place] ?? row : row, head),
  },
  {
    name: "shard-from-neighbour",
    detail: /keys of rank \d, in hop 1/,
    problem: { mask: { kind: "full" } },
    make: (p, setting) => ({ row, head, rank }) => {
      const [first, , ...rest] = partsOf(p, setting, row, head, rank);
      return merge([first, first, ...rest]);
    },
  },
  {
    name: "last-chunk-lost",
    make: (p) => ({ row, head }) => row >= 88 ? zero(p) : attend(p, row, head, {}, (key) => key < 88),
  },
  {
    name: "last-chunk-lost",
    make: (p) => ({ row, head }) => attend(p, row, head, {}, (key) => key < 88),
  },
  {
    name: "padding-attended",
    detail: "6 keys",
    make: (p) => ({ row, head }) => {
      const { o, lse } = attend(p, row, head);
      const both = Math.log(Math.exp(lse) + 6);
      return { o: o.map((x) => x * Math.exp(lse - both)), lse: both };
    },
  },
  {
    name: "tokens-permuted",
    detail: "striped",
    problem: { sequences: [{ new: 96, cached: 0 }] },
    make: (p) => {
      const striped = new Setting("striped", RANKS, "pass-kv", p.sequences);
      return ({ head, rank, place }) => attend(p, striped.rows[rank][place], head);
    },
  },
  {
    name: "heads-permuted",
    make: (p) => ({ row, head }) => attend(p, row, [0, 2, 1, 3][head]),
  },
  {
    name: "rope-local-positions",
    detail: /base 10000/,
    make: by((_, setting) => ({
      query: (q, position) => turned(q, setting.places[0][position] - position),
      key: (k, position) => turned(k, setting.places[0][position] - position),
    })),
  },
  {
    name: "sequences-joined",
    problem: { sequences: [{ new: 40, cached: 0 }, { new: 30, cached: 0 }] },
    make: (p) => ({ row, head }) => {
      if (row < 40) return attend(p, row, head);
      const one = { ...p, sequences: [{ new: 70, cached: 0 }] };
      return attend(one, row, head);
    },
  },
  {
    name: "accumulator-16-bit",
    detail: "bf16",
    only: "f32",
    make: (p, setting) => ({ row, head, rank }) => {
      const round = (o: number[]) => [...fromBytes(toBytes(Float32Array.from(o), "bf16"), "bf16")];
      const [first, ...rest] = partsOf(p, setting, row, head, rank);
      return rest.reduce((sum, part) => half(merge([{ ...sum, o: round(sum.o) }, part]), (l) => l, round), first);
    },
  },
  {
    name: "accumulator-16-bit",
    detail: "bf16",
    only: "f32",
    make: (p, setting) => ({ row, head, rank }) =>
      merge(partsOf(p, setting, row, head, rank).map((part) => half(part, bf16))),
  },
];

const bf16 = (x: number) => x === -Infinity ? x : fromBytes(toBytes(Float32Array.of(x), "bf16"), "bf16")[0];

/** A result with another LSE, and perhaps another O. */
function half({ o, lse }: Made, of: (lse: number) => number, round = (x: number[]) => x): Made {
  return { o: round(o), lse: of(lse) };
}

async function judge(plant: Plant, dtype: DType): Promise<Comparison> {
  const p = problemOf({ ...plant.problem, dtype });
  const setting = new Setting(plant.layout ?? "ringside", RANKS, "pass-kv", p.sequences);
  return await compare({ problem: p, pieces: shardsOf(p, setting, plant.make(p, setting), dtype), setting, open });
}

for (const plant of PLANTS) {
  if (plant.name === "nan-empty-row") continue; // below: its rows see no key
  for (const dtype of ["f32", "bf16"] as const) {
    if (plant.only !== undefined && plant.only !== dtype) continue;
    test(`${plant.name}${typeof plant.detail === "string" ? ` (${plant.detail})` : ""} in ${dtype}`, async () => {
      const { ok, hypotheses } = await judge(plant, dtype);
      assert.equal(ok, false);
      const [first] = hypotheses;
      const same = hypotheses.filter(({ explains }) => explains === first.explains).map(({ name }) => name);
      assert.equal(first?.name, plant.name, `named ${same.join(", ") || "nothing"}`);
      assert.ok(first.explains >= 0.8, `explains ${first.explains}`);
      if (typeof plant.detail === "string") assert.equal(first.detail, plant.detail);
      else if (plant.detail !== undefined) assert.match(first.detail!, plant.detail);
    });
  }
}

test("every fault of the catalogue is planted", () => {
  const planted = new Set(PLANTS.map(({ name }) => name));
  assert.deepEqual(
    HYPOTHESES.map(({ name }) => name).filter((name) => !planted.has(name) && name !== "empty-row-lse"),
    [],
  );
});

test("rows that see no key: NaN and an infinite LSE are named", async () => {
  const p = problemOf({ sequences: [{ new: 12, cached: 0 }] });
  const setting = new Setting("ringside", 2, "pass-kv", p.sequences);
  for (const [name, made] of [["nan-empty-row", NaN], ["empty-row-lse", Infinity]] as const) {
    const pieces = [0, 1].flatMap((rank) =>
      [0, 1].map((hop) => {
        const owner = (rank - hop + 2) % 2;
        const rows = setting.rows[rank];
        const [o, lse] = [new Float32Array(rows.length * 4 * 16), new Float32Array(rows.length * 4)];
        rows.forEach((row, place) => {
          for (let head = 0; head < 4; head++) {
            const right = attend(p, row, head, {}, (key) => setting.owners[0][key] === owner);
            const empty = right.lse === -Infinity;
            o.set(empty && Number.isNaN(made) ? right.o.map(() => made) : right.o, (place * 4 + head) * 16);
            lse[place * 4 + head] = empty ? made : right.lse;
          }
        });
        return { rank, hop, rows, held: setting.keys[owner], o, lse };
      })
    );
    const found = await compare({ problem: p, pieces, setting, open });
    assert.equal(found.hypotheses[0]?.name, name);
  }
});

test("right results agree, in every layout and type, and name nothing", async () => {
  for (const layout of ["ringside", "te", "striped", "contiguous", "vllm-pcp", "vllm-dcp:4"]) {
    for (const dtype of ["f32", "bf16", "f16"] as const) {
      for (const mask of [{ kind: "causal" }, { kind: "window", size: 9, sinkTokens: 2 }] as const) {
        const p = problemOf({ dtype, mask, sequences: [{ new: 45, cached: 13 }, { new: 7, cached: 0 }] });
        const setting = new Setting(layout, RANKS, "pass-kv", p.sequences);
        const pieces = shardsOf(p, setting, ({ row, head }) => attend(p, row, head, { sees: visible(mask) }), dtype);
        const { ok, first, hypotheses } = await compare({ problem: p, pieces, setting, open });
        assert.ok(ok && first === null && hypotheses.length === 0, `${layout} ${dtype} ${mask.kind}`);
      }
    }
  }
});

test("a fault is tried on rows of every head: what one head alone could be is not named", async () => {
  // 40 rows of 4 heads: at equal steps, the 40 rows tried would all be of head 0, where 4 keys of 0 explain them.
  const sinks = Float32Array.of(Math.log((1 + Math.sqrt(17)) / 2), 0.3, 0.5, 0.7);
  const p = problemOf({ sinks, sequences: [{ new: 40, cached: 0 }] });
  const setting = new Setting("te", RANKS, "pass-kv", p.sequences);
  const doubled = [...sinks].map((s) => 2 * s);
  const pieces = shardsOf(p, setting, ({ row, head }) => attend(p, row, head, { sinks: doubled }));
  const { ok, hypotheses } = await compare({ problem: p, pieces, setting, open });
  assert.ok(!ok);
  assert.deepEqual(hypotheses, []);
});

test("the first wrong number: of the lowest hop, then rank, then place; and how much is wrong", async () => {
  const p = problemOf();
  const setting = new Setting("te", RANKS, "pass-kv", p.sequences);
  const [row, other] = [setting.rows[2][5], setting.rows[3][1]];
  const pieces = [0, 1, 2, 3].flatMap((rank) =>
    [0, 1, 2, 3].map((hop) => {
      const owner = (rank - hop + RANKS) % RANKS;
      const rows = setting.rows[rank];
      const among = (key: number) => setting.owners[0][key] === owner;
      const made = rows.length * p.heads;
      const [o, lse] = [new Float32Array(made * p.headDim), new Float32Array(made)];
      rows.forEach((own, place) => {
        for (let head = 0; own >= 0 && head < p.heads; head++) {
          const planted = (rank === 2 && hop === 1 && own === row) || (rank === 3 && hop === 1 && own === other);
          const values = attend(p, own, head, planted ? { scale: 1 } : {}, among);
          o.set(values.o, (place * p.heads + head) * p.headDim);
          lse[place * p.heads + head] = values.lse;
        }
      });
      return { rank, hop, rows, held: setting.keys[owner], o, lse };
    })
  );
  const { first, hypotheses, grid, reading } = await compare({ problem: p, pieces, setting, open });
  assert.deepEqual([first?.rank, first?.hop, first?.token, first?.place, first?.head], [2, 1, row, 5, 0]);
  assert.equal(hypotheses[0]?.name, "scale-missing");
  assert.equal(reading, "hop");
  assert.deepEqual(
    grid.filter(({ wrong }) => wrong > 0).map(({ rank, hop, wrong }) => [rank, hop, wrong]),
    [[2, 1, p.heads], [3, 1, p.heads]],
  );
});
