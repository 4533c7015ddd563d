// The Lab, as a person uses it: by role and label, on the built page, with the Chromium and the adapter that the set-up
// found.
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { type Download, expect, type Page, test } from "@playwright/test";
import { formatTime as sayTime } from "../../web/lib/format/format.ts";
import { axeFindsNothing } from "./axe.ts";
import { expectNoWiderThan, failOnUncaughtErrors } from "./page.ts";

/** Small enough for a software adapter: four ranks compile in seconds, and the ring takes a tenth of a second. */
const small = "?seed=7&T=64&P=32&H=4&Hkv=2&D=16&N=2&wire=f32&link=off";
const passed = "Passed: O and LSE agree with float64";

const run = (page: Page) => page.getByRole("button", { name: "Run", exact: true });
const cancel = (page: Page) => page.getByRole("button", { name: "Cancel" });
const skip = (page: Page) => page.getByRole("button", { name: "Skip the check" });
const verdict = (page: Page) => page.getByRole("heading", { name: passed });

async function runs(page: Page, address: string): Promise<void> {
  await page.goto(address);
  await run(page).click();
  await expect(verdict(page)).toBeVisible({ timeout: 30_000 });
}

/** The description of a term in a description list. */
const fact = (page: Page, term: string) =>
  page.getByRole("term").filter({ hasText: new RegExp(`^${term}$`) }).locator("xpath=following-sibling::dd");

type Span = { rank: number; kind: string; hop: number; duration: number };

async function text(download: Download): Promise<string> {
  return await readFile(await download.path(), "utf8");
}

async function saved(page: Page, button: string): Promise<string> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: button }).click(),
  ]);
  return await text(download);
}

failOnUncaughtErrors();

test("the default experiment runs on WebGPU and agrees with float64", async ({ page }) => {
  await page.goto("");
  await expect(page.getByLabel("Ranks N")).toHaveValue("4");
  await expect(page.getByText("Software adapter").or(page.getByText("GPU", { exact: true }))).toBeVisible();
  await run(page).click();
  await expect(cancel(page)).toBeVisible();
  await expect(verdict(page)).toBeVisible({ timeout: 40_000 });
  await expect(fact(page, "Back-end")).toHaveText("WebGPU");
  await expect(fact(page, "Runtime")).toHaveText("browser");
  expect(Number(await fact(page, "Largest error of O").textContent())).toBeLessThan(1e-5);
  await expect(page.getByRole("status")).toContainText("Passed: largest error of O");
  await expect(page.getByRole("group", { name: /Timeline of 4 ranks/ })).toBeVisible();
});

for (
  const [variant, wire] of [["pass-kv", "f32"], ["pass-kv", "bf16"], ["pass-q", "f32"], ["pass-q", "f16"]] as const
) {
  test(`${variant} with ${wire} on the wire, over a slow link, in plain TypeScript and full mask`, async ({ page }) => {
    await runs(
      page,
      `?T=50&P=13&H=4&Hkv=2&D=16&N=3&variant=${variant}&wire=${wire}&link=1e7,0.002&backend=cpu&causal=0`,
    );
    await expect(fact(page, "Back-end")).toHaveText("plain TypeScript");
    await expect(page.getByRole("table", { name: /^Hops/ }).getByRole("row", { name: /^All2All/ })).toHaveCount(
      variant === "pass-q" ? 1 : 0,
    );
  });
}

test("pass-KV on WebGPU", async ({ page }) => {
  await runs(page, `${small}&variant=pass-kv`);
  await expect(fact(page, "Back-end")).toHaveText("WebGPU");
});

test("T = 2,048, D = 128 on WebGPU: many tiles and workgroups", async ({ page }) => {
  await runs(page, "?T=2048&P=0&H=2&Hkv=1&D=128&N=2&variant=pass-kv&wire=f32");
  await expect(fact(page, "Back-end")).toHaveText("WebGPU");
  expect(Number(await fact(page, "Largest error of O").textContent())).toBeLessThan(1e-5);
});

