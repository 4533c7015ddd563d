// The ring stage of the Lab, as a person uses it: played, stepped, scrubbed, compared; every number on it is the
// engine's.
import { readFile } from "node:fs/promises";
import { type Download, expect, type Locator, type Page, test } from "@playwright/test";
import type { Report, Span } from "../../web/engine/run.ts";
import { axeFindsNothing } from "./axe.ts";
import { expectNoWiderThan, failOnUncaughtErrors } from "./page.ts";
import { thorough } from "./tiers.ts";

/** A run on the CPU whose transfers take about as long as its attention. */
const query = "?seed=3&T=96&P=64&H=4&Hkv=2&D=16&N=4&variant=pass-kv&wire=f32&link=1e6,0.001&backend=cpu";
const run = (page: Page) => page.getByRole("button", { name: "Run", exact: true });
const verdict = (page: Page) => page.getByRole("heading", { name: "Passed: O and LSE agree with float64" });
const play = (page: Page) => page.getByRole("button", { name: /^(Play|Pause)$/ });
const slider = (page: Page) => page.getByRole("slider", { name: "Moment of the run" });
const ring = (page: Page, variant = "pass-KV") =>
  page.getByRole("group", { name: new RegExp(`^Ring of \\d+ ranks, ${variant}`) });
const mask = (page: Page, name = "Mask of pass-KV") => page.getByRole("group", { name: new RegExp(`^${name}: `) });
const count = (n: number) => n.toLocaleString("en-US");

async function runs(page: Page, address: string): Promise<void> {
  await page.goto(address);
  await run(page).click();
  await expect(verdict(page)).toBeVisible({ timeout: 40_000 });
}

async function bytes(download: Download): Promise<Buffer> {
  return await readFile(await download.path());
}

async function saved(page: Page, button: string): Promise<Buffer> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: button }).click(),
  ]);
  return await bytes(download);
}

async function report(page: Page): Promise<Report> {
  return JSON.parse((await saved(page, "Report as JSON")).toString());
}

/** Rows of a table's body as texts. */
async function rows(table: Locator): Promise<string[][]> {
  return await table.locator("tbody tr").evaluateAll((all) =>
    all.map((row) => [...row.children].map((cell) => (cell as HTMLElement).innerText.trim()))
  );
}

/** The stage's own time, in seconds. */
async function time(page: Page): Promise<number> {
  const [, value, unit] = /^([\d.,]+) (s|ms|µs)/.exec((await slider(page).getAttribute("aria-valuetext"))!)!;
  return Number(value.replace(",", "")) * { s: 1, ms: 1e-3, "µs": 1e-6 }[unit as "s" | "ms" | "µs"];
}

const still = (page: Page) => page.emulateMedia({ reducedMotion: "reduce" });

failOnUncaughtErrors();

test("a run plays once by itself, can be paused and continued, and ends where its ring ended", async ({ page }) => {
  await runs(page, query);
  await expect(page.getByRole("button", { name: "Pause", exact: true })).toBeVisible();
  await play(page).click();
  await expect(page.getByRole("button", { name: "Play", exact: true })).toBeVisible();
  const stood = await slider(page).inputValue();
  await page.waitForTimeout(300);
  expect(await slider(page).inputValue()).toBe(stood);
  await page.getByLabel("Speed").selectOption("4 ×");
  await play(page).click();
  await expect(slider(page)).toHaveValue("1000", { timeout: 15_000 });
  await expect(page.getByRole("button", { name: "Play", exact: true })).toBeVisible();
  const { spans } = await report(page);
  const end = Math.max(
    ...spans.filter(({ lane }) => lane === "device" || lane === "receive").map(({ start, duration }) =>
      start + duration
    ),
  );
  expect(Math.abs(await time(page) - end)).toBeLessThan(0.006 * end);
});

