// The page's conversation: typed text and addresses are read, written and checked in the same way, and give the
// steps they describe.
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Mask } from "../../../web/engine/run.ts";
import { continues, lengthsOf, rowsOfTurn, stepsOf } from "../../../web/views/conversation/steps.ts";
import { type Conversation, defaults, toQuery, turnsText } from "../../../web/lib/address/conversation.ts";
import { draftOf, fromQuery, presets, read, turnsOf } from "../../../web/views/conversation/model.ts";

const conversations: fc.Arbitrary<Conversation> = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  Hkv: fc.integer({ min: 1, max: 4 }),
  H: fc.integer({ min: 1, max: 4 }),
  D: fc.integer({ min: 4, max: 64 }).map((d) => 4 * d),
  N: fc.integer({ min: 2, max: 8 }),
  mask: fc.constantFrom<Mask>(
    { kind: "causal" },
    { kind: "window", size: 40 },
    { kind: "chunk", size: 64, sinkTokens: 4 },
  ),
  dealing: fc.constantFrom("head-tail", "contiguous"),
  wire: fc.constantFrom("f32", "f16", "bf16"),
  link: fc.option(
    fc.record({
      bandwidth: fc.integer({ min: 1, max: 1e9 }).map((n) => n * 1e3),
      latency: fc.integer({ min: 0, max: 1e6 }).map((us) => us / 1e6),
    }, { noNullPrototype: true }),
  ),
  backend: fc.constantFrom("webgpu", "cpu"),
  sequences: fc.constantFrom(1, 2),
  turns: fc.array(
    fc.array(
      fc.record({ prompt: fc.integer({ min: 1, max: 200 }), reply: fc.integer({ min: 0, max: 9 }) }, {
        noNullPrototype: true,
      }),
      { minLength: 2, maxLength: 2 },
    ),
    { minLength: 1, maxLength: 6 },
  ),
  prefills: fc.constantFrom("auto", "pass-kv", "pass-q"),
  capacity: fc.integer({ min: 1, max: 4096 }),
  kill: fc.option(
    fc.record({ rank: fc.constant(1), turn: fc.constant(0), mode: fc.constant("prefill"), hop: fc.constant(0) }, {
      noNullPrototype: true,
    }),
  ),
}, { noNullPrototype: true }).map((c) =>
  ({ ...c, H: c.H * c.Hkv, turns: c.turns.map((turn) => turn.slice(0, c.sequences)) }) as Conversation
);

test("a conversation survives its address and its sentence", () => {
  fc.assert(fc.property(conversations, (c) => {
    assert.deepEqual(read(draftOf(c)).conversation, c);
    assert.deepEqual(read(fromQuery(`?${toQuery(c)}`)).conversation, c);
  }));
});

test("an empty address is the default conversation, and the Lab's part of an address stays", () => {
  assert.deepEqual(read(fromQuery("")).conversation, defaults);
  const query = new URLSearchParams(toQuery(defaults, "?T=99&P=7&variant=pass-kv&causal=0"));
  assert.deepEqual([query.get("T"), query.get("P"), query.get("variant"), query.get("causal")], [
    "99",
    "7",
    "pass-kv",
    "0",
  ]);
});

test("a session has the Lab's mask, but rejects a full one: later tokens can't be seen", () => {
  const maskOf = (query: string) => read(fromQuery(query)).conversation?.mask;
  assert.deepEqual(maskOf("?mask=window:64%2B4"), { kind: "window", size: 64, sinkTokens: 4 });
  for (const query of ["?mask=full", "?causal=0"]) {
    assert.equal(maskOf(query), undefined);
    assert.match(read(fromQuery(query)).problems.get("mask")!, /^Mask: found full, expected causal, window or chunk/);
  }
  assert.equal(maskOf("?mask=x"), undefined);
});

test("the presets can run, and are written as they are read", () => {
  for (const { turns } of presets) {
    const drafts = turnsOf(turns);
    const draft = draftOf(defaults);
    const { conversation, problems } = read({
      fields: { ...draft.fields, sequences: String(drafts[0].length) },
      turns: drafts,
    });
    assert.deepEqual([...problems], []);
    assert.equal(turnsText(conversation!.turns), turns);
  }
});