test("without WebGPU it computes in plain TypeScript and says so", async ({ page }) => {
  await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { value: undefined }));
  await page.goto(small);
  await expect(page.getByText("on the CPU: this browser has no WebGPU")).toBeVisible();
  await expect(page.getByLabel("Back-end").locator("option:checked")).toHaveText("plain TypeScript (no WebGPU here)");
  await run(page).click();
  await expect(verdict(page)).toBeVisible();
  await expect(fact(page, "Back-end")).toContainText("this browser has no WebGPU");
});

test("every view reads counts and rates as people write them", async ({ page }) => {
  await page.goto(small);
  const says = async (label: string, text: string, value: string) => {
    await page.getByLabel(label, { exact: true }).fill(text);
    await page.getByLabel(label, { exact: true }).press("Tab");
    await expect(page.getByLabel(label, { exact: true })).toHaveValue(value);
  };
  await says("New tokens T", "1k", "1,000");
  await says("Cached tokens P", "2_048", "2,048");
  await says("Link bandwidth", "1Gbps", "125 MB/s");
  await expect(page).toHaveURL(/T=1000&P=2048.*link=125000000,/);
  await page.goto("#planner");
  await says("New tokens T", "128k", "128,000");
  await says("Cached tokens P", "1M", "1,000,000");
  await page.goto("#remote");
  await says("New tokens T", "1Mi", "1,048,576");
  await says("Link bandwidth", "400 Gb/s", "50 GB/s");
  await page.goto("#conversation");
  await says("Turn 1, prompt", "1_0", "10");
});

test("an address restores the experiment, and editing writes it", async ({ page }) => {
  await page.goto(
    "?seed=9&T=1200&P=34&H=16&Hkv=4&D=80&N=3&variant=pass-kv&wire=f16&link=2.5e9,0.000005&causal=0&backend=cpu",
  );
  await expect(page.getByLabel("New tokens T")).toHaveValue("1,200");
  await expect(page.getByLabel("Cached tokens P")).toHaveValue("34");
  await expect(page.getByLabel("Query heads H")).toHaveValue("16");
  await expect(page.getByLabel("KV heads Hkv")).toHaveValue("4");
  await expect(page.getByLabel("Head dimension D")).toHaveValue("80");
  await expect(page.getByLabel("Ranks N")).toHaveValue("3");
  await expect(page.getByLabel("Variant")).toHaveValue("pass-kv");
  await expect(page.getByLabel("Wire type")).toHaveValue("f16");
  await expect(page.getByLabel("Link bandwidth")).toHaveValue("2.5 GB/s");
  await expect(page.getByLabel("Link latency")).toHaveValue("5 µs");
  await expect(page.getByLabel("Mask")).toHaveValue("full");
  await expect(page.getByLabel("Back-end")).toHaveValue("cpu");
  await expect(page.getByLabel("Seed")).toHaveValue("9");
  await page.getByLabel("New tokens T").fill("2_400");
  await page.getByLabel("Variant").selectOption("pass-Q");
  await expect(page.getByLabel("New tokens T")).toHaveValue("2,400");
  await expect(page).toHaveURL(
    /\?seed=9&T=2400&P=34&H=16&Hkv=4&D=80&N=3&variant=pass-q&wire=f16&mask=full&backend=cpu&link=2500000000,0\.000005$/,
  );
  await page.reload();
  await expect(page.getByLabel("New tokens T")).toHaveValue("2,400");
});

