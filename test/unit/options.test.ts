/** Option names: an unknown one is rejected with the nearest known one. */
import assert from "node:assert/strict";
import test from "node:test";
import { InputError } from "../../engine/errors.ts";
import { nearest, refuseUnknown } from "../../engine/options.ts";

const KNOWN = ["wireDtype", "causal", "scale", "sequences", "heads", "kvHeads", "headDim"];

test("finds the nearest name, whatever its capitals and dashes; nothing for a name that is far from all", () => {
  for (
    const [given, near] of [
      ["wireDType", "wireDtype"],
      ["wire_dtype", "wireDtype"],
      ["wire-dtype", "wireDtype"],
      ["casual", "causal"],
      ["sclae", "scale"],
      ["sequence", "sequences"],
      ["kvheads", "kvHeads"],
      ["seq", "sequences"],
      ["bandwidth", undefined],
      ["", undefined],
      ["x", undefined],
    ] as const
  ) assert.equal(nearest(given, KNOWN), near, given);
  // "h" begins two names: neither is meant.
  assert.equal(nearest("hea", KNOWN), undefined);
});

test("an unknown option is rejected with the known ones and the nearest", () => {
  refuseUnknown("attend", { causal: true }, KNOWN);
  refuseUnknown("attend", {}, KNOWN);
  assert.throws(
    () => refuseUnknown("attend", { wireDType: "f16" }, KNOWN),
    (error: unknown) =>
      error instanceof InputError &&
      error.message === `attend: found the option "wireDType", expected ${KNOWN.join(", ")}; did you mean "wireDtype"?`,
  );
  for (const given of [undefined, null, 7, "text", [1]]) {
    assert.throws(() => refuseUnknown("attend", given, KNOWN), InputError, String(given));
  }
});