test("the steps append every token once, in order, a prefill before its reply", () => {
  fc.assert(fc.property(conversations, (c) => {
    const held = new Array<number>(c.sequences).fill(0);
    let turn = 0;
    for (const step of stepsOf(c)) {
      assert.ok(step.turn >= turn && step.rows.length > 0);
      turn = step.turn;
      if (step.mode === "prefill") assert.equal(step.index, 0);
      for (const { sequence, from, rows } of step.rows) {
        assert.equal(from, held[sequence]);
        if (step.mode === "decode") assert.equal(rows, 1);
        held[sequence] += rows;
      }
      for (const { sequence, from, rows } of rowsOfTurn(c, turn)) {
        assert.ok(from <= held[sequence] && held[sequence] <= from + rows);
      }
    }
    assert.deepEqual(held, lengthsOf(c));
  }));
});

test("replies of different lengths are decoded in one batch as long as both go on", () => {
  const steps = stepsOf({
    sequences: 2,
    turns: [[{ prompt: 5, reply: 1 }, { prompt: 0, reply: 0 }], [{ prompt: 0, reply: 3 }, { prompt: 4, reply: 1 }]],
  });
  assert.deepEqual(
    steps.map(({ mode, rows }) => `${mode} ${rows.map((r) => `${r.sequence}:${r.from}+${r.rows}`).join(" ")}`),
    ["prefill 0:0+5", "decode 0:5+1", "prefill 1:0+4", "decode 0:6+1 1:4+1", "decode 0:7+1", "decode 0:8+1"],
  );
});

test("a field out of range is named with what was found and what is expected", () => {
  const wrong = (query: string) => Object.fromEntries(read(fromQuery(query)).problems);
  assert.deepEqual(wrong("?turns=x.2"), {
    "0-0-prompt": "Turn 1, prompt: found x, expected a whole number from 0 to 1,048,576.",
  });
  assert.deepEqual(wrong("?turns=0.2"), {
    "0-0-prompt": "Turn 1, prompt: found 0, expected at least 1 token for the reply to attend to.",
  });
  assert.deepEqual(wrong("?turns=8.1_0.0,0.0_0.1"), {
    "1-1-prompt": "Turn 2, B, prompt: found 0, expected at least 1 token for the reply to attend to.",
  });
  assert.deepEqual(wrong("?turns=8.1,0.0"), {
    "1-0-prompt": "Turn 2: found no token, expected at least one, in the prompt or the reply.",
  });
  assert.deepEqual(wrong("?H=7"), { H: "Query heads H: found 7, expected a multiple of the 2 KV heads." });
  assert.deepEqual(wrong("?capacity=0"), {
    capacity: "Cache of a rank: found 0, expected a whole number from 1 to 1,048,576.",
  });
  assert.deepEqual(wrong("?prefills=alg9"), { prefills: "Prefills: found alg9, expected auto or pass-kv or pass-q." });
  assert.deepEqual(wrong("?kill=4,1,prefill,0"), {
    kill: "Rank that dies: found 4, expected a whole number from 0 to 3.",
  });
  assert.deepEqual(wrong("?kill=1,1,prefill,3"), {
    killHop: "Hop at which it dies: found 3, expected a whole number from 0 to 2.",
  });
  assert.deepEqual(wrong("?turns=8.0&kill=1,1,decode,0"), {
    killMode: "Step in which it dies: found reply, expected a step of turn 1.",
  });
  assert.deepEqual(wrong("?turns=8.1_8.1_8.1"), { sequences: "Sequences: found 3, expected 1 or 2." });
  assert.match(wrong("?turns=1000000.1")["0-0-prompt"], /expected at most 131,072 of 8 × 64/);
});

test("a run continues if the finished steps are unchanged, and starts again if not", () => {
  const longer = { ...defaults, turns: [...defaults.turns, [{ prompt: 1, reply: 1 }]] };
  assert.equal(continues(defaults, longer, 4), true);
  assert.equal(continues(longer, defaults, 5), false);
  assert.equal(continues(longer, defaults, 4), true);
  assert.equal(
    continues(defaults, { ...defaults, prefills: "pass-q", kill: { rank: 0, turn: 3, mode: "decode", hop: 0 } }, 4),
    true,
  );
  assert.equal(continues(defaults, { ...defaults, capacity: 2048 }, 1), false);
  assert.equal(continues(defaults, { ...defaults, mask: { kind: "window", size: 64 } }, 1), false);
  assert.equal(
    continues(defaults, { ...defaults, turns: [[{ prompt: 1, reply: 4 }], ...defaults.turns.slice(1)] }, 0),
    true,
  );
  assert.equal(
    continues(defaults, { ...defaults, turns: [[{ prompt: 1, reply: 4 }], ...defaults.turns.slice(1)] }, 1),
    false,
  );
});
