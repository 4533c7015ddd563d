// The Step view, as a person uses it: a real run that halts, stepped through by button and by key, with numbers that
// are the engine's.
import { readFile } from "node:fs/promises";
import { expect, type Page, test } from "@playwright/test";
import { headTail } from "../../engine/layout/shards.ts";
import { reference } from "../../engine/reference/attention.ts";
import { seededRows } from "../../engine/tensor/seeded.ts";
import { axeFindsNothing } from "./axe.ts";
import { expectNoWiderThan, failOnUncaughtErrors } from "./page.ts";
import { thorough } from "./tiers.ts";

const small = "?seed=7&T=64&P=32&H=4&Hkv=2&D=16&N=3&wire=f32&link=off";
const pattern = (query: string) => new RegExp(query.replaceAll("?", "\\?"));

const run = (page: Page) => page.getByRole("button", { name: "Run", exact: true });
const step = (page: Page) => page.getByRole("button", { name: "Step one hop" });
const cell = (page: Page, name: string | RegExp) =>
  page.getByRole("table", { name: /^Ranks/ }).getByRole("button", { name });
const story = (page: Page) => page.getByRole("table", { name: /^After each hop/ });
const verdict = (page: Page) => page.getByRole("heading", { name: "Passed: O and LSE agree with float64" });
const restart = (page: Page) => page.getByRole("button", { name: "Restart" });

/** Runs until every rank has halted before hop 0. */
async function begins(page: Page, address: string, ranks = 3): Promise<void> {
  await page.goto(`${address}#step`);
  await expect(page.getByRole("heading", { name: "Step through a real run" })).toBeVisible();
  await run(page).click();
  await halted(page, "hop 0", ranks);
}

/** Waits until all ranks have halted at a stage. */
async function halted(page: Page, stage: string, ranks = 3): Promise<void> {
  await expect(cell(page, new RegExp(`, ${stage}: halted`))).toHaveCount(ranks, { timeout: 40_000 });
}

/** The texts of a row's cells. */
const cells = async (table: ReturnType<typeof story>, name: string | RegExp) =>
  (await table.getByRole("row", { name }).getByRole("cell").allTextContents()).map((text) => text.trim());
const number = (text: string) => Number(text.replace("−∞", "-Infinity").replaceAll("−", "-").replaceAll(",", ""));

failOnUncaughtErrors();

for (
  const [variant, backend] of [["pass-kv", "webgpu"], ["pass-q", "webgpu"], ["pass-kv", "cpu"], [
    "pass-q",
    "cpu",
  ]] as const
) {
  test(`${variant} on ${backend}: each partial is float64's over the keys seen so far, and the last is the result`, async ({ page }) => {
    await begins(page, `${small}&variant=${variant}&backend=${backend}&token=40&head=3&dim=5`);
    await expect(page.getByRole("heading", { name: /^0 Rank 0, hop 0/ })).toBeVisible();
    await expect(page.getByText("It has no partial result before its first attention.")).toBeVisible();
    const [seed, T, P, H, Hkv, D, N, row, head, dim] = [7, 64, 32, 4, 2, 16, 3, 40, 3, 5];
    const input = {
      q: seededRows(seed, "q", 0, T, H * D),
      k: seededRows(seed, "k", 0, T + P, Hkv * D),
      v: seededRows(seed, "v", 0, T + P, Hkv * D),
      sequences: [{ new: T, cached: P }],
      heads: H,
      kvHeads: Hkv,
      headDim: D,
    };
    const held = (k: number) =>
      [...headTail(P, N, k), ...headTail(T, N, k, P)].map(({ start, end }) => ({
        sequence: 0,
        start,
        length: end - start,
      }));
    const home = [0, 1, 2].find((k) =>
      headTail(T, N, k, P).some(({ start, end }) => start <= P + row && P + row < end)
    )!;
    await expect(page.getByText(`Token 40 is at position 72; its query lives on rank ${home}`)).toBeVisible();
    const seen = [];
    for (let hop = 0; hop < N; hop++) {
      const owner = variant === "pass-kv" ? (home - hop + N) % N : (home + hop) % N;
      seen.push(...held(owner));
      await step(page).click();
      await halted(page, hop < N - 1 ? `hop ${hop + 1}` : "All2All", hop < N - 1 || variant === "pass-q" ? N : 0);
      const exact = reference(input, [row], seen);
      const line = story(page).getByRole("row", { name: new RegExp(`^${hop} `) });
      // Float64 runs in a worker: the weight appears once it has answered.
      await expect(line.getByRole("cell").nth(2)).toHaveText(/%/, { timeout: 20_000 });
      const found = await cells(story(page), new RegExp(`^${hop} `));
      expect(found[0]).toBe(String(owner));
      const values = found.slice(variant === "pass-q" ? 4 : 3).map(number);
      expect(Math.abs(values[0] - exact.lse[head])).toBeLessThan(4e-6);
      for (const i of [0, 1, 2]) expect(Math.abs(values[1 + i] - exact.out[head * D + dim + i])).toBeLessThan(4e-6);
      const wire = await cells(page.getByRole("table", { name: /^What the wire costs/ }), new RegExp(`^${hop} `));
      expect(wire[2], "f32 rounds nothing").toBe("0");
      expect(number(wire[1])).toBeLessThan(4e-6);
    }
    if (variant === "pass-q") {
      await step(page).click();
      await halted(page, "merge");
      await step(page).click();
    }
    await expect(verdict(page)).toBeVisible({ timeout: 20_000 });
    // The engine's own result, saved from the Lab, to the last bit.
    const last = (await cells(story(page), variant === "pass-q" ? /^Merged on its rank/ : /^2 /)).slice(
      variant === "pass-q" ? 1 : 3,
    ).map(number);
    await page.getByRole("link", { name: "Lab" }).click();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name: /^O / }).or(page.getByRole("button", { name: "O as .npy" })).first().click(),
    ]);
    const bytes = await readFile(await download.path());
    const data = new Float32Array(
      bytes.buffer.slice(bytes.byteOffset + bytes.length - 4 * T * H * D, bytes.byteOffset + bytes.length),
    );
    expect(last.slice(1, 4).map(Math.fround)).toEqual(
      Array.from(data.subarray((row * H + head) * D + dim, (row * H + head) * D + dim + 3)),
    );
    await expect(page.getByText("The ranks halted in Step")).toBeVisible();
  });
}

