// Learn, as a reader uses it: every chapter by its link, its numbers against the engine's, its controls, its onward
// links.
import { expect, type Locator, type Page, test } from "@playwright/test";
import { choose, exposure, hiddenKv, smallerQueriesAll2All } from "../../engine/policy/index.ts";
import { reference } from "../../engine/reference/attention.ts";
import { formatBytes, formatCount, formatError, formatShare, formatTime } from "../../web/lib/format/format.ts";
import { chapters } from "../../web/views/learn/chapters.ts";
import { blocks } from "../../web/views/learn/models/blocks.ts";
import { rooms } from "../../web/views/learn/models/capacity.ts";
import { settingOf, versus } from "../../web/views/learn/models/cluster.ts";
import { conversation } from "../../web/views/learn/models/conversation.ts";
import { merging, storing } from "../../web/views/learn/models/merge.ts";
import { ringRun } from "../../web/views/learn/models/ring.ts";
import { sharding } from "../../web/views/learn/models/shards.ts";
import { small } from "../../web/views/learn/models/small.ts";
import { runningSoftmax } from "../../web/views/learn/models/softmax.ts";
import { say } from "../../web/views/learn/say.ts";
import { axeFindsNothing } from "./axe.ts";
import { expectNoWiderThan, failOnUncaughtErrors } from "./page.ts";
import { thorough } from "./tiers.ts";

const heading = (page: Page, name: string) => page.getByRole("heading", { level: 2, name, exact: true });
const row = (page: Page, table: string | RegExp, name: string | RegExp) =>
  page.getByRole("table", { name: table }).getByRole("row", { name });
/** Every place that shows a value of the model. */
const value = (page: Page, key: string) => page.locator(`article :is(b, span)[data-v="${key}"]`);
const slider = (page: Page, name: string) => page.getByRole("slider", { name, exact: true });

async function opens(page: Page, query: string, title: string): Promise<void> {
  await page.goto(`?${query}#learn`);
  await expect(heading(page, title)).toBeVisible({ timeout: 20_000 });
}

/** All places of a key that have text show the same, in figure and prose. */
async function says(page: Page, key: string, text: string, places = 1): Promise<void> {
  await expect(async () => {
    const found = (await value(page, key).allTextContents()).map((t) => t.trim()).filter((t) => t !== "");
    expect(found.length, key).toBeGreaterThanOrEqual(places);
    expect([...new Set(found)], key).toEqual([text]);
  }).toPass({ timeout: 10_000 });
}

async function slides(at: Locator, to: "End" | "Home" | "ArrowRight" | "ArrowLeft", presses = 1): Promise<void> {
  await at.focus();
  for (let i = 0; i < presses; i++) await at.press(to);
}

failOnUncaughtErrors();

test("from the rail: seven numbered chapters, next and back, with the focus on the new chapter", async ({ page }) => {
  await page.goto("?T=77&N=3");
  await page.getByRole("link", { name: "Learn" }).click();
  await expect(heading(page, chapters[0].title)).toBeVisible();
  const contents = page.getByRole("navigation", { name: "Chapters", exact: true });
  await expect(contents.getByRole("listitem")).toHaveText(chapters.map(({ title }) => title));
  for (const { title } of chapters.slice(1)) {
    await page.getByRole("navigation", { name: "Previous and next chapter" }).getByRole("link", { name: "Next" })
      .click();
    await expect(heading(page, title)).toBeFocused();
    await expect(contents.getByRole("link", { name: title })).toHaveAttribute("aria-current", "page");
  }
  await expect(page.getByRole("link", { name: "Next" })).toHaveCount(0);
  await page.goBack();
  await expect(heading(page, chapters[5].title)).toBeFocused();
  await page.reload();
  await expect(heading(page, chapters[5].title)).toBeVisible();
  await page.getByRole("link", { name: "Lab", exact: true }).click();
  await expect(page.getByLabel("New tokens T"), "the Lab keeps its own state").toHaveValue("77");
});

test("1, softmax: every value is the engine's; a shift breaks only f32 without a maximum", async ({ page }) => {
  await opens(page, "learn=softmax", chapters[0].title);
  const { reads, exact, naive } = runningSoftmax(3, 8, 0);
  const truth = reference(small(3, [{ new: 1, cached: 7 }]));
  await says(page, "exact.lse", say(truth.lse[0]));
  await says(page, "exact.out", say(exact.out), 2);
  for (const what of ["score", "lse", "out"] as const) await says(page, `${what}.3`, say(reads[3][what]), 2);
  await says(page, "naive.out", say(naive.out));
  await slides(slider(page, "Keys read"), "ArrowRight", 4);
  await says(page, "lse.7", say(reads[7].lse), 2);
  await slides(slider(page, "Added to every score"), "End");
  await says(page, "naive.out", "NaN");
  await says(page, "exact.out", say(truth.out[0]), 2);
  await expect(page).toHaveURL(/softmax\.read=8.*softmax\.shift=1000/);
});

