/** A result that is not finite is an error that names the rank. */
import assert from "node:assert/strict";
import test from "node:test";
import { RankError } from "../../../engine/errors.ts";
import { requireFinite } from "../../../engine/reference/finite.ts";

test("O must be finite; LSE finite, or -Infinity for a row that sees no key", () => {
  requireFinite(0, Float32Array.of(0, -3e38, 1), Float32Array.of(-Infinity, 4));
  for (const [out, lse] of [[[1, NaN], [0]], [[Infinity], [0]], [[-Infinity], [0]], [[1], [NaN]], [[1], [Infinity]]]) {
    assert.throws(
      () => requireFinite(3, Float32Array.from(out), Float32Array.from(lse)),
      (error: unknown) =>
        error instanceof RankError && error.rank === 3 &&
        /^rank 3: its (O|LSE) has (NaN|-?Infinity) at element \d/.test(error.message),
      JSON.stringify([out, lse]),
    );
  }
});