test("the mask is edited by keyboard, a link restores it, and the run agrees with float64", async ({ page }) => {
  await page.goto(`${small}&backend=cpu`);
  await expect(page.getByLabel("Dealing")).toHaveCount(0);
  await page.getByLabel("Mask", { exact: true }).focus();
  await page.keyboard.press("w");
  await expect(page).toHaveURL(/&mask=window:256&/);
  await page.keyboard.press("Tab");
  await expect(page.getByLabel("Window W")).toBeFocused();
  await page.keyboard.type("9");
  await page.keyboard.press("Tab");
  await expect(page.getByLabel("Sink tokens")).toBeFocused();
  await page.keyboard.type("3");
  await page.keyboard.press("Tab");
  await page.keyboard.press("c");
  await expect(page).toHaveURL(/&mask=window:9%2B3&.*&dealing=contiguous$/);
  await run(page).focus();
  await page.keyboard.press("Enter");
  await expect(verdict(page)).toBeVisible({ timeout: 30_000 });
  const report = JSON.parse(await saved(page, "Report as JSON"));
  const mask = { kind: "window", size: 9, sinkTokens: 3 };
  expect([report.mask, report.experiment.mask, report.dealing]).toEqual([mask, mask, "contiguous"]);
  await expect(fact(page, "Skipped")).toContainText(`${report.skipped.hops} of 4 hops`);
  await page.reload();
  await expect(page.getByLabel("Window W")).toHaveValue("9");
  await expect(page.getByLabel("Sink tokens")).toHaveValue("3");
  await expect(page.getByLabel("Dealing")).toHaveValue("contiguous");
  await page.getByLabel("Mask", { exact: true }).selectOption("chunks of");
  await page.getByLabel("Chunk C").fill("0");
  await page.getByLabel("Chunk C").press("Tab");
  await expect(page.getByRole("alert")).toContainText("Size of window or chunk: found 0, expected a whole number");
  await page.goto(`${small}&mask=window:x`);
  await expect(page.getByLabel("Mask", { exact: true })).toHaveAttribute("aria-invalid", "true");
  await expect(page.getByRole("alert")).toContainText(
    "Mask: found window:x, expected causal, full, window:256 or chunk:256.",
  );
});

for (const [variant, mask] of [["pass-kv", "window:20"], ["pass-q", "chunk:24+2"]] as const) {
  test(`${variant} on WebGPU with the mask ${mask}`, async ({ page }) => {
    await runs(page, `${small.replace("N=2", "N=4")}&variant=${variant}&mask=${mask}`);
    await expect(fact(page, "Back-end")).toHaveText("WebGPU");
    await expect(fact(page, "Skipped")).toContainText("of 16 hops");
  });
}

test("an unreadable field says what was found and what is expected, and Run focuses it", async ({ page }) => {
  await page.goto(small);
  const heads = page.getByLabel("Query heads H");
  await heads.fill("7");
  await page.getByLabel("Link bandwidth").fill("fast");
  await page.getByLabel("Link bandwidth").press("Tab");
  await expect(heads).toHaveAttribute("aria-invalid", "true");
  await expect(heads).toHaveAccessibleDescription("Query heads H: found 7, expected a multiple of the 2 KV heads.");
  await expect(page.getByRole("alert")).toContainText(
    "Link bandwidth: found fast, expected a rate such as 50 GB/s, or off.",
  );
  await run(page).click();
  await expect(heads).toBeFocused();
  await expect(page.getByRole("heading", { name: "Nothing to run yet" })).toBeVisible();
  await heads.fill("8");
  await page.getByLabel("Link bandwidth").fill("off");
  await page.getByLabel("Link bandwidth").press("Enter");
  await expect(verdict(page)).toBeVisible();
});

test("a run is cancelled in the middle of the ring, and the next one works", async ({ page }) => {
  await page.goto("?T=2048&P=2048&backend=cpu&N=3");
  await run(page).click();
  await expect(page.getByRole("progressbar", { name: "Ring pass-Q: 3 × 3 hops" })).toBeVisible();
  await cancel(page).click();
  await expect(page.getByRole("heading", { name: "Cancelled" })).toBeVisible({ timeout: 3000 });
  await expect(page.getByRole("status")).toHaveText("Cancelled.");
  await page.getByLabel("New tokens T").fill("40");
  await page.getByLabel("Cached tokens P").fill("0");
  await run(page).click();
  await expect(verdict(page)).toBeVisible({ timeout: 30_000 });
});

