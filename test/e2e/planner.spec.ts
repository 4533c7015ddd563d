// The Planner, as a person uses it: by role and label, on the built page; its numbers against the engine's own.
import { readFile } from "node:fs/promises";
import { expect, type Locator, type Page, test } from "@playwright/test";
import { findCluster, findModel, paperReport, plan, type PlanInput, sweep } from "../../engine/plan/index.ts";
import { formatBytes, formatCount, formatShare, formatTime } from "../../web/lib/format/format.ts";
import { axeFindsNothing } from "./axe.ts";
import { thorough } from "./tiers.ts";
import { expectNoWiderThan, failOnUncaughtErrors } from "./page.ts";

const gtt = (more: Partial<PlanInput>): PlanInput => ({
  model: findModel("llama3-405b"),
  cluster: findCluster("gtt"),
  tp: 8,
  ...more,
});

/** Everything of the question has been computed. */
async function settled(page: Page): Promise<void> {
  await expect(page.getByRole("button", { name: "Plan", exact: true })).toBeVisible({ timeout: 20_000 });
}

async function opens(page: Page, query = ""): Promise<void> {
  await page.goto(`${query}#planner`);
  await settled(page);
}

const figure = (page: Page, name: "TTFT" | "TTIT") => page.getByRole("region", { name: `${name} time to ` });
const row = (page: Page, table: string, name: RegExp) =>
  page.getByRole("table", { name: table }).getByRole("row", { name });
const field = (page: Page, name: string) => page.getByRole("textbox", { name, exact: true });

async function saved(page: Page, button: string | Locator): Promise<string> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    (typeof button === "string" ? page.getByRole("button", { name: button }) : button).click(),
  ]);
  return await readFile(await download.path(), "utf8");
}

async function edit(page: Page, name: string, text: string): Promise<void> {
  await field(page, name).fill(text);
  await field(page, name).press("Enter");
}

failOnUncaughtErrors();

test("scrolled, the lanes stay under the timeline's head", async ({ page }) => {
  await page.setViewportSize({ width: 1280, height: 720 });
  await opens(page);
  const foot = page.getByRole("region", { name: "Simulated timelines" });
  await foot.evaluate((box) => (box.scrollTop = 90));
  expect(await foot.evaluate((box) => box.scrollTop)).toBe(90);
  const over = await page.getByText("Point at a span").first().evaluate((hint) => {
    const { left, top, width, height } = hint.getBoundingClientRect();
    const root = hint.getRootNode() as ShadowRoot;
    const found: string[] = [];
    for (let x = left + 1; x < left + width; x += 4) {
      for (let y = top + 1; y < top + height; y += 4) {
        const element = root.elementFromPoint(x, y);
        if (element !== null && element.closest(".plot") !== null) {
          found.push(`${element.localName} at ${Math.round(x - left)}, ${Math.round(y - top)}`);
        }
      }
    }
    return found;
  });
  expect(over).toEqual([]);
});

test("from the rail: the numbers on the page are the engine's, and those of the exports", async ({ page }) => {
  await page.goto("");
  await page.getByRole("link", { name: "Planner" }).click();
  await settled(page);
  const expected = await plan(gtt({ cp: 4, new: 12_800, cached: 115_200 }));
  const [kv, q] = [
    await plan(gtt({ cp: 4, new: 12_800, cached: 115_200, variant: "pass-kv" })),
    await plan(gtt({ cp: 4, new: 12_800, cached: 115_200, variant: "pass-q" })),
  ];
  await expect(figure(page, "TTFT")).toContainText(formatTime(expected.seconds));
  await expect(figure(page, "TTFT")).toContainText(
    `pass-KV, simulated as the faster; pass-Q takes ${formatTime(q.seconds)}.`,
  );
  await expect(row(page, "Time by kind", /^Attention/)).toHaveText(
    new RegExp([kv.breakdown.attention, q.breakdown.attention].map(formatTime).join("[^]*")),
  );
  await expect(row(page, "Time by kind", /^All2All/)).toContainText(formatTime(q.breakdown.all2all));
  await expect(row(page, "Memory of a GPU", /^Weights/)).toContainText(formatBytes(expected.memory.weights));
  await expect(row(page, "Memory of a GPU", /^Room for KV/)).toContainText(
    formatCount(expected.memory.kvCapacityTokens),
  );
  await expect(page.getByText(`${formatShare(expected.parallelEfficiency)} of 4 times one rank`)).toBeVisible();
  const json = JSON.parse(await saved(page, "Plan as JSON"));
  expect(json).toMatchObject(JSON.parse(JSON.stringify(expected)));
  expect(json.variants["pass-q"].seconds).toBe(q.seconds);
  expect(json.address).toBe(page.url());
  expect(await saved(page, "Plan as CSV")).toContain(`seconds,${expected.seconds},${kv.seconds},${q.seconds}\n`);
  const trace = JSON.parse(await saved(page, "Trace of pass-Q for Perfetto"));
  const { spans } = await plan(gtt({ cp: 4, new: 12_800, cached: 115_200, variant: "pass-q", spans: true }));
  expect(trace.traceEvents.filter(({ ph }: { ph: string }) => ph === "X")).toHaveLength(spans!.length);
  await expect(
    page.getByRole("group", {
      name: `pass-Q: TTFT ${formatTime(q.seconds)}, ${formatTime(q.layer.seconds)} a layer of 4 ranks, ${
        spans!.length
      } spans`,
      exact: false,
    }),
  ).toBeVisible();
});

