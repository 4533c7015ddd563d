/** Plans under masks: messages against an independent count, layers of two kinds, dealings, decode and latent attention. */
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { InputError } from "../../../engine/errors.ts";
import type { Mask } from "../../../engine/layout/mask.ts";
import { DEALINGS } from "../../../engine/layout/shards.ts";
import { findCluster, findModel, type Model, modelFromConfig, plan, sweep } from "../../../engine/plan/index.ts";
import { tally } from "../../../engine/ring/tally.ts";

const cluster = findCluster("gtt");
const model = findModel("llama3-8b");
const base = { model, cluster, tp: 8 } as const;
const WINDOW: Mask = { kind: "window", size: 4096 };
const LONG = { ...base, cp: 8, new: 131_072, mask: WINDOW } as const;

const refused = (message: RegExp) => (e: unknown) => e instanceof InputError && message.test(e.message);
const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

test("a layer's messages, parcels and attentions are those of the engine's Route", async () => {
  const step = fc.record({
    new: fc.integer({ min: 1, max: 3000 }),
    cached: fc.integer({ min: 0, max: 3000 }),
    cp: fc.integer({ min: 2, max: 6 }),
    batch: fc.integer({ min: 1, max: 3 }),
    variant: fc.constantFrom("pass-kv" as const, "pass-q" as const),
    dealing: fc.constantFrom(...DEALINGS),
    mask: fc.record({
      kind: fc.constantFrom("window" as const, "chunk" as const),
      size: fc.integer({ min: 1, max: 2000 }),
      sinkTokens: fc.constantFrom(0, 4),
    }),
  });
  await fc.assert(
    fc.asyncProperty(step, async (s) => {
      const { layer, spans } = await plan({ ...base, ...s, spans: true });
      const counted = tally(s.variant, [s], s.cp, s.mask, s.dealing);
      const [kv, q, parcel] = [2 * 128 * 2, 4 * 128 * 2, 4 * (128 * 2 + 4)];
      const row = s.variant === "pass-kv" ? kv : q;
      const ring = s.batch * counted.ring.rows * row;
      const bytes = ring + s.batch * counted.parcels.rows * parcel;
      assert.equal(layer.sent.bytes, bytes);
      const needless = counted.skipped.ring.rows * row + counted.skipped.parcels.rows * parcel;
      assert.deepEqual(layer.sent.skipped, {
        hops: counted.skipped.hops,
        messages: counted.skipped.ring.messages + counted.skipped.parcels.messages,
        bytes: s.batch * needless,
      });
      const of = (kind: string) => spans!.filter((span) => span.kind === kind);
      assert.equal(of("send").length, counted.ring.messages);
      assert.equal(sum(of("send").map((span) => span.bytes)), ring);
      assert.equal(sum(of("all2all").map((span) => span.bytes)), bytes - ring);
      assert.equal(of("attend").length, s.cp ** 2 - counted.skipped.hops);
      assert.equal(sum(of("attend").map((span) => span.flops)), s.batch * sum(counted.pairs) * 4 * 128 * 4);
    }),
    { numRuns: 60 },
  );
});

test("W = 4,096 of 131,072 tokens on 8 ranks: bytes and balance of both dealings, by hand", async () => {
  const of = async (dealing: "head-tail" | "contiguous", variant: "pass-kv" | "pass-q") =>
    (await plan({ ...LONG, dealing, variant })).layer.sent;
  const half = 131_072 / 16;
  const kv = await of("contiguous", "pass-kv");
  assert.equal(kv.bytes, 7 * half * 512);
  assert.equal(kv.bytes + kv.skipped.bytes, 56 * 2 * half * 512);
  // The first rank's first 4,095 queries see fewer keys.
  const pairs = 131_072 * 4096 - (4095 * 4096) / 2;
  assert.ok(Math.abs(kv.balance - (8 * (16_384 * 4096)) / pairs) < 1e-12);
  assert.equal((await of("head-tail", "pass-kv")).bytes, 8 * kv.bytes);
  assert.equal((await of("contiguous", "pass-q")).bytes, 49 * half * 1024 + 7 * half * 4 * 260);
});