test("a result is green only while the sentence describes it", async ({ page }) => {
  await runs(page, small);
  const marks = [verdict(page), page.getByText("✓ agrees with float64")];
  const colours = () => Promise.all(marks.map((mark) => mark.evaluate((element) => getComputedStyle(element).color)));
  const green = await colours();
  const quiet = await page.getByText("Largest error of O", { exact: true }).evaluate((element) =>
    getComputedStyle(element).color
  );
  expect(green).not.toContain(quiet);
  await page.getByLabel("New tokens T").fill("41");
  await page.getByLabel("New tokens T").press("Tab");
  await expect(page.getByText("The sentence has changed since this run")).toBeVisible();
  expect(await colours()).toEqual([quiet, quiet]);
  await page.getByRole("link", { name: "back to what ran" }).click();
  await expect.poll(colours).toEqual(green);
});

test("text being typed stays during a run", async ({ page }) => {
  await page.goto("?T=1024&P=512&backend=cpu&N=3");
  await run(page).click();
  await page.getByRole("textbox", { name: "Seed" }).fill("12");
  await expect(page.getByRole("progressbar", { name: "Check O and LSE against float64" })).toBeVisible({
    timeout: 30_000,
  });
  await expect(page.getByRole("textbox", { name: "Seed" })).toHaveValue("12");
  await expect(page).not.toHaveURL(/seed=12/);
  await skip(page).click();
  await expect(page).toHaveURL(/seed=12/);
});

test("during the check, a button with its progress skips it; the result stays, unchecked", async ({ page }) => {
  await page.goto("?T=400&P=4000&H=8&Hkv=8&D=64&backend=cpu&N=2");
  await run(page).click();
  await expect(page.getByRole("progressbar", { name: "Check O and LSE against float64" })).toBeVisible({
    timeout: 30_000,
  });
  await expect(page.getByRole("progressbar", { name: "Rows checked against float64" })).toBeVisible();
  await expect(page.getByText(/^[\d,]+ of 400 rows checked$/)).toBeVisible();
  await expect(cancel(page)).toHaveCount(0);
  await expect(page.getByRole("table", { name: /^Ranks/ })).toBeVisible();
  await skip(page).click();
  await expect(page.getByRole("heading", { name: "Not checked" })).toBeVisible();
  await expect(page.getByText("You skipped the check against float64. The result below is unchecked."))
    .toBeVisible();
  await expect(page.getByRole("status")).toHaveText("You skipped the check. The result is unchecked.");
  await expect(page.getByRole("table", { name: /^Ranks/ })).toBeVisible();
});

test("a changed sentence is marked as different from the result shown", async ({ page }) => {
  await runs(page, `${small}&backend=cpu`);
  await page.getByLabel("New tokens T").fill("65");
  await page.getByLabel("New tokens T").press("Tab");
  await page.getByRole("link", { name: "back to what ran" }).click();
  await expect(page.getByLabel("New tokens T")).toHaveValue("64");
  await expect(page.getByText("The sentence has changed")).toHaveCount(0);
});

test("ranks that cannot start: the full error is shown, and the next run works", async ({ page }) => {
  await page.route(/worker-web/, (route) => route.abort());
  await page.goto(`${small}&backend=cpu`);
  await run(page).click();
  await expect(page.getByRole("heading", { name: "A rank failed" })).toBeVisible();
  await expect(page.getByText(/rank \d/).first()).toBeVisible();
  await page.unroute(/worker-web/);
  await run(page).click();
  await expect(verdict(page)).toBeVisible({ timeout: 30_000 });
});