for (const variant of ["pass-kv", "pass-q"] as const) {
  test(`${variant} with a window on WebGPU: ranks halt at hops without attention too, and the result passes`, async ({ page }) => {
    await begins(page, `${small.replace("N=3", "N=4")}&variant=${variant}&mask=window:6&token=40`, 4);
    for (let hop = 1; hop < 4; hop++) {
      await step(page).click();
      await halted(page, `hop ${hop}`, 4);
    }
    await page.getByRole("button", { name: "Run to the end" }).click();
    await expect(verdict(page)).toBeVisible({ timeout: 20_000 });
    // Six keys, at the hops that bring them; the others add none.
    const seen = await Promise.all([0, 1, 2, 3].map((hop) => cells(story(page), new RegExp(`^${hop} `))));
    expect(seen.reduce((sum, row) => sum + Number(row[1]), 0)).toBe(6);
    for (const [, keys, weight] of seen) expect(weight === "0 %").toBe(keys === "0");
    const wire = page.getByRole("table", { name: /^What the wire costs/ });
    for (const hop of [0, 1, 2, 3]) expect(number((await cells(wire, new RegExp(`^${hop} `)))[1])).toBeLessThan(4e-6);
  });
}

test("one rank alone goes ahead and waits; run to a chosen hop, and to the end", async ({ page }) => {
  await begins(page, `${small}&variant=pass-kv&backend=cpu&rank=1`);
  await page.getByRole("button", { name: "Step rank 1 only" }).click();
  await expect(cell(page, "rank 1, hop 1: halted, keys of rank 0")).toBeVisible();
  const awaits = page.getByRole("term").filter({ hasText: /^Awaits$/ }).locator("xpath=following-sibling::dd");
  await expect(awaits).toHaveText(/hop 1: chunk of 2 from 0/);
  await expect(page.getByRole("table", { name: /^Partial result after hop 0/ })).toBeVisible();
  await page.getByRole("button", { name: "Step rank 1 only" }).click();
  await expect(cell(page, "rank 1, hop 1: waits for rank 0, keys of rank 0")).toBeVisible();
  await expect(cell(page, /hop 0: halted/)).toHaveCount(2);
  await expect(page.getByRole("button", { name: "Step rank 1 only" })).toHaveAttribute("aria-disabled", "true");
  // Runs to a place that rank 0 has not reached.
  await cell(page, "rank 0, hop 2: not there yet").click();
  await expect(page.getByText("It has not come here yet")).toBeVisible();
  await page.getByRole("button", { name: "Run to hop 2" }).click();
  await halted(page, "hop 2");
  await cell(page, "rank 0, hop 1: passed, keys of rank 2").click();
  await expect(page.getByRole("heading", { name: /Rank 0, hop 1 as it halted before its attention/ })).toBeVisible();
  await page.getByRole("button", { name: "Run to the end" }).click();
  await expect(verdict(page)).toBeVisible({ timeout: 20_000 });
  await expect(page.getByRole("group", { name: /Timeline of 3 ranks/ })).toBeVisible();
});