test("the paper's tables and the errors are those of the engine's report", async ({ page }) => {
  await opens(page);
  const report = await paperReport();
  const { ttft } = report.errors;
  await expect(page.getByRole("form", { name: "Plan" })).toContainText(
    `${ttft.cells} printed TTFT cells the median error is ${
      formatShare(ttft.median)
    }. On the ${ttft.predicted.cells} cells outside the calibration it is ${
      formatShare(ttft.predicted.median)
    }, at worst ${formatShare(ttft.predicted.worst)}.`,
  );
  await expect(row(page, "Errors", /^TTIT/)).toContainText(formatShare(report.errors.ttit.worst));
  await page.getByText("Table 4: 22 cells").click();
  const cell = report.rows.find(({ id }) => id === "t4.6400.q")!;
  await expect(row(page, "Table 4", /T = 6400, P = 121600, pass-q/)).toContainText(
    `+${(100 * cell.error!).toFixed(1)} %`,
  );
  await expect(page.getByRole("table", { name: "Table 4", exact: true }).locator("tbody tr")).toHaveCount(22);
  await expect(row(page, "Which variant wins", /^6,400/)).toContainText("wrong, a near-tie");
  await page.getByText("Where the paper contradicts itself").click();
  await expect(page.getByText(report.contradictions[0].what, { exact: true })).toBeVisible();
});

test("TTFT against context: the points are plans beside the paper's, and one can be chosen", async ({ page }) => {
  await opens(page);
  const chart = page.getByRole("figure", { name: /^TTFT against context/ });
  const million = await plan(gtt({ cp: 16, new: 1_000_000 }));
  const point = chart.getByRole("img", { name: /^CP16 × TP8, 1M tokens/ });
  await expect(point).toHaveAccessibleName(
    new RegExp(`${formatTime(million.seconds)} in pass-KV; Headline prints 77.0 s`),
  );
  await chart.getByText("The same as a table").click();
  const tp16 = await plan(gtt({ cp: 1, tp: 16, new: 128_000 }));
  await expect(chart.getByRole("row", { name: /^128,000/ })).toContainText(formatTime(tp16.seconds));
  expect(await saved(page, "TTFT chart as CSV")).toContain(
    `16,8,1000000,${million.seconds},pass-kv,true,77,headline.1m.cp16\n`,
  );
  expect(await saved(page, "TTFT chart as SVG")).toMatch(/^<svg [\s\S]*CP16[\s\S]*<\/svg>$/);
  for (const chart of ["TTFT chart", "Policy map"]) {
    expect((await saved(page, `${chart} as PNG`)).slice(1, 4)).toBe("PNG");
  }
  await point.click();
  await settled(page);
  await expect(field(page, "Context-parallel ranks CP")).toHaveValue("16");
  await expect(field(page, "New tokens T")).toHaveValue("1,000,000");
  await expect(field(page, "Cached tokens P")).toHaveValue("0");
  await expect(figure(page, "TTFT")).toContainText(formatTime(million.seconds));
  await expect(page.getByText("The picture shows the first 11")).toBeVisible();
});