test("numbers on the page are the engine's: report, trace and tables agree", async ({ page }) => {
  await runs(page, `${small.replace("N=2", "N=3")}&variant=pass-q`);
  const report = JSON.parse(await saved(page, "Report as JSON"));
  const trace = JSON.parse(await saved(page, "Trace for Perfetto"));
  await expect(fact(page, "Largest error of O")).toHaveText(report.check.out.max.toExponential(1));
  await expect(fact(page, "Largest error of LSE")).toHaveText(report.check.lse.max.toExponential(1));
  const share = Math.max(report.check.out.share, report.check.lse.share);
  await expect(fact(page, "Largest share of a bound used")).toHaveText(`${Number((100 * share).toFixed(1))} %`);
  await expect(fact(page, "Kernel")).toHaveText(report.kernel);
  await expect(fact(page, "Adapter")).toContainText(report.adapter.name);
  const rows = page.getByRole("table", { name: /^Ranks/ }).locator("tbody tr");
  await expect(rows).toHaveCount(3);
  for (const [i, rank] of report.perRank.entries()) {
    const cells = [rank.messages, rank.ring.bytes, rank.all2all.bytes, rank.bytesReceived, rank.paddingBytes].map((
      n: number,
    ) => n.toLocaleString("en-US"));
    expect((await rows.nth(i).getByRole("cell").allTextContents()).slice(0, 5)).toEqual(cells);
    expect(rank.messages).toBe(4);
  }
  // Waiting for the link and for a late sender: sums by kind, and by hop.
  const kinds = page.getByRole("table", { name: /^Time by kind/ });
  const hops = page.getByRole("table", { name: /^Hops/ });
  await expect(kinds.getByRole("row", { name: /^Late senders/ })).toContainText(sayTime(report.times.late));
  await expect(kinds.getByRole("row", { name: /^Ranks not ready yet/ })).toContainText(sayTime(report.times.barrier));
  const head = await hops.getByRole("columnheader").allTextContents();
  for (const [kind, column] of [["wait", "Wait for the link"], ["late", "Late sender"]] as const) {
    for (let hop = 0; hop < 2; hop++) {
      const own = [0, 1, 2].map((rank) =>
        report.spans.filter((s: Span) => s.rank === rank && s.kind === kind && s.hop === hop)
      );
      const longest = Math.max(
        ...own.map((spans) => spans.reduce((sum: number, { duration }: Span) => sum + duration, 0)),
      );
      await expect(hops.locator("tbody tr").nth(hop).locator("th, td").nth(head.indexOf(column))).toHaveText(
        sayTime(longest),
      );
    }
  }
  expect(report.address).toBe(page.url());
  await page.getByText(/^The same as a table/).click();
  const table = page.getByRole("table", { name: "Spans" });
  await expect(table.locator("tbody tr")).toHaveCount(report.spans.length);
  expect(trace.traceEvents.filter(({ ph }: { ph: string }) => ph === "X")).toHaveLength(report.spans.length);
});

test("by keyboard alone: edit, run, walk through the timeline, cancel", async ({ page }) => {
  await page.goto(`${small}&backend=cpu`);
  const tabTo = async (locator: ReturnType<Page["getByLabel"]>) => {
    for (let i = 0; i < 40; i++) {
      await page.keyboard.press("Tab");
      if (await locator.evaluate((element) => (element.getRootNode() as ShadowRoot).activeElement === element)) return;
    }
    throw new Error(`Tab does not reach ${locator}`);
  };
  await tabTo(page.getByLabel("Cached tokens P"));
  await page.keyboard.type("48");
  await page.keyboard.press("Enter");
  await expect(verdict(page)).toBeVisible();
  await expect(page).toHaveURL(/P=48/);
  await tabTo(page.getByRole("img", { name: /^rank 0, hop/ }).first());
  await page.keyboard.press("ArrowRight");
  const focused = page.locator("rect:focus");
  const second = await focused.getAttribute("aria-label");
  await page.keyboard.press("ArrowDown");
  await expect(focused).not.toHaveAttribute("aria-label", second!);
  await page.keyboard.press("End");
  await expect(focused).toHaveAttribute("aria-label", /^rank 1, hop 1/);
  await page.keyboard.press("+");
  await expect(page.getByRole("button", { name: "Whole run" })).toHaveAttribute("aria-pressed", "false");
  await page.keyboard.press("0");
  await expect(page.getByRole("button", { name: "Whole run" })).toHaveAttribute("aria-pressed", "true");
  await page.goto("?T=4096&P=0&backend=cpu&N=2");
  await tabTo(run(page));
  await page.keyboard.press("Enter");
  await expect(cancel(page)).toBeFocused();
  await expect(page.getByRole("progressbar")).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Cancelled" })).toBeVisible({ timeout: 3000 });
  await expect(run(page)).toBeFocused();
});