test("auto deals contiguously where that is faster, and says why; a causal mask keeps the paper's dealing", async () => {
  const auto = await plan(LONG);
  assert.deepEqual([auto.dealing, auto.variant], ["contiguous", "pass-kv"]);
  assert.equal(auto.seconds, Math.min(...auto.alternatives.map((a) => a.seconds)));
  for (const dealing of DEALINGS) {
    const asked = await plan({ ...LONG, dealing });
    assert.equal(asked.dealingReason, `${dealing} as requested`);
    assert.deepEqual(asked.alternatives, auto.alternatives.filter((a) => a.dealing === dealing));
  }
  assert.match(
    auto.dealingReason,
    /^contiguous is faster: head-tail .*, contiguous 142 ms in pass-kv \(window:4096: 29\.4 MB a layer, .* has 1\.02 times/,
  );
  assert.match(
    auto.reason,
    /a window:4096 layer sends 29\.4 MB from one GPU of each rank, and skips 440 MB and 49 hops$/,
  );
  const causal = await plan({ ...base, cp: 8, new: 131_072 });
  assert.equal(causal.dealing, "head-tail");
  assert.deepEqual(await plan({ ...base, cp: 8, new: 131_072, mask: { kind: "causal" }, dealing: "head-tail" }), {
    ...causal,
    dealingReason: "head-tail as requested",
  });
  const uneven = await plan({ ...base, cp: 8, new: 131_072, dealing: "contiguous", variant: "pass-kv" });
  assert.ok(Math.abs(uneven.layer.sent.balance - 15 / 8) < 1e-3);
  assert.ok(uneven.seconds > causal.seconds);
  const full = await plan({ ...base, cp: 8, new: 131_072, mask: { kind: "full" } });
  assert.ok(Math.abs(full.breakdown.attention / causal.breakdown.attention - 2) < 2e-2);
  assert.equal(
    (await plan({ ...base, cp: 300, new: 1e6, mask: { kind: "full" } })).layer.simulated,
    "one rank for all",
  );
});

test("layers of two kinds are summed: GPT-OSS's alternation is half a windowed and half a causal model", async () => {
  const mask: Mask = { kind: "window", size: 128 };
  const mixed: Model = { ...model, masks: [{ mask, layers: 16 }, { mask: { kind: "causal" }, layers: 16 }] };
  const step = { ...base, cp: 4, new: 65_536, dealing: "head-tail", variant: "pass-kv" } as const;
  const [both, windowed, causal] = [
    await plan({ ...step, model: mixed }),
    await plan({ ...step, mask }),
    await plan({ ...step, mask: { kind: "causal" } }),
  ];
  assert.ok(Math.abs(both.seconds - (windowed.seconds + causal.seconds) / 2) < 1e-9 * both.seconds);
  assert.ok(Math.abs(sum(Object.values(both.breakdown)) - both.seconds) < 1e-9 * both.seconds);
  assert.deepEqual(both.kinds.map((kind) => kind.layers), [16, 16]);
  assert.deepEqual(both.kinds.map((kind) => kind.layer), [windowed.layer, causal.layer]);
  assert.ok(windowed.seconds < causal.seconds);
  // One mask for every layer replaces the model's own.
  assert.deepEqual((await plan({ ...step, model: mixed, mask })).kinds, windowed.kinds);
});

test("a window as long as the context computes a causal mask's pairs; a shorter window is never slower", async () => {
  const step = {
    ...base,
    cp: 4,
    new: 20_000,
    cached: 12_345,
    dealing: "head-tail" as const,
    variant: "pass-kv" as const,
  };
  const causal = await plan({ ...step, mask: { kind: "causal" } });
  let before = causal.seconds * (1 + 1e-12);
  for (const size of [40_000, 20_000, 4096, 512, 1]) {
    const p = await plan({ ...step, mask: { kind: "window", size } });
    if (size === 40_000) {
      assert.ok(Math.abs(p.flopsPerGpu * p.seconds / (causal.flopsPerGpu * causal.seconds) - 1) < 1e-12);
    }
    assert.ok(p.seconds <= before, `W = ${size}: ${p.seconds} after ${before}`);
    before = p.seconds;
  }
});

test("the parts of a windowed plan sum to its time, in prefill and decode", async () => {
  const step = fc.record({
    new: fc.integer({ min: 1, max: 20_000 }),
    cached: fc.integer({ min: 0, max: 20_000 }),
    cp: fc.integer({ min: 1, max: 6 }),
    batch: fc.integer({ min: 1, max: 9 }),
    decode: fc.boolean(),
    mask: fc.record({
      kind: fc.constantFrom("window" as const, "chunk" as const),
      size: fc.integer({ min: 1, max: 9000 }),
    }),
  });
  await fc.assert(
    fc.asyncProperty(step, async (s) => {
      const p = await plan({ ...base, ...s });
      assert.ok(Math.abs(sum(Object.values(p.breakdown)) - p.seconds) <= 1e-9 * p.seconds);
      assert.ok(p.seconds > 0 && Object.values(p.breakdown).every((t) => t >= 0));
    }),
    { numRuns: 60 },
  );
});

test("decode reads its window alone: its attention doesn't grow with the context", async () => {
  const of = (cached: number, mask: Mask) =>
    plan({ ...base, cp: 4, cached, batch: 8, decode: true, mask, dealing: "contiguous", variant: "pass-q" });
  const [near, far] = [await of(64_000, WINDOW), await of(640_000, WINDOW)];
  assert.equal(far.seconds, near.seconds);
  assert.ok((await of(640_000, { kind: "causal" })).breakdown.attention > 5 * far.breakdown.attention);
  // The last 4,095 cached tokens lie on the last rank: 2 queries of each other rank reach it, and one parcel comes back.
  const { bytes, skipped } = far.layer.sent;
  assert.equal(bytes, (3 + 2 + 1) * 2 * 4 * 128 * 2 + 3 * 2 * 4 * 260);
  assert.equal(skipped.hops, 16 - 4 - 3);
});

test("latent attention sends 576 elements a token where GQA of 8 heads of 128 sends 2,048", async () => {
  const sizes = { num_hidden_layers: 32, hidden_size: 4096, num_attention_heads: 32, intermediate_size: 14336 };
  const rest = { vocab_size: 128256, model_type: "llama", tie_word_embeddings: false };
  const latent = modelFromConfig({
    ...sizes,
    ...rest,
    kv_lora_rank: 512,
    q_lora_rank: 1536,
    qk_rope_head_dim: 64,
    qk_nope_head_dim: 128,
    v_head_dim: 128,
  }, "latent");
  const step = { cluster, cp: 4, tp: 1, new: 32_000, variant: "pass-kv" } as const;
  const [mla, gqa] = [await plan({ ...step, model: latent }), await plan({ ...step, model })];
  assert.deepEqual([mla.layer.message, gqa.layer.message], [8000 * 576 * 2, 8000 * 2048 * 2]);
  assert.equal(mla.memory.kv / gqa.memory.kv, 576 / 2048);
  const q = await plan({ ...step, model: latent, variant: "pass-q" });
  assert.deepEqual([q.layer.message, q.layer.parcels], [8000 * 32 * 576 * 2, 3 * 8000 * 32 * (512 * 2 + 4)]);
  // 2 (576 + 512) FLOPs a pair and head, where GQA has 4 x 128.
  assert.ok(mla.breakdown.attention / gqa.breakdown.attention > 4);
  assert.match(mla.notes.join("\n"), /absorbed form/);
});

test("what a windowed plan can't take is refused with the reason", async () => {
  await assert.rejects(
    plan({ ...base, cp: 2, new: 10, cached: 8, held: [5, 3], mask: WINDOW }),
    refused(/held: found beside a window or chunk mask/),
  );
  await assert.rejects(
    plan({ ...LONG, cp: 2000 }),
    refused(/cp: found 2000, expected at most 1024: .*masks or shards/),
  );
  await assert.rejects(plan({ ...LONG, mask: { kind: "window", size: 0 } }), refused(/mask: found size 0/));
  await assert.rejects(
    plan({ ...LONG, dealing: "striped" as "auto" }),
    refused(/dealing: found "striped", expected auto or head-tail or contiguous/),
  );
});

test("a sweep under a window gives each layout's dealing, and simulates every rank", async () => {
  const s = await sweep({ model, cluster, new: 131_072, mask: WINDOW, maxGpus: 16 });
  assert.ok(s.rows.some((row) => row.dealing === "contiguous"));
  const contiguous = await sweep({ model, cluster, new: 131_072, mask: WINDOW, dealing: "contiguous", maxGpus: 16 });
  assert.ok(contiguous.rows.every((row) => row.dealing === "contiguous"));
});