test("the policy map: any point, of Table 4 or not, becomes the step whose timelines are shown", async ({ page }) => {
  await opens(page);
  const map = page.getByRole("figure", { name: /^Policy map/ });
  const first = map.getByRole("img", { name: /^Table 4, T = 1,280/ });
  await expect(first).toHaveAccessibleName(
    new RegExp(
      "pass-KV 1\\.02 s \\(model −5\\.5 %\\), pass-Q 899 ms \\(model −8\\.8 %\\); pass-Q faster by 13\\.9 %\\. " +
        "Algorithm 1: pass-Q, Algorithm 5: pass-Q, h as printed: pass-Q, h refitted: pass-Q\\.$",
    ),
  );
  await first.click();
  await settled(page);
  await expect(field(page, "New tokens T")).toHaveValue("1,280");
  await expect(field(page, "Cached tokens P")).toHaveValue("126,720");
  const q = await plan(gtt({ cp: 4, new: 1280, cached: 126_720 }));
  expect(q.variant).toBe("pass-q");
  await expect(figure(page, "TTFT")).toContainText(`${formatTime(q.seconds)}`);
  await expect(figure(page, "TTFT")).toContainText("pass-Q, simulated as the faster");
  // The last row of Table 4 ran against a persistent cache though nothing was cached.
  await map.getByRole("img", { name: /^Table 4, T = 128,000/ }).click();
  await settled(page);
  await expect(page).toHaveURL(/persistent=1/);
  await expect(figure(page, "TTFT")).toContainText(
    formatTime((await plan(gtt({ cp: 4, new: 128_000, persistent: true }))).seconds),
  );
  const low = { position: { x: 120, y: 300 } };
  await map.getByRole("group", { name: "Policy map" }).hover(low);
  await expect(map.getByText(/simulated near here, pass-Q is faster by/)).toBeVisible();
  await map.getByRole("group", { name: "Policy map" }).click(low);
  await settled(page);
  await expect(page).toHaveURL(/new=\d+&cached=\d{5,}/);
  await expect(page).not.toHaveURL(/persistent/);
  await map.getByText("The same as a table").click();
  await expect(map.getByRole("row", { name: /^3,200 2\.5 % 1\.11 s 1\.05 s pass-Q/ })).toBeVisible();
});

test("the layouts worth their GPUs are the sweep's Pareto front", async ({ page }) => {
  await opens(page);
  const { pareto } = await sweep({ ...gtt({ new: 12_800, cached: 115_200 }), tp: undefined, maxGpus: 128 } as never);
  const rows = page.getByRole("table", { name: /^Layouts worth their GPUs/ }).locator("tbody tr");
  await expect(rows).toHaveCount(pareto.length);
  for (const [i, layout] of pareto.entries()) await expect(rows.nth(i)).toContainText(formatTime(layout.seconds));
  await page.getByRole("button", { name: "CP2 × TP8" }).first().click();
  await settled(page);
  await expect(field(page, "Context-parallel ranks CP")).toHaveValue("2");
});

test("an address restores the question and keeps the parts of other views, and Back restores the last question", async ({ page }) => {
  await page.goto(
    "?seed=9&T=64&P=32&step=decode&model=llama3-70b&gpu=h200&fabric=xdr&cp=2&tp=8&cached=32000&batch=4&plan=pass-q#planner",
  );
  await settled(page);
  await expect(page.getByRole("combobox", { name: "Step" })).toHaveValue("decode");
  await expect(page.getByRole("combobox", { name: "Model" })).toHaveValue("llama3-70b");
  await expect(page.getByRole("combobox", { name: "Fabric" })).toHaveValue("xdr");
  await expect(field(page, "New tokens T")).toHaveCount(0);
  await expect(field(page, "Sequences")).toHaveValue("4");
  await expect(figure(page, "TTIT")).toContainText("pass-Q, as chosen");
  await expect(page.getByText("the parameters are calibrated on the paper's H100s")).toBeVisible();
  await edit(page, "Cached tokens P", "64_000");
  await expect(page).toHaveURL(
    /\?seed=9&T=64&P=32&step=decode&model=llama3-70b&gpu=h200&fabric=xdr&cp=2&tp=8&cached=64000&batch=4&plan=pass-q&new=12800#planner$/,
  );
  await page.getByRole("link", { name: "Lab" }).click();
  await expect(page.getByLabel("New tokens T")).toHaveValue("64");
  await page.goBack();
  await expect(field(page, "Cached tokens P")).toHaveValue("64,000");
});