test("2, blocks: the row's partial results, the tiles and the work", async ({ page }) => {
  await opens(page, "learn=blocks&blocks.tokens=48&blocks.size=16&blocks.row=40", chapters[1].title);
  const { reads, pairs, computed, exact, scoreBytes } = await blocks(2, 48, 16, 40);
  for (const [i, { lse }] of reads.entries()) await says(page, `lse.${i}`, say(lse));
  await says(page, "exact.out", say(exact.out), 2);
  await says(page, "pairs", formatCount(pairs), 2);
  await says(page, "computed", formatCount(computed), 2);
  await says(page, "scores", formatBytes(scoreBytes), 2);
  await expect(page.getByRole("img", { name: /^Causal mask of 3 by 3 tiles/ })).toBeVisible();
  await slides(slider(page, "Query row to follow"), "Home");
  await says(page, "keys", "1");
});

test("3, merge: parts, their merge, empty rows and what 16 bits cost", async ({ page }) => {
  await opens(page, "learn=merge", chapters[2].title);
  const { parts, out, lse, exact } = await merging(4, 4, 21, true);
  for (const [s, part] of parts.entries()) await says(page, `lse.${s}`, say(part.lse));
  await says(page, "out", say(out), 2);
  await says(page, "lse", say(lse));
  await says(page, "exact.out", say(exact.out), 2);
  await says(page, "unguarded", "NaN", 2);
  await page.getByLabel("Order of merging").selectOption("first part first");
  await says(page, "unguarded", say(out));
  for (const [i, { rms }] of (await storing(1)).entries()) await says(page, `rms.${i}.3`, formatError(rms[3]));
});

test("4, shards: both shardings and the padding", async ({ page }) => {
  await opens(page, "learn=shards&shards.ranks=3&shards.fresh=50&shards.second=13", chapters[3].title);
  const { headTail, contiguous, message } = sharding(3, 50, 0, 13);
  for (const k of [0, 1, 2]) {
    await says(page, `h.pairs.${k}`, formatCount(headTail.pairs[k]));
    await expect(row(page, /^Query-key pairs of each rank/, new RegExp(`^${k} `))).toContainText(
      formatCount(contiguous.pairs[k]),
    );
  }
  await says(page, "rows", `${message.rows} rows`);
  await says(page, "tokens", message.tokens.join(", "));
  await slides(slider(page, "Cached tokens P"), "End");
  const cached = sharding(3, 50, 256, 13);
  await expect(row(page, /^Query-key pairs/, /^Busiest over mean/)).toContainText(say(cached.contiguous.imbalance));
});

test("5, the ring: a real run hop by hop, and Eq. 2 as the point where waiting ends", async ({ page }) => {
  await opens(page, "learn=ring", chapters[4].title);
  const { meetings, out } = await ringRun(5, 4, 48, 16, "pass-kv");
  await says(page, "error", formatError(out.max));
  for (const { hop, lse } of meetings.filter(({ rank }) => rank === 2)) await says(page, `lse.${hop}`, say(lse));
  await expect(
    page.getByRole("img", {
      name:
        "The ring at hop 1: rank 0 has KV of rank 3, rank 1 has KV of rank 0, rank 2 has KV of rank 1, rank 3 has KV of rank 2.",
    }),
  ).toBeVisible();
  await slides(slider(page, "Hop"), "End");
  await expect(page.getByRole("img", { name: /^The ring at hop 3: rank 0 has KV of rank 1/ })).toBeVisible();
  const setting = settingOf("gtt", 4, 3000, 125_000);
  await says(page, "exposed", formatTime(exposure(setting).exposedKv), 2);
  await expect(value(page, "border").first()).toContainText(formatCount(hiddenKv(setting)));
  await slides(slider(page, "New tokens T"), "ArrowRight");
  await says(page, "exposed", "0 s");
  await expect(page.getByText("so the ring costs nothing beyond attention")).toBeVisible();
});

test("6, pass-Q: messages, borders, and the rules' choices for the reader's own step", async ({ page }) => {
  for (const [fresh, cached, ranks] of [[1280, 126_720, 4], [32_000, 64_000, 8]]) {
    await opens(
      page,
      `learn=pass-q&pass-q.fresh=${fresh}&pass-q.cached=${cached}&pass-q.ranks=${ranks}`,
      chapters[5].title,
    );
    const setting = settingOf("gtt", ranks, fresh, cached);
    const { kv, q } = await versus("gtt", ranks, fresh, cached);
    await expect(value(page, "eq5").first()).toHaveText(formatShare(smallerQueriesAll2All(setting)));
    for (const rule of ["alg1", "alg5"] as const) {
      await says(page, `rule.${rule}`, choose({ ...setting, rule }).variant === "pass-kv" ? "pass-KV" : "pass-Q", 2);
    }
    await says(page, "exposed.kv", formatTime(exposure(setting).exposedKv), 2);
    await says(page, "exposed.q", formatTime(exposure(setting).exposedQ), 2);
    await expect(page.getByRole("heading", { name: `pass-KV: ${formatTime(kv.end)} per layer` })).toBeVisible();
    await expect(page.getByRole("heading", { name: `pass-Q: ${formatTime(q.end)} per layer` })).toBeVisible();
  }
});