test("a link restores the selection, and a new selection changes the link", async ({ page }) => {
  await begins(page, `${small}&variant=pass-kv&backend=cpu&rank=2&hop=1&token=9&head=1&dim=4`);
  await expect(page.getByLabel("Token, 0 to 63")).toHaveValue("9");
  await expect(page.getByLabel("Head, 0 to 3")).toHaveValue("1");
  await expect(page.getByLabel("Dimension, 0 to 13")).toHaveValue("4");
  await expect(page.getByRole("heading", { name: /^2 Rank 2, hop 1/ })).toBeVisible();
  await page.getByLabel("Token, 0 to 63").fill("33");
  await page.getByLabel("Token, 0 to 63").press("Enter");
  await expect(page).toHaveURL(pattern("link=off&rank=2&token=33&head=1&dim=4&hop=1#step"));
  await page.getByRole("button", { name: "Run to hop 1" }).click();
  await halted(page, "hop 1");
  await page.getByRole("button", { name: "Look at token 32" }).click();
  await expect(page.getByLabel("Token, 0 to 63")).toHaveValue("32");
  await page.getByLabel("Seed").fill("8");
  await page.getByLabel("Seed").press("Tab");
  await expect(page).toHaveURL(/seed=8.*&rank=2&token=32&head=1&dim=4&hop=1#step$/);
});

test("a 16-bit wire adds no error on seeded values, and its error on others is shown apart, hop by hop", async ({ page }) => {
  await begins(page, `${small.replace("wire=f32", "wire=bf16")}&variant=pass-kv&backend=cpu&token=63`);
  await page.getByRole("button", { name: "Run to the end" }).click();
  await expect(verdict(page)).toBeVisible({ timeout: 20_000 });
  const wire = page.getByRole("table", { name: /^What the wire costs/ });
  await expect(wire.getByRole("row", { name: /^2 / }).getByRole("cell").nth(2)).toHaveText("0");
  await page.getByRole("button", { name: "Multiply them by 1.1 and run" }).click();
  await expect(page.getByLabel("Seeded values")).toHaveValue("off");
  await halted(page, "hop 0");
  await page.getByRole("button", { name: "Run to the end" }).click();
  await expect(verdict(page)).toBeVisible({ timeout: 20_000 });
  await expect(page).toHaveURL(/grid=off/);
  for (const hop of [0, 1, 2]) {
    const [, all, cost, rest, lse, ofLse, restLse] = (await cells(wire, new RegExp(`^${hop} `))).map(number);
    expect(cost).toBeGreaterThan(1e-4);
    expect(cost).toBeLessThan(5e-2);
    for (const [sum, part, left] of [[all, cost, rest], [lse, ofLse, restLse]]) {
      expect(left).toBeLessThan(4e-6);
      expect(Math.abs(sum - part)).toBeLessThanOrEqual(left + 0.06 * part);
    }
  }
});

test("a run that is too large for all tokens says its numbers, and follows one token", async ({ page }) => {
  const address = "?seed=1&T=70&P=0&H=512&Hkv=1&D=64&N=8&variant=pass-kv&wire=f32&link=off&backend=cpu&token=69";
  await page.goto(`${address}#step`);
  await expect(
    page.getByText(
      "hops need 74.5 MB, and this page keeps at most 67.1 MB of a run. 63 new tokens would fit. " +
        "Only the row of token 69 will travel to the page.",
    ),
  ).toBeVisible();
  await run(page).click();
  await halted(page, "hop 0", 8);
  await page.getByRole("button", { name: "Run to the end" }).click();
  await expect(story(page).getByRole("row", { name: /^7 / }).getByRole("cell").nth(2)).toHaveText(/%/, {
    timeout: 40_000,
  });
  await page.getByLabel("Token, 0 to 69").fill("3");
  await page.getByLabel("Token, 0 to 69").press("Enter");
  await expect(page.getByText("Run again to follow token 3.")).toBeVisible();
  await page.getByRole("button", { name: "Cancel" }).or(run(page)).click();
});

test("by keyboard alone: run, move through the ranks, step one, run to a place and to the end", async ({ page }) => {
  await page.goto(`${small}&variant=pass-kv&backend=cpu#step`);
  const tabTo = async (locator: ReturnType<Page["getByLabel"]>) => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press("Tab");
      if (await locator.evaluate((element) => (element.getRootNode() as ShadowRoot).activeElement === element)) return;
    }
    throw new Error(`Tab does not reach ${locator}`);
  };
  await tabTo(run(page));
  await page.keyboard.press("Enter");
  await halted(page, "hop 0");
  await tabTo(cell(page, /^rank 0, hop 0/));
  await page.keyboard.press("ArrowDown");
  await expect(cell(page, /^rank 1, hop 0/)).toBeFocused();
  await page.keyboard.press("r");
  await expect(cell(page, /^rank 1, hop 1: halted/)).toBeVisible();
  await page.keyboard.press("s");
  await halted(page, "hop 1");
  await expect(page.locator("[aria-live=polite]").filter({ hasText: "All ranks halted at hop 1." })).toHaveCount(1);
  await page.keyboard.press("End");
  await expect(cell(page, /^rank 1, end/)).toBeFocused();
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("h");
  await halted(page, "hop 2");
  await page.keyboard.press("e");
  await expect(verdict(page)).toBeVisible({ timeout: 20_000 });
});

