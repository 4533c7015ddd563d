// The Conversation, as a person uses it: by role and label, on the built page; most on plain TypeScript, whose ranks
// start at once.
import { readFile } from "node:fs/promises";
import { expect, type Locator, type Page, test } from "@playwright/test";
import { axeFindsNothing } from "./axe.ts";
import { expectNoWiderThan, failOnUncaughtErrors } from "./page.ts";

const settings = "H=4&Hkv=2&D=16&N=3&link=off&seed=7";
const small = `?${settings}&wire=f32&backend=cpu&turns=48.3,16.2&prefills=auto&capacity=64#conversation`;

const button = (page: Page, name: string) => page.getByRole("button", { name, exact: true });
const passed = (page: Page) => page.getByRole("heading", { name: "Passed: the whole agrees with one full prefill" });
const status = (page: Page) => page.getByRole("status");
/** The rows of a turn in the list; its heading row is first. */
const turn = (page: Page, n: number) =>
  page.getByRole("table", { name: "Turns", exact: true }).getByRole("rowgroup").filter({
    has: page.getByRole("rowheader", { name: new RegExp(`^Turn ${n}\\b`) }),
  }).getByRole("row");
const count = (n: number) => n.toLocaleString("en-US");
const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

async function runs(page: Page, address: string): Promise<void> {
  await page.goto(address);
  await button(page, "Run").click();
  await expect(passed(page)).toBeVisible({ timeout: 30_000 });
}

interface Step {
  readonly turn: number;
  readonly mode: string;
  readonly variant: string;
  readonly batch: readonly { readonly new: number; readonly cached: number }[];
  readonly missRate: number;
  readonly choice?: { readonly reason: string };
  readonly perRank: readonly {
    readonly messages: number;
    readonly bytesSent: number;
    readonly paddingBytes: number;
    readonly ring: { readonly bytes: number };
  }[];
  readonly paddingBytes: number;
  readonly tokens: readonly { readonly sequence: number; readonly perRank: readonly number[] }[];
  readonly capacity: { readonly pages: number; readonly pagesUsed: readonly number[]; readonly tokensPerRank: number };
  readonly spans: readonly unknown[];
  readonly backend: string;
}

async function saved(page: Page, name: string): Promise<string> {
  const [download] = await Promise.all([page.waitForEvent("download"), button(page, name).click()]);
  return await readFile(await download.path(), "utf8");
}

async function reported(
  page: Page,
): Promise<
  {
    address: string;
    steps: Step[];
    incidents: { kind: string; message: string }[];
    check: { passed: boolean; rows: number; of: number; out: { max: number }; lse: { max: number } };
  }
> {
  return JSON.parse(await saved(page, "Report as JSON"));
}

failOnUncaughtErrors();