test("after the fourth Run as after the first: Pause holds, and the run plays at the speed of its caption", async ({ page }) => {
  const address = query.replace("P=64", "P=16");
  await runs(page, address);
  for (let again = 0; again < 3; again++) {
    await run(page).click();
    await expect(page.getByRole("button", { name: "Cancel" })).toHaveCount(0, { timeout: 20_000 });
    await expect(verdict(page)).toBeVisible({ timeout: 20_000 });
  }
  await expect(page.getByRole("button", { name: "Pause", exact: true })).toBeVisible();
  await play(page).click();
  await expect(page.getByRole("button", { name: "Play", exact: true })).toBeVisible();
  const stood = Number(await slider(page).inputValue());
  await page.waitForTimeout(400);
  expect(Number(await slider(page).inputValue()), "after Pause").toBe(stood);
  // Four ranks play for 10 s at speed 1: the distance covered, by the page's own clock.
  await play(page).click();
  const measured = await slider(page).evaluate(async (input: HTMLInputElement) => {
    const [from, began] = [Number(input.value), performance.now()];
    while (performance.now() - began < 1500) await new Promise(requestAnimationFrame);
    return { share: (Number(input.value) - from) / 1000, seconds: (performance.now() - began) / 1000 };
  });
  const expected = measured.seconds / 10;
  expect(measured.share / expected, "speed beside what was chosen").toBeGreaterThan(0.6);
  expect(measured.share / expected, "speed beside what was chosen").toBeLessThan(1.2);
});

test("the stage shows at each moment what the run's spans say", async ({ page }) => {
  await still(page);
  await runs(page, query);
  const { spans, ranks } = await report(page);
  for (let hop = 0; hop < ranks; hop++) {
    await page.getByRole("button", { name: "Step forward" }).click();
    await expect(page).toHaveURL(new RegExp(`&hop=${hop}$`));
    const share = Number(await slider(page).inputValue());
    const label = (await ring(page).getAttribute("aria-label"))!;
    const ringSpans = spans.filter(({ lane, kind }) => lane === "receive" || (lane === "device" && kind !== "compile"));
    const [from, end] = [
      Math.min(...ringSpans.map(({ start }) => start)),
      Math.max(...ringSpans.map(({ start, duration }) => start + duration)),
    ];
    // The slider has a thousand positions: a rank whose span begins or ends within one of them may be on either side.
    const [early, late] = [share - 1, share + 1].map((s) => from + (s / 1000) * (end - from));
    const within = ({ start, duration }: Span) => start <= early && late < start + duration;
    const attending = spans.filter((span) => span.kind === "attend" && within(span));
    expect(attending.some((span) => span.hop === hop), `some rank is in hop ${hop}`).toBe(true);
    for (const span of attending) {
      expect(label).toContain(`rank ${span.rank} hop ${span.hop}, attends to the keys of rank ${span.peer}`);
    }
    for (const span of spans.filter((one) => one.kind === "receive" && within(one))) {
      const owner = (span.peer! - span.hop + ranks) % ranks;
      const token = ring(page).locator(`.token[data-owner="${owner}"]`);
      const moved = Number(await token.getAttribute("data-share"));
      const expected = [early, late].map((at) => (at - span.start) / span.duration);
      expect(moved).toBeGreaterThan(expected[0] - 1e-3);
      expect(moved).toBeLessThan(expected[1] + 1e-3);
    }
  }
});

test("work per rank, bytes per link and the table of hops are the report's", async ({ page }) => {
  await still(page);
  await runs(page, query.replace("pass-kv", "pass-q").replace("N=4", "N=3"));
  const { spans, perRank, ranks } = await report(page);
  const links = await rows(page.getByRole("table", { name: /^Bytes per link/ }));
  expect(links).toHaveLength(ranks + 1);
  perRank.forEach(({ ring: sent, all2all }, rank) =>
    expect([links[rank][1], links[rank][2], links[rank][4]]).toEqual([
      count(sent.bytes),
      String(sent.messages),
      count(all2all.bytes),
    ])
  );
  const done = Array.from(
    { length: ranks },
    (_, rank) => spans.filter((span) => span.rank === rank).reduce((sum, span) => sum + span.flops, 0),
  );
  const work = await rows(page.getByRole("table", { name: /^Work per rank/ }));
  for (let rank = 0; rank < ranks; rank++) {
    const [value, unit] = work[rank][1].split(" ");
    expect(Math.abs((Number(value) * { kFLOP: 1e3, MFLOP: 1e6 }[unit as "kFLOP" | "MFLOP"]) / done[rank] - 1))
      .toBeLessThan(0.01);
  }
  expect(work[ranks][1]).toBe(`${((Math.max(...done) * ranks) / done.reduce((a, b) => a + b, 0)).toFixed(2)} ×`);
  expect(Number(work[ranks][2].split(" ")[0])).toBeGreaterThan(1.1);
  await page.getByText("Hop by hop, as a table").click();
  const table = page.getByRole("table", { name: /^Who attends to what/ });
  await expect(table).toBeVisible();
  const hops = await rows(table);
  for (const { rank, hop, peer } of spans.filter(({ kind }) => kind === "attend")) {
    expect(hops[hop][rank + 1]).toMatch(new RegExp(`^${peer}\\s`));
  }
  await page.getByRole("button", { name: "2", exact: true }).click();
  await expect(page).toHaveURL(/&hop=2$/);
});