test("cancelled while halted: the ranks end at once, their reports stay, and Run starts again", async ({ page }) => {
  await begins(page, `${small}&variant=pass-q&backend=cpu`);
  await step(page).click();
  await halted(page, "hop 1");
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.getByRole("heading", { name: "Cancelled" })).toBeVisible({ timeout: 3000 });
  await expect(page.getByRole("heading", { name: /was here, before its attention, when the run ended/ })).toBeVisible();
  await expect(step(page)).toHaveAttribute("aria-disabled", "true");
  await run(page).click();
  await halted(page, "hop 0");
});

test("a run stays halted while another view is open", async ({ page }) => {
  await begins(page, `${small}&variant=pass-q&backend=cpu`);
  await page.getByRole("link", { name: "Planner" }).click();
  await expect(page).toHaveURL(/#planner/);
  // Longer than the time a silent rank is allowed.
  await page.waitForTimeout(6000);
  await page.getByRole("link", { name: "Step" }).click();
  await halted(page, "hop 0");
  await page.getByRole("button", { name: "Run to the end" }).click();
  await expect(verdict(page)).toBeVisible({ timeout: 20_000 });
});

test("a worker killed on purpose while halted: reported in bounded time, and Restart starts again", async ({ page }) => {
  await begins(page, `${small}&variant=pass-kv&backend=cpu&rank=1`);
  await page.getByText("Break it").click();
  await page.getByRole("button", { name: "Kill the worker of rank 1" }).click();
  await expect(page.getByRole("heading", { name: "A rank failed" })).toBeVisible({ timeout: 7000 });
  await expect(page.getByText(/rank 1, hop 0: its worker ended/).first()).toBeVisible();
  await restart(page).click();
  await halted(page, "hop 0");
  await page.getByRole("button", { name: "Run to the end" }).click();
  await expect(verdict(page)).toBeVisible({ timeout: 20_000 });
});

test("a device lost on purpose: the page names it, and Restart gives every rank a new one", async ({ page }) => {
  await begins(page, `${small}&variant=pass-q&backend=webgpu&rank=2`);
  await step(page).click();
  await halted(page, "hop 1");
  await page.getByText("Break it").click();
  await page.getByRole("button", { name: "Lose the device of rank 2" }).click();
  await expect(page.getByRole("heading", { name: "A GPU device was lost" })).toBeVisible({ timeout: 10_000 });
  await expect(page.getByText(/rank 2, hop 1: its GPU device was lost/).first()).toBeVisible();
  // The Lab shows the same failure, with the same action.
  await page.getByRole("link", { name: "Lab" }).click();
  await expect(page.getByRole("heading", { name: "A GPU device was lost" })).toBeVisible();
  await restart(page).click();
  await expect(verdict(page)).toBeVisible({ timeout: 40_000 });
});

thorough("axe finds nothing, wide and narrow: empty, halted, done, failed", async ({ page }) => {
  await page.goto(`${small.replace("N=3", "N=8")}&variant=pass-q&backend=cpu#step`);
  await expect(page.getByRole("heading", { name: "Step through a real run" })).toBeVisible();
  await axeFindsNothing(page, "empty");
  await run(page).click();
  await halted(page, "hop 0", 8);
  await step(page).click();
  await halted(page, "hop 1", 8);
  await page.getByRole("button", { name: "Step rank 0 only" }).click();
  await expect(cell(page, "rank 0, hop 2: halted, queries of rank 6")).toBeVisible();
  await page.getByText("Break it").click();
  await axeFindsNothing(page, "halted");
  await page.setViewportSize({ width: 390, height: 844 });
  await axeFindsNothing(page, "halted, narrow");
  await expectNoWiderThan(page, 390);
  await page.getByRole("button", { name: "Kill the worker of rank 0" }).click();
  await expect(page.getByRole("heading", { name: "A rank failed" })).toBeVisible({ timeout: 7000 });
  await axeFindsNothing(page, "failed, narrow");
  await page.setViewportSize({ width: 1280, height: 720 });
  await restart(page).click();
  await halted(page, "hop 0", 8);
  await page.getByRole("button", { name: "Run to the end" }).click();
  await expect(verdict(page)).toBeVisible({ timeout: 20_000 });
  await axeFindsNothing(page, "done");
});