test("a conversation with a window passes, and its steps say what they skip", async ({ page }) => {
  await page.goto(small.replace("N=3", "N=4").replace("auto", "pass-kv"));
  await page.getByLabel("Mask").selectOption("window of");
  await page.getByLabel("Window W").fill("7");
  await page.getByLabel("Window W").press("Tab");
  await expect(page).toHaveURL(/&mask=window:7#conversation$/);
  await expect(page.getByLabel("Mask").locator("option")).toHaveText(["causal", "window of", "chunks of"]);
  await button(page, "Run").click();
  await expect(passed(page)).toBeVisible({ timeout: 30_000 });
  await turn(page, 1).nth(1).getByRole("button", { name: "Prefill" }).click();
  await expect(page.getByText(/^Skipped: \d+ of 16 hops, \d+ of 12 messages, [\d.]+ % of the bytes\.$/)).toBeVisible();
  await page.setViewportSize({ width: 390, height: 844 });
  await expectNoWiderThan(page, 390);
});

test("a conversation runs, and every number on the page is the engine's", async ({ page }) => {
  await runs(page, small);
  const report = await reported(page);
  expect(report.address).toBe(page.url());
  expect(report.steps.map(({ turn, mode }) => `${turn} ${mode}`)).toEqual([
    "0 prefill",
    "0 decode",
    "0 decode",
    "0 decode",
    "1 prefill",
    "1 decode",
    "1 decode",
  ]);
  expect(report.check).toMatchObject({ passed: true, rows: 69, of: 69 });
  await expect(page.getByText("All 69 rows of O and LSE were checked against float64")).toBeVisible();
  await expect(status(page)).toHaveText(
    `Conversation done. Passed: largest error of O ${report.check.out.max.toExponential(1)}, of LSE ${
      report.check.lse.max.toExponential(1)
    }.`,
  );
  for (const t of [0, 1]) {
    const own = report.steps.filter((step) => step.turn === t);
    const [prefill] = own;
    const cells = await turn(page, t + 1).nth(1).getByRole("cell").allTextContents();
    expect(cells[0]).toBe(count(prefill.batch[0].new));
    expect(cells[1]).toBe(count(prefill.batch[0].cached));
    expect(cells[2]).toBe(`${Number((100 * prefill.missRate).toFixed(1))} %`);
    expect(cells[3]).toBe(prefill.variant === "pass-q" ? "pass-Q" : "pass-KV");
    expect(cells[5]).toBe(count(sum(prefill.perRank.map((r) => r.messages))));
    const reply = await turn(page, t + 1).nth(2).getByRole("cell").allTextContents();
    expect(reply[0]).toBe(String(own.length - 1));
    expect(reply[1]).toBe(`${own[1].batch[0].cached}–${own.at(-1)!.batch[0].cached}`);
    expect(reply[5]).toBe(count(sum(own.slice(1).flatMap((step) => step.perRank.map((r) => r.messages)))));
    await turn(page, t + 1).nth(1).getByRole("button", { name: "Prefill" }).click();
    await expect(page.getByText(prefill.choice!.reason)).toBeVisible();
    const caches = page.getByRole("table", { name: /^KV cache after this step/ });
    await expect(caches).toContainText("they differ by at most 1");
    for (const [rank, tokens] of prefill.tokens[0].perRank.entries()) {
      const row = await caches.locator("tbody").getByRole("row").nth(rank).locator("td:not(.room)").allTextContents();
      const before = t === 0 ? 0 : report.steps[3].tokens[0].perRank[rank];
      expect(row).toEqual([
        count(tokens),
        `+${tokens - before}`,
        `${prefill.capacity.pagesUsed[rank]} of ${prefill.capacity.pages}`,
      ]);
    }
    const ranks = page.getByRole("table", { name: /^Ranks/ }).locator("tbody").getByRole("row");
    for (const [rank, traffic] of prefill.perRank.entries()) {
      const row = await ranks.nth(rank).getByRole("cell").allTextContents();
      expect(row[0]).toBe(String(traffic.messages));
      expect(row[1]).toBe(count(traffic.ring.bytes));
      expect(row).toContain(count(traffic.paddingBytes));
    }
    await expect(
      page.getByRole("group", {
        name: new RegExp(`Timeline: turn ${t + 1}, prefill of 3 ranks, ${prefill.spans.length} spans`),
      }),
    ).toBeVisible();
  }
  for (const { tokens } of report.steps) {
    for (const { perRank } of tokens) expect(Math.max(...perRank) - Math.min(...perRank)).toBeLessThanOrEqual(1);
  }
  await button(page, "Next step").click();
  await expect(page.getByRole("heading", { name: "Turn 2, decode step 1", exact: true })).toBeVisible();
  const trace = JSON.parse(await saved(page, "Trace for Perfetto"));
  expect(trace.traceEvents.filter(({ ph }: { ph: string }) => ph === "X")).toHaveLength(
    sum(report.steps.map((step) => step.spans.length)),
  );
});

test("two sequences in one batch, on WebGPU, with a 16-bit wire", async ({ page }) => {
  await runs(
    page,
    "?H=4&Hkv=2&D=16&N=2&wire=bf16&link=off&backend=webgpu&turns=33.2_9.1,0.0_12.2&prefills=pass-q#conversation",
  );
  const report = await reported(page);
  expect(report.steps.every(({ backend }) => backend === "webgpu")).toBe(true);
  expect(report.steps[0].batch).toHaveLength(2);
  expect(report.check).toMatchObject({ passed: true, of: 59 });
  await expect(page.getByRole("table", { name: /^KV cache/ }).getByRole("columnheader", { name: "B" })).toBeVisible();
});

test("turn by turn: added turns continue from the cache", async ({ page }) => {
  await page.goto(small);
  await button(page, "First turn").click();
  await expect(button(page, "Run the rest")).toBeVisible();
  await expect(status(page)).toContainText("Turn done. Passed");
  await expect(turn(page, 2).nth(1)).toContainText("not run yet: one prefill, then 2 decode steps");
  await button(page, "Next turn").click();
  await expect(passed(page)).toBeVisible();
  await button(page, "Add a turn").click();
  await page.getByLabel("Turn 3, prompt").fill("5");
  await page.getByLabel("Turn 3, reply").fill("1");
  await page.getByLabel("Prefills").selectOption("by pass-KV");
  await button(page, "Run the rest").click();
  await expect(turn(page, 3).nth(2)).toBeVisible();
  await expect(passed(page)).toBeVisible();
  const { steps, check } = await reported(page);
  expect(steps).toHaveLength(9);
  expect(steps[7]).toMatchObject({ variant: "pass-kv", batch: [{ new: 5, cached: 69 }] });
  expect(check).toMatchObject({ passed: true, of: 75 });
  await expect(page).toHaveURL(/turns=48\.3,16\.2,5\.1&prefills=pass-kv/);
  // A finished step cannot be changed: the page says so, and starts again.
  await page.getByLabel("Turn 1, prompt").fill("40");
  await page.getByLabel("Turn 1, prompt").press("Tab");
  await expect(page.getByText("Run starts it again")).toBeVisible();
  await button(page, "Remove turn 3").click();
  await button(page, "Run").click();
  await expect(page.getByText("All 61 rows")).toBeVisible();
});

test("an address restores the conversation, and the Lab shares its common fields", async ({ page }) => {
  await page.goto(
    "?seed=9&H=8&Hkv=4&D=32&N=3&wire=f16&link=2.5e9,0.000005&backend=cpu&T=77&turns=100.5_7.0,0.0_3.2&prefills=pass-q" +
      "&capacity=256&kill=2,2,decode,1#conversation",
  );
  await expect(page.getByLabel("Turn 1, sequence A, prompt")).toHaveValue("100");
  await expect(page.getByLabel("Turn 2, sequence B, reply")).toHaveValue("2");
  await expect(page.getByLabel("Sequences")).toHaveValue("2");
  await expect(page.getByLabel("Prefills")).toHaveValue("pass-q");
  await expect(page.getByLabel("Cache of a rank")).toHaveValue("256");
  await expect(page.getByLabel("Link bandwidth")).toHaveValue("2.5 GB/s");
  await expect(page.getByLabel("Rank that dies")).toHaveValue("2");
  await expect(page.getByLabel("Turn in which it dies")).toHaveValue("2");
  await page.getByLabel("Ranks N").fill("4");
  await page.getByLabel("Start from").selectOption("Chat");
  await expect(page).toHaveURL(/N=4.*turns=48\.8,32\.8,40\.8,24\.8/);
  await page.getByRole("link", { name: "Lab" }).click();
  await expect(page.getByLabel("Ranks N")).toHaveValue("4");
  await expect(page.getByLabel("New tokens T")).toHaveValue("77");
  await page.getByRole("link", { name: "Conversation" }).click();
  await expect(page.getByLabel("Turn 4, prompt")).toHaveValue("24");
  await page.reload();
  await expect(page.getByLabel("Turn 4, prompt")).toHaveValue("24");
  await expect(page.getByLabel("Ranks N")).toHaveValue("4");
});

test("an unreadable field says what was found and what is expected, and Run focuses it", async ({ page }) => {
  await page.goto(small);
  const prompt = page.getByLabel("Turn 2, prompt");
  await prompt.fill("many");
  await prompt.press("Tab");
  await expect(prompt).toHaveAccessibleDescription(
    "Turn 2, prompt: found many, expected a whole number from 0 to 1,048,576.",
  );
  await button(page, "Run").click();
  await expect(prompt).toBeFocused();
  await prompt.fill("8");
  await prompt.press("Enter");
  await expect(passed(page)).toBeVisible();
});

test("a step that does not fit fails with its full error, and the session continues", async ({ page }) => {
  await page.goto(small.replace("48.3,16.2", "100.2,120.2"));
  await button(page, "Run").click();
  const error = /rank 0: free tokens of the KV cache, in pages of 64 .*has 0, .*needs 64/;
  await expect(page.getByRole("heading", { name: "Turn 2: The step does not fit" })).toBeVisible();
  await expect(turn(page, 2).nth(1)).toContainText(error);
  await page.getByLabel("Turn 2, prompt").fill("20");
  await page.getByLabel("Turn 2, prompt").press("Tab");
  await button(page, "Run the rest").click();
  await expect(passed(page)).toBeVisible();
  const { steps, check, incidents } = await reported(page);
  expect(steps).toHaveLength(6);
  expect(incidents).toHaveLength(1);
  expect(check).toMatchObject({ passed: true, of: 124 });
});

test("cancelled in the middle of a step, the conversation continues from the last step", async ({ page }) => {
  await page.goto("?H=8&Hkv=2&D=64&N=3&link=off&backend=cpu&turns=32.1,3000.1#conversation");
  await button(page, "First turn").click();
  await expect(button(page, "Next turn")).toBeEnabled();
  await button(page, "Next turn").click();
  await expect(page.getByRole("progressbar", { name: "Turn 2: prefill" })).toBeVisible();
  await button(page, "Cancel").click();
  await expect(page.getByRole("heading", { name: "Cancelled" })).toBeVisible({ timeout: 5000 });
  await expect(status(page)).toHaveText("Cancelled.");
  await page.getByLabel("Turn 2, prompt").fill("16");
  await page.getByLabel("Turn 2, prompt").press("Tab");
  await button(page, "Run the rest").click();
  await expect(passed(page)).toBeVisible({ timeout: 30_000 });
  expect((await reported(page)).check.of).toBe(50);
});

test("a rank is killed and replaced, and the conversation ends with exact results", async ({ page }) => {
  await page.goto(small.replace("capacity=64", "capacity=64&kill=1,2,decode,1"));
  await button(page, "Run").click();
  await expect(passed(page)).toBeVisible({ timeout: 30_000 });
  await expect(turn(page, 2).filter({ hasText: "Rank 1 was killed at hop 1" })).toContainText(
    /rank 1.*its worker ended/,
  );
  await expect(turn(page, 2).filter({ hasText: "Rank 1 replaced" })).toContainText("got back the 22 tokens");
  const { incidents, check, steps } = await reported(page);
  expect(incidents.map(({ kind }) => kind)).toEqual(["killed", "repaired"]);
  expect(steps).toHaveLength(7);
  expect(check).toMatchObject({ passed: true, rows: 69, of: 69 });
});

test("by keyboard alone: edit a turn, run it, look at a step, cancel", async ({ page }) => {
  await page.goto(small);
  await expect(page.getByLabel("Turn 1, prompt")).toBeVisible();
  const tabTo = async (locator: Locator) => {
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press("Tab");
      if (await locator.evaluate((element) => (element.getRootNode() as ShadowRoot).activeElement === element)) return;
    }
    throw new Error(`Tab does not reach ${locator}`);
  };
  await tabTo(page.getByLabel("Turn 1, prompt"));
  await page.keyboard.type("30");
  await page.keyboard.press("Enter");
  await expect(passed(page)).toBeVisible();
  await expect(page).toHaveURL(/turns=30\.3,16\.2/);
  await tabTo(turn(page, 2).nth(1).getByRole("button", { name: "Prefill" }));
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Turn 2, prefill", exact: true })).toBeVisible();
  await tabTo(page.getByRole("img", { name: /^rank 0, hop/ }).first());
  await page.keyboard.press("ArrowRight");
  await page.goto("?H=8&Hkv=2&D=64&N=2&link=off&backend=cpu&turns=3000.1&capacity=4096#conversation");
  await expect(page.getByLabel("Turn 1, prompt")).toHaveValue("3,000");
  await tabTo(button(page, "Run"));
  await page.keyboard.press("Enter");
  await expect(button(page, "Cancel")).toBeFocused();
  await expect(page.getByRole("progressbar", { name: "Turn 1: prefill" })).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Cancelled" })).toBeVisible({ timeout: 5000 });
  await expect(button(page, "Run")).toBeFocused();
});

test("axe finds nothing, wide and narrow: empty, wrong input, a failed step, result", async ({ page }) => {
  await page.goto(small.replace("48.3,16.2", "100.2_5.1,120.2_4.1").replace("capacity=64", "capacity=128"));
  await expect(button(page, "Run")).toBeVisible();
  await axeFindsNothing(page, "empty");
  await page.getByLabel("Turn 2, sequence A, prompt").fill("many");
  await page.getByLabel("Query heads H").fill("7");
  await page.getByLabel("Query heads H").press("Tab");
  await axeFindsNothing(page, "wrong input");
  await page.getByLabel("Query heads H").fill("4");
  await page.getByLabel("Turn 2, sequence A, prompt").fill("120");
  await page.getByLabel("Turn 2, sequence A, prompt").press("Enter");
  await expect(page.getByRole("heading", { name: "Turn 2: The step does not fit" })).toBeVisible();
  await axeFindsNothing(page, "a failed step");
  await button(page, "Remove turn 2").click();
  await expect(passed(page)).toBeVisible();
  await axeFindsNothing(page, "result");
  await page.setViewportSize({ width: 390, height: 844 });
  await axeFindsNothing(page, "narrow");
  await expectNoWiderThan(page, 390);
});