test("axe finds nothing, wide and narrow: empty, wrong input, result", async ({ page }) => {
  await page.goto(`${small}&backend=cpu`);
  await axeFindsNothing(page, "empty");
  await page.getByLabel("Query heads H").fill("7");
  await page.getByLabel("Query heads H").press("Tab");
  await axeFindsNothing(page, "wrong input");
  await page.getByLabel("Query heads H").fill("4");
  await page.getByLabel("Query heads H").press("Enter");
  await expect(verdict(page)).toBeVisible();
  await page.getByText(/^The same as a table/).click();
  await page.getByRole("img", { name: /attend/ }).first().hover();
  await axeFindsNothing(page, "result");
  await page.setViewportSize({ width: 390, height: 844 });
  await axeFindsNothing(page, "narrow");
  await expectNoWiderThan(page, 390);
});

test("the theme can be switched and is remembered", async ({ page }) => {
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto("");
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  expect(await ground()).toBe("rgb(255, 255, 255)");
  await page.getByRole("button", { name: "Theme: auto" }).click();
  await page.getByRole("button", { name: "Theme: light" }).click();
  expect(await ground()).toBe("rgb(20, 23, 28)");
  await page.reload();
  await expect(page.getByRole("button", { name: "Theme: dark" })).toBeVisible();
  expect(await ground()).toBe("rgb(20, 23, 28)");
});

test("the first load is at most 150 kB of compressed JavaScript", async ({ page }) => {
  const sizes: Promise<number>[] = [];
  page.on("response", (response) => {
    if (/\.js$/.test(new URL(response.url()).pathname)) {
      sizes.push(response.body().then((body) => gzipSync(body).length));
    }
  });
  await page.goto("", { waitUntil: "networkidle" });
  const sum = (await Promise.all(sizes)).reduce((total, size) => total + size, 0);
  expect(sum).toBeGreaterThan(5_000);
  expect(sum).toBeLessThan(150_000);
});

test("the build works as plain files under any path, without special headers", async ({ page }) => {
  const folder = fileURLToPath(new URL("../../web/dist/", import.meta.url));
  const types: Record<string, string> = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".wgsl": "text/plain",
  };
  const base = "/some/where/deep/";
  const [elsewhere, refused]: string[][] = [[], []];
  page.on(
    "request",
    (request) => /^(https?:\/\/127\.0\.0\.1:|data:|blob:)/.test(request.url()) || elsewhere.push(request.url()),
  );
  page.on("response", (response) => response.ok() || refused.push(response.url()));
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url!, "http://localhost");
    const file = pathname === base ? "index.html" : pathname.slice(base.length);
    if (!pathname.startsWith(base) || file.includes("..")) {
      response.writeHead(404).end();
      return;
    }
    readFile(path.join(folder, file)).then(
      (body) =>
        response.writeHead(200, { "content-type": types[path.extname(file)] ?? "application/octet-stream" }).end(body),
      () => response.writeHead(404).end(),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await runs(page, `http://127.0.0.1:${(server.address() as AddressInfo).port}${base}${small}`);
    await expect(fact(page, "Back-end")).toHaveText("WebGPU");
    for (const title of ["Step", "Conversation", "Planner", "Remote", "Shaders", "Learn"]) {
      await page.getByRole("navigation").getByRole("link", { name: title }).first().click();
      await expect(page.getByRole("main", { name: title })).toBeVisible();
      await expect(page.getByText(`Loading ${title} …`)).toHaveCount(0);
    }
    expect(elsewhere, "asked of another place").toEqual([]);
    expect(refused, "files that are not there").toEqual([]);
  } finally {
    server.close();
  }
});
