/** Masks, sinks and values in keys on the command line: what their options read, and what they refuse. */
import assert from "node:assert/strict";
import test from "node:test";
import { dealingOption, maskOption } from "../../../engine/cli/options.ts";
import { InputError } from "../../../engine/errors.ts";

/** Throws unless `work` refuses its input with exactly this message. */
function refuses(work: () => unknown, message: string): void {
  assert.throws(work, (error: unknown) => error instanceof InputError && error.message === message, message);
}

test("--mask, --sink-tokens and --no-causal: every mask, in tokens as people write them", () => {
  for (
    const [options, mask] of [
      [{}, { kind: "causal" }],
      [{ mask: "causal" }, { kind: "causal" }],
      [{ mask: "full" }, { kind: "full" }],
      [{ "no-causal": true }, { kind: "full" }],
      [{ mask: "full", "no-causal": true }, { kind: "full" }],
      [{ mask: "window:1024" }, { kind: "window", size: 1024 }],
      [{ mask: "window:4Ki" }, { kind: "window", size: 4096 }],
      [{ mask: "chunk:8k" }, { kind: "chunk", size: 8000 }],
      [{ mask: "window:1" }, { kind: "window", size: 1 }],
      [{ mask: "window:64", "sink-tokens": "4" }, { kind: "window", size: 64, sinkTokens: 4 }],
      [{ mask: "chunk:64+4" }, { kind: "chunk", size: 64, sinkTokens: 4 }],
      [{ mask: "chunk:64", "sink-tokens": "0" }, { kind: "chunk", size: 64 }],
    ] as const
  ) assert.deepEqual(maskOption(options), mask, JSON.stringify(options));
});

test("a wrong --mask is refused with what was expected, and the kind that was meant", () => {
  const window = "expected window:W in tokens, whole numbers, such as window:1024";
  const kinds = "expected causal, full, window:W or chunk:C";
  for (
    const [mask, expected] of [
      ["window", window],
      ["window:", window],
      ["window:0", window],
      ["window:1.5", window],
      ["window:-3", window],
      ["window:many", window],
      ["window:1e16", window],
      ["window:8,4", window],
      ["chunk:", "expected chunk:C in tokens, whole numbers, such as chunk:8192"],
      ["window:8+", "expected window:W+S in tokens, whole numbers, such as window:1024+4"],
      ["chunk:8+-1", "expected chunk:C+S in tokens, whole numbers, such as chunk:8192+4"],
      ["causal:4", "expected causal, which has no size"],
      ["full:", "expected full, which has no size"],
      ["Window:4", `${kinds}; did you mean window:4?`],
      ["windows:4", `${kinds}; did you mean window:4?`],
      ["win:4+2", `${kinds}; did you mean window:4?`],
      ["Chunk", `${kinds}; did you mean chunk:C?`],
      ["casual", `${kinds}; did you mean causal?`],
      ["sliding:4", kinds],
      ["1024", kinds],
      ["", kinds],
      [":4", kinds],
    ] as const
  ) refuses(() => maskOption({ mask }), `--mask: found ${JSON.stringify(mask)}, ${expected}`);
});

test("options that contradict the mask are refused", () => {
  refuses(
    () => maskOption({ mask: "window:8", "no-causal": true }),
    "--no-causal: found beside --mask window:8, expected one of them: --no-causal is --mask full",
  );
  for (const o of [{}, { mask: "causal" }] as const) {
    refuses(
      () => maskOption({ ...o, "sink-tokens": "4" }),
      "--sink-tokens: found with the mask causal, expected --mask window:W or chunk:C: a causal mask hides no first token",
    );
  }
  refuses(
    () => maskOption({ "no-causal": true, "sink-tokens": "4" }),
    "--sink-tokens: found with the mask full, expected --mask window:W or chunk:C: a full mask hides no first token",
  );
  refuses(
    () => maskOption({ mask: "window:8+2", "sink-tokens": "4" }),
    "--sink-tokens: found beside --mask window:8+2, whose +S says the same; expected one",
  );
  refuses(
    () => maskOption({ mask: "window:8", "sink-tokens": "-1" }),
    '--sink-tokens: found "-1", expected a whole number of at least 0',
  );
});

test("--dealing reads every dealing, and refuses others with the nearest", () => {
  assert.deepEqual([undefined, "head-tail", "contiguous"].map((dealing) => dealingOption({ dealing })), [
    undefined,
    "head-tail",
    "contiguous",
  ]);
  refuses(
    () => dealingOption({ dealing: "headtail" }),
    '--dealing: found "headtail", expected head-tail or contiguous; did you mean head-tail?',
  );
  refuses(() => dealingOption({ dealing: "striped" }), '--dealing: found "striped", expected head-tail or contiguous');
});