for (const [variant, dealing] of [["pass-kv", "head-tail"], ["pass-q", "contiguous"]] as const) {
  test(`a window, ${variant}, ${dealing}: what nobody needs is skipped, counted and said`, async ({ page }) => {
    test.setTimeout(120_000);
    await still(page);
    const address = `?seed=3&T=256&P=0&H=4&Hkv=2&D=16&N=8&variant=${variant}&wire=f32&link=off&backend=cpu`;
    await runs(page, `${address}&mask=window:32&dealing=${dealing}`);
    const { ranks, skipped, spans, perRank } = await report(page);
    const sent = perRank.reduce((sum, rank) => sum + rank.bytesSent, 0);
    const messages = perRank.reduce((sum, rank) => sum + rank.messages, 0);
    const share = Number((100 * skipped.bytes / (skipped.bytes + sent)).toFixed(1));
    await expect(page.locator(".skipped")).toHaveText(
      `Skipped: ${skipped.hops} of 64 hops, ${skipped.messages} of ${messages + skipped.messages} messages, ` +
        `${share} % of the bytes.`,
    );
    const other = dealing === "contiguous" ? "head-tail" : "contiguous";
    const name = variant === "pass-kv" ? "pass-KV" : "pass-Q";
    await expect(mask(page, `Mask of ${name} with ${other} shards`)).toBeVisible();
    await expect(page.locator("ringside-mask.ran .details")).toContainText("A query at position p sees p−31 to p.");
    // Every hop is a stop, those without attention too.
    const attended = new Set(spans.filter(({ kind }) => kind === "attend").map(({ hop }) => hop));
    const says = (hop: number) => new RegExp(`Hop ${hop}: skipped, no query sees a key, (chunks pass|nothing)`);
    for (let hop = 0; hop < ranks; hop++) {
      await page.getByRole("button", { name: "Step forward" }).click();
      await expect(page).toHaveURL(new RegExp(`&hop=${hop}$`));
      if (attended.has(hop)) await expect(ring(page, name)).not.toHaveAttribute("aria-label", says(hop));
      else await expect(ring(page, name)).toHaveAttribute("aria-label", says(hop));
    }
    expect(attended.size).toBeLessThan(ranks);
    await page.keyboard.press("End");
    await page.getByText("Hop by hop, as a table").click();
    const hops = await rows(page.getByRole("table", { name: /^Who attends to what/ }));
    expect(hops.flat().filter((cell) => cell.startsWith("–"))).toHaveLength(skipped.hops);
    await page.getByRole("button", { name: "4", exact: true }).click();
    await axeFindsNothing(page, "window");
    await page.setViewportSize({ width: 390, height: 844 });
    await expectNoWiderThan(page, 390);
  });
}

