// Kinds of time can be told apart on the page's grounds, in light and dark, with full colour vision and with
// colour deficiencies.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { type TimeKind, timeKinds } from "../../../web/lib/format/kinds.ts";
import { repository } from "../../repository.ts";

type Rgb = readonly [red: number, green: number, blue: number];

const tokens = await readFile(repository("web/styles/tokens.css"), "utf8");

/** A token's colour in linear light, 0 to 1. */
function colour(token: string, theme: "light" | "dark"): Rgb {
  const found = new RegExp(`^\\s*${token}: light-dark\\(#([0-9a-f]{6}), #([0-9a-f]{6})\\);`, "m").exec(tokens);
  assert.ok(found, `${token}: found no light-dark() of it in tokens.css`);
  const hex = found[theme === "light" ? 1 : 2];
  const part = (at: number) => parseInt(hex.slice(at, at + 2), 16) / 255;
  const linear = (c: number) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  return [linear(part(0)), linear(part(2)), linear(part(4))];
}

const times = (rows: readonly Rgb[], [r, g, b]: Rgb) =>
  rows.map(([x, y, z]) => x * r + y * g + z * b) as unknown as Rgb;

/** A colour as seen with a full deficiency: Machado, Oliveira and Fernandes (2009). */
const visions: Readonly<Record<string, readonly Rgb[]>> = {
  trichromat: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protanope: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deuteranope: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritanope: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
};

/** Oklab, in which equal distances look alike: https://bottosson.github.io/posts/oklab/ */
function oklab(rgb: Rgb): Rgb {
  const cones: Rgb[] = [
    [0.4122214708, 0.5363325363, 0.0514459929],
    [0.2119034982, 0.6806995451, 0.1073969566],
    [0.0883024619, 0.2817188376, 0.6299787005],
  ];
  const axes: Rgb[] = [
    [0.2104542553, 0.793617785, -0.0040720468],
    [1.9779984951, -2.428592205, 0.4505937099],
    [0.0259040371, 0.7827717662, -0.808675766],
  ];
  return times(axes, times(cones, rgb).map(Math.cbrt) as unknown as Rgb);
}

function apart(a: Rgb, b: Rgb, vision: string): number {
  const seen = (rgb: Rgb) =>
    oklab(times(visions[vision], rgb).map((c) => Math.min(1, Math.max(0, c))) as unknown as Rgb);
  const [x, y] = [seen(a), seen(b)];
  return Math.hypot(...x.map((c, i) => c - y[i]));
}

const light = ([r, g, b]: Rgb) => 0.2126 * r + 0.7152 * g + 0.0722 * b;

function contrast(a: Rgb, b: Rgb): number {
  const [more, less] = [light(a), light(b)].sort((x, y) => y - x);
  return (more + 0.05) / (less + 0.05);
}

for (const theme of ["light", "dark"] as const) {
  const of = (kind: TimeKind) => colour(timeKinds[kind].colour, theme);

  test(`${theme}: every kind of time stands out from its ground (WCAG 1.4.11: 3 to 1)`, () => {
    for (const kind of Object.keys(timeKinds) as TimeKind[]) {
      const found = contrast(of(kind), colour("--paper", theme));
      assert.ok(found >= 3, `${kind}: found ${found.toFixed(2)} to 1`);
    }
  });

  test(`${theme}: waiting for the link and for a late sender differ from each other and from every kind, for all sight`, () => {
    for (const a of ["wait", "late"] as const) {
      for (const b of (Object.keys(timeKinds) as TimeKind[]).filter((kind) => kind !== a)) {
        for (const vision of Object.keys(visions)) {
          const found = apart(of(a), of(b), vision);
          // Large areas of 0.02 can just be told apart; hatchings are thin.
          assert.ok(found >= 0.1, `${a} and ${b} for a ${vision}: found ${found.toFixed(3)}`);
        }
      }
    }
  });
}