test("an error stands at its field: not a number, and what the engine refuses", async ({ page }) => {
  await opens(page);
  await edit(page, "New tokens T", "many");
  await expect(field(page, "New tokens T")).toHaveAttribute("aria-invalid", "true");
  await expect(field(page, "New tokens T")).toHaveAccessibleDescription(
    "New tokens T: found many, expected a whole number from 1 to 10,000,000.",
  );
  await expect(field(page, "New tokens T")).toBeFocused();
  await edit(page, "New tokens T", "3,200");
  await expect(page.getByRole("alert")).toHaveCount(0);
  await edit(page, "GPUs per rank TP", "3");
  await expect(page.getByRole("alert")).toContainText(
    "tp 3 does not divide the 128 query heads of llama3-405b; 1, 2, 4, 8, 16, 32, 64, 128 do",
  );
  await expect(field(page, "GPUs per rank TP")).toHaveAccessibleDescription(/does not divide/);
  await edit(page, "GPUs per rank TP", "1");
  await settled(page);
  await expect(page.getByRole("region", { name: /^Memory of a GPU does not fit/ })).toBeVisible();
  await expect(page.getByRole("table", { name: /^Layouts worth their GPUs/ })).toBeVisible();
});

test("one rank has no policy, many ranks have no separate timelines, and a long map can be cancelled", async ({ page }) => {
  await opens(page, "?cp=1");
  await expect(page.getByText("With one rank nothing travels, so there is no policy to choose.")).toBeVisible();
  await edit(page, "Context-parallel ranks CP", "1,024");
  await settled(page);
  await expect(page.getByText("Above 256 ranks the engine simulates one rank for all 1,024")).toBeVisible();
  await page.goto("?cp=128#planner");
  await expect(page.getByRole("progressbar", { name: "Computing the policy map" })).toBeVisible({ timeout: 15_000 });
  await page.getByRole("button", { name: "Cancel" }).click();
  await expect(page.getByText("Cancelled before the policy map.")).toBeVisible();
  await expect(page.getByRole("button", { name: "Plan", exact: true })).toBeFocused();
  await edit(page, "Context-parallel ranks CP", "4");
  await settled(page);
  await expect(page.getByRole("figure", { name: /^Policy map/ })).toBeVisible();
});

test("by keyboard alone: edit, choose a point of the map and of the chart, walk a timeline", async ({ page }) => {
  await opens(page);
  const tabTo = async (locator: Locator) => {
    for (let i = 0; i < 60; i++) {
      await page.keyboard.press("Tab");
      if (
        await locator.evaluateAll((all) =>
          all.some((element) => (element.getRootNode() as ShadowRoot).activeElement === element)
        )
      ) return;
    }
    throw new Error(`Tab does not reach ${locator}`);
  };
  await tabTo(field(page, "Cached tokens P"));
  await page.keyboard.type("64000");
  await page.keyboard.press("Enter");
  await settled(page);
  await expect(page).toHaveURL(/cached=64000/);
  const chart = page.getByRole("figure", { name: /^TTFT against context/ });
  await tabTo(chart.getByRole("img", { name: /^CP4 × TP8, 8K/ }));
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowDown");
  await expect(chart.locator("circle:focus")).toHaveAccessibleName(/^CP8 × TP8, 16K/);
  await expect(chart.getByRole("paragraph")).toContainText("CP8 × TP8, 16K tokens");
  const map = page.getByRole("figure", { name: /^Policy map/ });
  await tabTo(map.getByRole("img", { name: /^Table 4, T = 1,280/ }));
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await settled(page);
  await expect(page).toHaveURL(/new=3200&cached=124800/);
  await expect(map.locator("circle:focus")).toHaveAccessibleName(/^Table 4, T = 3,200/);
  await tabTo(page.getByRole("img", { name: /^rank 0, hop 0, launch/ }));
  await page.keyboard.press("End");
  await expect(page.locator("rect:focus")).toHaveAccessibleName(/^rank 3, hop 2/);
});

/** The Lab's tests check the timeline's spans with axe. */
const timelineSpans: [string, string, string] = ["ringside-app", "ringside-planner", "ringside-timeline"];

for (const width of [1280, 390]) {
  (width === 390 ? thorough : test)(`axe finds nothing at ${width} pixels, with tables open`, async ({ page }) => {
    await page.setViewportSize({ width, height: 844 });
    await opens(page);
    for (const summary of ["The same as a table", "Parameters: 8", "Table 4: 22", "All 64 layouts"]) {
      await page.locator("summary").filter({ hasText: summary }).first().click();
    }
    await page.getByRole("img", { name: /^CP4 × TP8, 128K/ }).hover();
    await axeFindsNothing(page, "tables open", timelineSpans);
    await expectNoWiderThan(page, width);
  });
}

test("axe finds nothing in wrong input", async ({ page }) => {
  await page.goto("?tp=5#planner");
  await expect(page.getByRole("alert")).toContainText("tp 5 does not divide");
  await axeFindsNothing(page, "wrong input", timelineSpans);
});