test("the All2All has its own colour and hatching, different from waiting", async ({ page }) => {
  await still(page);
  await runs(page, query.replace("pass-kv", "pass-q"));
  const legend = page.getByRole("list", { name: "Kinds of time" });
  await expect(legend.getByText("All2All", { exact: true })).toBeVisible();
  const colourOf = (hatching: string) =>
    page.locator(`ringside-timeline #${hatching} rect`).evaluate((rect) => getComputedStyle(rect).fill);
  expect(await colourOf("hatch-all2all")).not.toBe(await colourOf("hatch-wait"));
  const spans = page.getByRole("img", { name: /All2All waits for all ranks/ });
  await expect(spans).toHaveCount(4);
  expect(await spans.first().evaluate((rect) => getComputedStyle(rect).fill)).toContain("hatch-all2all");
  // On the ring too, while the parcels are in flight.
  await spans.first().click();
  await expect(ring(page, "pass-Q")).toHaveAttribute("aria-label", /rank \d exchanges partial results/);
});

test("the mask agrees with the engine's layout in every block, and skips blocks that no query sees", async ({ page }) => {
  await still(page);
  await runs(page, query);
  const grid = mask(page);
  await expect(grid).toHaveAccessibleName(/8 query chunks by 16 key chunks, 28 blocks skipped/);
  await expect(mask(page, "Mask of pass-KV with contiguous shards")).toBeVisible();
  await grid.focus();
  const said = page.locator("ringside-mask.ran .details");
  await page.keyboard.press("ArrowRight");
  await expect(said).toHaveText(/^queries 64–75 × cached keys 0–7: rank 0, hop 0, .*, 96 pairs\.$/);
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  // Rank 1 meets the chunk of rank 2 after three hops.
  await expect(said).toHaveText(/^queries 76–87 × cached keys 16–23: rank 1, hop 3, /);
  for (let i = 0; i < 13; i++) await page.keyboard.press("ArrowRight");
  await expect(said).toHaveText(/^queries 76–87 × keys 148–159: skipped, because no query sees a key\.$/);
});

test("ring, mask, links and timeline all highlight what is pointed at, and keep the highlight once it is chosen", async ({ page }) => {
  await still(page);
  await runs(page, query);
  const lit = (of: string) => page.locator(`${of} .lit`);
  await page.getByRole("table", { name: /^Bytes per link/ }).getByRole("row", { name: /1\s*to\s*2|1 → 2/ }).hover();
  await expect(lit("ringside-ring")).toHaveCount(1);
  // A link carries N-1 chunks: as many spans of its sender, and as many of its receiver.
  await expect(lit("ringside-timeline")).toHaveCount(6);
  await page.getByRole("img", { name: /^rank 2, hop 1, attend chunk of rank 1/ }).hover();
  await expect(lit("ringside-mask.ran")).toHaveCount(1);
  await expect(page.locator("ringside-ring .token.lit")).toHaveAttribute("data-owner", "1");
  await page.locator("ringside-mask.ran svg").hover({ position: { x: 30, y: 45 } });
  await page.mouse.down();
  await page.mouse.up();
  await page.getByRole("heading", { name: "Facts" }).hover();
  await expect(lit("ringside-mask.ran")).toHaveCount(1);
  await expect(lit("ringside-timeline")).not.toHaveCount(0);
  await play(page).focus();
  await page.keyboard.press("Escape");
  await expect(lit("ringside-mask.ran")).toHaveCount(0);
});

