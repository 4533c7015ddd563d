// The page after an hour's use: runs and changes of view leave no nodes, listeners or memory behind.
import { type CDPSession, expect, type Page, test } from "@playwright/test";
import { thorough } from "./tiers.ts";

/** A run on the CPU that takes a fraction of a second, check included. */
const query = "?seed=3&T=32&P=16&H=2&Hkv=1&D=16&N=4&variant=pass-q&wire=f32&link=off&backend=cpu";
const RUNS = 30;
/** Every view once, and back; Step and the Lab, which share a run, twice. */
const CHANGES = [
  "Step",
  "Lab",
  "Conversation",
  "Check",
  "Planner",
  "Remote",
  "Shaders",
  "Learn",
  "Lab",
  "Step",
  "Planner",
  "Conversation",
  "Lab",
];

interface Held {
  readonly nodes: number;
  readonly listeners: number;
  readonly megabytes: number;
}

/** What the page holds after a garbage collection. */
async function held(page: Page, cdp: CDPSession): Promise<Held> {
  // Chromium's style engine keeps the last removed nodes until the document changes again.
  // The finalisers of one collection free more for the next.
  for (let i = 0; i < 3; i++) {
    await page.evaluate(() =>
      new Promise<void>((done) => {
        const mark = document.body.appendChild(document.createElement("i"));
        requestAnimationFrame(() => {
          mark.remove();
          requestAnimationFrame(() => done());
        });
      })
    );
    await cdp.send("HeapProfiler.collectGarbage");
  }
  const { nodes, jsEventListeners } = await cdp.send("Memory.getDOMCounters");
  const { usedSize } = await cdp.send("Runtime.getHeapUsage");
  return { nodes, listeners: jsEventListeners, megabytes: usedSize / 1e6 };
}

async function runs(page: Page, count: number): Promise<void> {
  const run = page.getByRole("button", { name: "Run", exact: true });
  for (let i = 0; i < count; i++) {
    await run.click();
    await expect(page.getByRole("button", { name: "Cancel" })).toHaveCount(0);
    await expect(page.getByRole("heading", { name: "Passed: O and LSE agree with float64" })).toBeVisible({
      timeout: 20_000,
    });
  }
}

async function changes(page: Page): Promise<void> {
  for (const name of CHANGES) {
    await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name }).click();
    await expect(page.getByRole("main")).toHaveAccessibleName(name);
    await expect(page.getByText(/^Loading /)).toHaveCount(0);
    // The view must show its first content, or leaving it measures nothing.
    await page.waitForTimeout(200);
  }
}

/**
 * What grew since `before`, after acts that `before` had already seen. `views`: how many views the browser may hold
 * that have left the page.
 */
function bounded(after: Held, before: Held, views = 0): void {
  // The largest view, the Planner with all its answers, has 7,300 nodes and 150 listeners.
  expect(after.nodes, `nodes, ${before.nodes} before`).toBeLessThan(1.1 * before.nodes + 500 + 7500 * views);
  expect(after.listeners, `listeners, ${before.listeners} before`).toBeLessThan(
    1.1 * before.listeners + 50 + 150 * views,
  );
  expect(after.megabytes, `MB of heap, ${before.megabytes.toFixed(1)} before`).toBeLessThan(before.megabytes + 4);
}

thorough("thirty runs hold no more memory than the first ones", async ({ page }) => {
  test.setTimeout(180_000);
  const cdp = await page.context().newCDPSession(page);
  await page.goto(query);
  await runs(page, 3);
  const before = await held(page, cdp);
  await runs(page, RUNS);
  const after = await held(page, cdp);
  bounded(after, before);
});

thorough("thirty-six changes of view hold no more memory than the first twelve", async ({ page }) => {
  test.setTimeout(180_000);
  const cdp = await page.context().newCDPSession(page);
  await page.goto(query);
  await runs(page, 2);
  await changes(page);
  const before = await held(page, cdp);
  for (let round = 0; round < 3; round++) await changes(page);
  // Chromium's style engine may hold the last view or two. A view that goes on listening is held each time it is left:
  // 36,000 nodes and more.
  bounded(await held(page, cdp), before, 2);
});