test("7, decode: caches of every step, and the planner's figures", async ({ page }) => {
  await opens(page, "learn=decode", chapters[6].title);
  const steps = await conversation(7, 4, 2, 21, 9);
  for (const k of [0, 1, 2, 3]) {
    await says(page, `held.${k}`, String(steps[14].held[k]));
    await says(page, `fixed.${k}`, String(steps[14].fixed[k]));
  }
  for (const { ranks, tokens, ttit } of await rooms()) {
    await says(page, `room.${ranks}`, formatCount(tokens));
    await says(page, `ttit.${ranks}`, formatTime(ttit));
  }
  await slides(slider(page, "Steps done"), "End");
  await says(page, "step", "20");
  for (const k of [0, 1, 2, 3]) await says(page, `held.${k}`, String(steps[19].held[k]));
});

test("on paper: every number of the controls, no list of chapters, nothing cut off", async ({ page }) => {
  await opens(page, "learn=ring", chapters[4].title);
  await page.emulateMedia({ media: "print" });
  await page.setViewportSize({ width: 794, height: 1123 });
  await expect(page.getByRole("navigation", { name: "Chapters", exact: true })).toBeHidden();
  await expect(slider(page, "Hop")).toBeHidden();
  await expect(page.getByText("Rank to follow")).toBeVisible();
  await expect(page.getByText("The ring’s steps are smaller and run beside attention")).toBeVisible();
  // Figures follow the new width a frame later.
  await expect.poll(
    () =>
      page.evaluate(
        () => [document.documentElement.scrollHeight > 1123, document.documentElement.scrollWidth <= 794],
      ),
    "it takes several pages and fits their width",
  ).toEqual([true, true]);
});

test("hovering a number lights up the same number elsewhere", async ({ page }) => {
  await opens(page, "learn=merge", chapters[2].title);
  await value(page, "weight.0").last().hover();
  const places = await page.locator('article [data-v="weight.0"]').count();
  expect(places).toBeGreaterThanOrEqual(3);
  await expect(page.locator('article [data-v="weight.0"][data-lit]')).toHaveCount(places);
  await page.getByRole("heading", { name: "Rows that see no key" }).hover();
  await expect(page.locator("[data-lit]")).toHaveCount(0);
});

for (const [i, { id, title }] of chapters.entries()) {
  test(`chapter ${i + 1} leads on to its experiment`, async ({ page }) => {
    await opens(page, `learn=${id}`, title);
    const link = page.getByRole("region", { name: "Try it" }).getByRole("link").first();
    const href = await link.getAttribute("href");
    await link.click();
    const view = href!.split("#")[1];
    const given = new URLSearchParams(href!.split("#")[0]);
    if (view === "lab") {
      for (const [label, key] of [["Ranks N", "N"], ["New tokens T", "T"], ["Cached tokens P", "P"]] as const) {
        await expect(page.getByLabel(label)).toHaveValue(formatCount(Number(given.get(key))));
      }
      if (given.get("N") !== "1") await expect(page.getByLabel("Variant")).toHaveValue(given.get("variant")!);
    } else if (view === "planner") {
      await expect(page.getByRole("textbox", { name: "New tokens T", exact: true })).toHaveValue(
        formatCount(Number(given.get("new"))),
      );
      await expect(page.getByRole("textbox", { name: "Cached tokens P", exact: true })).toHaveValue(
        formatCount(Number(given.get("cached"))),
      );
    } else await expect(page.getByLabel("Turn 1, prompt")).toHaveValue(given.get("turns")!.split(".")[0]);
    await page.goBack();
    await expect(heading(page, title), "and back").toBeVisible();
  });
}

test("by keyboard alone: to a chapter, through its controls, and on", async ({ page }) => {
  await opens(page, "learn=softmax", chapters[0].title);
  const tabTo = async (locator: Locator) => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press("Tab");
      if (await locator.evaluate((element) => (element.getRootNode() as ShadowRoot).activeElement === element)) return;
    }
    throw new Error(`Tab does not reach ${locator}`);
  };
  await tabTo(
    page.getByRole("navigation", { name: "Chapters", exact: true }).getByRole("link", { name: chapters[2].title }),
  );
  await page.keyboard.press("Enter");
  await expect(heading(page, chapters[2].title)).toBeFocused();
  await tabTo(slider(page, "Parts of the keys"));
  await page.keyboard.press("End");
  await expect(slider(page, "Parts of the keys")).toHaveAttribute("aria-valuetext", "8");
  await expect(page.getByRole("row", { name: /^7 42–47/ })).toBeVisible();
  await tabTo(page.getByRole("link", { name: "Next" }));
  await page.keyboard.press("Enter");
  await expect(heading(page, chapters[3].title)).toBeFocused();
});

thorough("axe finds nothing, wide and narrow, in any chapter", async ({ page }) => {
  test.setTimeout(180_000);
  for (const { id, title } of chapters) {
    for (const width of [1280, 390]) {
      await page.setViewportSize({ width, height: 844 });
      await opens(page, `learn=${id}`, title);
      await axeFindsNothing(page, `${title}, ${width}`);
      await expectNoWiderThan(page, width);
    }
  }
});