test("a click on the timeline goes to that moment, and its cursor follows the stage", async ({ page }) => {
  await still(page);
  await runs(page, query);
  const before = await time(page);
  await page.getByRole("img", { name: /^rank 0, hop 0, attend/ }).click();
  await expect.poll(() => time(page)).toBeGreaterThan(before);
  const cursor = page.locator("ringside-timeline .cursor");
  const at = async () => Number(/translateX\(([-\d.]+)/.exec((await cursor.getAttribute("style"))!)![1]);
  const there = await at();
  // Not the next hop: if the ranks were far apart, its busiest moment may be an earlier one.
  await slider(page).press("End");
  await expect.poll(at).toBeGreaterThan(there);
});

test("by keyboard alone: space, arrows, Home and End", async ({ page }) => {
  await still(page);
  await page.goto(query);
  await run(page).focus();
  await page.keyboard.press("Enter");
  await expect(verdict(page)).toBeVisible({ timeout: 40_000 });
  const reach = async (locator: Locator) => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press("Tab");
      if (await locator.evaluate((element) => (element.getRootNode() as ShadowRoot).activeElement === element)) return;
    }
    throw new Error(`Tab does not reach ${locator}`);
  };
  const forward = page.getByRole("button", { name: "Step forward" });
  await reach(forward);
  await page.keyboard.press("Enter");
  await page.keyboard.press("ArrowRight");
  await expect(page).toHaveURL(/&hop=1$/);
  await page.keyboard.press("ArrowLeft");
  await expect(page).toHaveURL(/&hop=0$/);
  await page.keyboard.press("End");
  await expect(slider(page)).toHaveValue("1000");
  await expect(page).not.toHaveURL(/hop=/);
  await page.keyboard.press("Home");
  await expect(slider(page)).toHaveValue("0");
  await reach(slider(page));
  for (let i = 0; i < 5; i++) await page.keyboard.press("ArrowRight");
  await expect(slider(page)).toHaveValue("5");
  await page.keyboard.press("Space");
  await expect(page.getByRole("button", { name: "Pause", exact: true })).toBeVisible();
  await page.keyboard.press("Space");
  await expect(page.getByRole("button", { name: "Play", exact: true })).toBeVisible();
  await reach(mask(page));
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await expect(page.locator("ringside-ring .rank.lit, ringside-ring .token.lit")).not.toHaveCount(0);
});

test("with reduced motion, nothing starts to play, and play goes from stop to stop", async ({ page }) => {
  await still(page);
  await runs(page, query);
  await page.waitForTimeout(500);
  await expect(slider(page)).toHaveValue("0");
  await page.getByLabel("Speed").selectOption("4 ×");
  await play(page).click();
  const seen = new Set<string>();
  await expect.poll(async () => {
    seen.add(await slider(page).inputValue());
    return seen.has("1000");
  }, { timeout: 15_000, intervals: [50] }).toBe(true);
  // The start, four hops and the end: there are no other moments in between.
  expect(seen.size).toBeLessThanOrEqual(6);
});

test("a link opens at its hop, with both variants beside each other", async ({ page }) => {
  await runs(page, `${query}&compare=1&hop=2`);
  await expect(page.getByRole("table", { name: /^Both variants compared/ })).toBeVisible({ timeout: 40_000 });
  await expect(page.getByRole("button", { name: "Play", exact: true })).toBeVisible();
  await expect(ring(page)).toHaveAccessibleName(/hop 2/);
  await expect(page).toHaveURL(/&compare=1&hop=2$/);
  await page.reload();
  await run(page).click();
  await expect(page.getByRole("table", { name: /^Both variants compared/ })).toBeVisible({ timeout: 60_000 });
});

test("pass-KV beside pass-Q in one click: the same input, one scale, and a table of the costs", async ({ page }) => {
  await still(page);
  await runs(page, query);
  const compare = page.getByRole("button", { name: "Compare pass-KV and pass-Q" });
  await compare.click();
  await expect(compare).toHaveAttribute("aria-pressed", "true");
  await expect(page).toHaveURL(/&compare=1$/);
  await expect(ring(page, "pass-Q")).toBeVisible({ timeout: 40_000 });
  await expect(page.getByRole("status")).toHaveText("Both variants have run; pass-Q passed.", { timeout: 40_000 });
  const table = await rows(page.getByRole("table", { name: /^Both variants compared/ }));
  const { perRank, times } = await report(page);
  const sent = perRank.reduce((sum, rank) => sum + rank.bytesSent, 0);
  const row = (name: string) => table.find(([first]) => first.startsWith(name))!;
  expect(row("Sent, all ranks")[1]).toBe(`${count(Math.round(sent / 1000))} kB`);
  expect(row("Messages").slice(1, 3)).toEqual(["12", "24"]);
  expect(row("Largest error of O")[1]).toMatch(/passed$/);
  expect(row("Largest error of O")[2]).toMatch(/passed$/);
  expect(Number.parseFloat(row("Exposed communication")[1]) / (times.exchange * 1000)).toBeGreaterThan(0.99);
  // Queries: 3 hops of 24 rows of 4 heads by 16; partial results add O and LSE of as many rows, to each other rank.
  const links = await rows(page.getByRole("table", { name: /^Bytes per link/ }).nth(1));
  expect(links[0][1]).toBe(count(3 * 24 * 4 * 16 * 4));
  expect(links[0][4]).toBe(count(3 * 24 * 4 * 17 * 4));
  const ends = await Promise.all(
    ["pass-KV", "pass-Q"].map(async (name) =>
      /to ([\d.]+ m?s)\./.exec(
        (await page.getByRole("group", { name: new RegExp(`^Timeline of ${name} of 4 ranks`) }).getAttribute(
          "aria-label",
        ))!,
      )![1]
    ),
  );
  expect(ends[0]).toBe(ends[1]);
  await compare.click();
  await expect(page).not.toHaveURL(/compare/);
  await expect(ring(page, "pass-Q")).toHaveCount(0);
});

test("the other variant's run is cancelled, and can be run again", async ({ page }) => {
  await still(page);
  await runs(page, "?seed=3&T=512&P=0&H=4&Hkv=2&D=16&N=2&variant=pass-kv&wire=f32&link=2e5,0&backend=cpu");
  await page.getByRole("button", { name: "Compare pass-KV and pass-Q" }).click();
  await expect(page.getByRole("progressbar", { name: "Ring pass-Q: 2 × 2 hops" })).toBeVisible();
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.getByText("Cancelled before its end.")).toBeVisible();
  await expect(verdict(page)).toBeVisible();
  await page.getByRole("button", { name: "Run it" }).click();
  await expect(page.getByRole("table", { name: /^Both variants compared/ })).toBeVisible({ timeout: 40_000 });
});

test("the stage is saved as SVG and as PNG", async ({ page }) => {
  await still(page);
  await runs(page, query);
  expect((await saved(page, "Stage as SVG")).toString()).toMatch(/^<svg [\s\S]*Ringside: pass-KV, N 4[\s\S]*<\/svg>$/);
  const png = await saved(page, "Stage as PNG");
  expect(png.subarray(1, 4).toString()).toBe("PNG");
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  expect(width).toBeGreaterThan(1000);
  const painted = await page.evaluate(async (data) => {
    const image = await createImageBitmap(new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))]));
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d")!;
    context.drawImage(image, 0, 0);
    const { data: pixels } = context.getImageData(0, 0, image.width, image.height);
    const seen = new Set<number>();
    for (let i = 0; i < pixels.length; i += 4) seen.add((pixels[i] << 16) | (pixels[i + 1] << 8) | pixels[i + 2]);
    return [0xe69f00, 0x56b4e9, 0x009e73, 0xf0e442].filter((colour) => seen.has(colour)).length;
  }, png.toString("base64"));
  expect(painted, "the colours of all four ranks").toBe(4);
  expect(height).toBeGreaterThan(300);
});

test("one rank: no link, no other sharding, and no error", async ({ page }) => {
  await still(page);
  await runs(page, query.replace("N=4", "N=1"));
  await expect(page.getByText("One rank has no link, and nothing travels.")).toBeVisible();
  await expect(ring(page)).toBeVisible();
  await page.getByRole("button", { name: "Step forward" }).click();
  await expect(ring(page)).toHaveAccessibleName(/rank 0 hop 0, attends to the keys of rank 0, its own/);
});

thorough("axe finds nothing: stage, comparison, table of hops, narrow", async ({ page }) => {
  // Three axe checks of a page with a thousand drawn shapes.
  test.setTimeout(120_000);
  await page.emulateMedia({ reducedMotion: "reduce" });
  await runs(page, `${query}&hop=1`);
  await page.getByText("Hop by hop, as a table").click();
  await page.getByRole("table", { name: /^Work per rank/ }).getByRole("row").nth(2).hover();
  await axeFindsNothing(page, "stage");
  await page.getByRole("button", { name: "Compare pass-KV and pass-Q" }).click();
  await expect(page.getByRole("table", { name: /^Both variants compared/ })).toBeVisible({ timeout: 40_000 });
  await axeFindsNothing(page, "comparison");
  await page.setViewportSize({ width: 390, height: 844 });
  await axeFindsNothing(page, "narrow");
  await expectNoWiderThan(page, 390);
});
