// The Shaders view, as a person uses it: by role and label, on the built page, with the Chromium and the adapter that
// the set-up found.
import { readFile } from "node:fs/promises";
import { thorough } from "./tiers.ts";
import { expect, type Locator, type Page, test, type Worker } from "@playwright/test";
import { readTexts } from "../../engine/bench/texts.ts";
import { casesOf } from "../../engine/bench/trial.ts";
import { declarationsOf } from "../../engine/gpu/reflect.ts";
import { axeFindsNothing } from "./axe.ts";
import { expectNoWiderThan, failOnUncaughtErrors } from "./page.ts";

const texts = await readTexts((url) => readFile(url, "utf8"));
/** A trial compiles for every head size of the grid. A software adapter on a busy machine needs long for it. */
const LONG = { timeout: 100_000 };
test.describe.configure({ timeout: 240_000 });

const editor = (page: Page) => page.getByRole("textbox", { name: /^WGSL of / });
const go = (page: Page) => page.getByRole("button", { name: "Compile, check and time" });
const heading = (page: Page, name: string | RegExp) => page.getByRole("heading", { name });
const kernel = (page: Page) => page.getByRole("combobox", { name: "Kernel" });
const table = (page: Page, name: string | RegExp) => page.getByRole("table", { name });
const keptRow = (page: Page, name: string) =>
  table(page, /^Kept kernels/).getByRole("row", { name: new RegExp(`^${name} `) });

async function opens(page: Page, query = ""): Promise<void> {
  await page.goto(`${query}#shaders`);
  await expect(editor(page)).toBeVisible({ timeout: 30_000 });
  await expect(page.getByText(/Software adapter|^GPU/).first()).toBeVisible({ timeout: 30_000 });
}

/** Replaces the editor's text, as a paste does. */
async function write(page: Page, text: string): Promise<void> {
  await editor(page).click();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.insertText(text);
}

function edited(name: string, from: string, to: string): string {
  const text = texts[name].replaceAll(from, to);
  expect(text, `${name} has no ${from}`).not.toBe(texts[name]);
  return text;
}

const lineOf = (text: string, part: string) => text.split("\n").findIndex((line) => line.includes(part)) + 1;

async function saved(page: Page, button: Locator): Promise<{ name: string; text: string }> {
  const [download] = await Promise.all([page.waitForEvent("download"), button.click()]);
  return { name: download.suggestedFilename(), text: await readFile(await download.path(), "utf8") };
}

/** The worker that has the bench's device. */
async function benchWorker(page: Page): Promise<Worker> {
  for (const worker of page.workers()) {
    if (await worker.evaluate(() => "GPUDevice" in self).catch(() => false)) return worker;
  }
  throw new Error("the bench has no worker");
}

failOnUncaughtErrors();

test("from the rail: the kernel that this adapter runs is open, and its table shows what its text declares", async ({ page }) => {
  await page.goto("");
  await page.getByRole("link", { name: "Shaders" }).click();
  await expect(page.getByText("This adapter’s first choice for many query rows.")).toBeVisible({ timeout: 30_000 });
  const names = await kernel(page).getByRole("option").allInnerTexts();
  expect(names.sort()).toEqual(Object.keys(texts).sort());
  for (const name of [await kernel(page).inputValue(), "decode", "merge"]) {
    await kernel(page).selectOption(name);
    await expect(page).toHaveURL(new RegExp(`kernel=${name}#shaders$`));
    const { bindings, constants, entries } = declarationsOf(texts[name], declarationsOf(texts.attend));
    const rows = table(page, /^Bindings/).locator("tbody tr");
    await expect(rows).toHaveCount(bindings.length);
    for (const [i, b] of bindings.entries()) {
      const cells = rows.nth(i).locator("th, td");
      await expect(cells).toHaveCount(6);
      await expect(cells).toContainText([b.name, b.group, b.binding, b.kind, b.type, b.what].map(String));
    }
    await expect(table(page, /^Constants and overrides/).locator("tbody tr")).toHaveCount(constants.length);
    await expect(table(page, /^Workgroup/)).toHaveAccessibleName(
      new RegExp(`entry point ${entries[0].name}, size ${entries[0].workgroupSize.join(" × ")}`),
    );
    expect((await editor(page).innerText()).split("\n")[0]).toBe(texts[name].split("\n")[0]);
  }
  await table(page, /^Bindings/).getByRole("button", { name: "parts_lse" }).click();
  await expect(editor(page)).toBeFocused();
  await expect(page.locator(".cm-activeLine")).toContainText("var<storage, read> parts_lse");
});

test("an error stands at its line, in the editor and in a table, and such a text cannot be kept", async ({ page }) => {
  await opens(page, "?kernel=merge");
  const text = edited("merge", "var top: f32 = NONE;", "var top: f32 = params.none;");
  await write(page, text);
  const line = lineOf(text, "var top: f32");
  await expect(heading(page, `It does not compile: 1 error, the first at line ${line}`)).toBeVisible(LONG);
  await expect(table(page, "What the compiler says").getByRole("row", { name: /struct member none not found/ }))
    .toBeVisible();
  await expect(page.locator(".cm-lintRange-error")).toHaveText("params.none");
  await expect(page.locator(".cm-lint-marker-error")).toHaveCount(1);
  await expect(page.getByRole("status")).toHaveText(/It does not compile/);
  await page.getByRole("button", { name: `Go to line ${line}:` }).click();
  await expect(editor(page)).toBeFocused();
  await expect(page.locator(".cm-activeLine")).toContainText("params.none;");
  await expect(page.getByRole("button", { name: "Keep", exact: true })).toBeDisabled();
  await expect(page.getByText("A text that does not compile can’t be kept.")).toBeVisible();
  await expect(page.locator(".changed-line")).toHaveCount(1);
  // A binding of the host that the text does not use is not part of the pipeline.
  await write(
    page,
    edited("merge", "let part = parts_lse[s * params.rows + row];", "let part = 0.0;").replace(
      "top = max(top, parts_lse[s * params.rows + row]);",
      "top = 0.0;",
    ),
  );
  await expect(table(page, "What the compiler says")).toContainText(
    "declared but not used is not part of a pipeline",
    LONG,
  );
  await page.getByRole("button", { name: "Revert" }).click();
  await expect(page.locator(".cm-lintRange-error")).toHaveCount(0);
  await expect(heading(page, "The shipped text")).toBeVisible();
});

thorough("a renamed variable passes the grid; once chosen, reports name it, also after a reload", async ({ page }) => {
  await opens(page);
  const name = await kernel(page).inputValue();
  const text = edited(name, "kv_head", "head_of_kv");
  await write(page, text);
  await expect(page.getByText("edited", { exact: true })).toBeVisible();
  await expect(heading(page, `Passed: all ${casesOf(name).length} cases agree with float64`)).toBeVisible(LONG);
  const times = table(page, /^Time/);
  await expect(times).toHaveAccessibleName(
    /medians of 9 rounds in turns, by (GPU timestamps|the host’s clock), on .*software/,
  );
  await expect(times.locator("tbody tr")).toHaveCount(2);
  for (const row of await times.locator("tbody tr").all()) {
    const [shipped, own, ratio, , apart] = await row.getByRole("cell").allInnerTexts();
    expect(shipped).toMatch(/^[\d.,]+ m?s$/);
    expect(own).toMatch(/^[\d.,]+ m?s$/);
    expect(Number(ratio)).toBeGreaterThan(0.1);
    expect(apart).toBe("0");
  }
  await page.getByText(`All ${casesOf(name).length} cases of the grid`).click();
  await expect(table(page, /^Grid/).locator("tbody tr")).toHaveCount(casesOf(name).length);
  await page.getByRole("textbox", { name: "Name of the kept kernel" }).fill("renamed");
  await page.keyboard.press("Enter");
  await expect(keptRow(page, "renamed")).toContainText("passed");
  await expect(page).toHaveURL(/text=renamed/);
  await page.getByRole("checkbox", { name: `Runs use renamed in place of ${name}` }).check();

  const small = "?seed=7&T=64&P=32&H=4&Hkv=2&D=16&N=2&wire=f32&link=off";
  const fact = page.getByRole("term").filter({ hasText: /^Kernel$/ }).locator("xpath=following-sibling::dd");
  const run = async () => {
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await expect(heading(page, "Passed: O and LSE agree with float64")).toBeVisible({ timeout: 60_000 });
  };
  await page.goto(small);
  await expect(page.getByRole("note", { name: "Kernels of your own" })).toContainText(`${name} · your kernel renamed`);
  await run();
  await expect(fact).toContainText(`${name}: `);
  await expect(fact).toContainText("· your kernel renamed");
  expect(JSON.parse((await saved(page, page.getByRole("button", { name: "Report as JSON" }))).text).kernel).toContain(
    "· your kernel renamed",
  );
  await page.reload();
  await run();
  await expect(fact).toContainText("· your kernel renamed");

  await page.goto("?H=4&Hkv=2&D=16&N=2&wire=f32&link=off&turns=33.2&prefills=pass-kv#conversation");
  await expect(page.getByRole("note", { name: "Kernels of your own" })).toBeVisible();
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await expect(heading(page, /^Passed/)).toBeVisible({ timeout: 90_000 });
  const { steps } = JSON.parse((await saved(page, page.getByRole("button", { name: "Report as JSON" }))).text);
  expect(steps[0].kernel).toContain("· your kernel renamed");

  await page.getByRole("link", { name: "Lab" }).click();
  await page.getByRole("button", { name: "Use the shipped" }).click();
  await expect(page.getByRole("note", { name: "Kernels of your own" })).toHaveCount(0);
  await run();
  await expect(fact).not.toContainText("your kernel");
  await opens(page, `?kernel=${name}&text=renamed`);
  await expect(page.getByRole("combobox", { name: "Text" })).toHaveValue("renamed");
  await expect(page.getByRole("checkbox")).not.toBeChecked();
});

thorough(
  "a dropped scale fails the grid, is not timed, and is kept only with a mark of failure that every view shows",
  async ({ page }) => {
    await opens(page, "?kernel=decode");
    await write(page, edited("decode", "params.scale * LOG2E", "LOG2E"));
    const all = casesOf("decode").length;
    await expect(heading(page, new RegExp(`^Failed: \\d+ of ${all} cases differ from float64`))).toBeVisible(LONG);
    await expect(page.getByText("Not timed: the time of a wrong kernel means nothing.")).toBeVisible();
    await expect(table(page, /^Cases that failed/).getByRole("row", { name: /D 64.*failed/ }).first()).toBeVisible();
    await expect(table(page, /^Time/)).toHaveCount(0);
    await page.getByRole("textbox", { name: "Name of the kept kernel" }).fill("no scale");
    await page.getByRole("button", { name: "Keep, marked as failing" }).click();
    await expect(keptRow(page, "no scale")).toContainText(/fails \d+ of/);
    await page.getByRole("button", { name: "Use in runs" }).click();
    await page.getByRole("link", { name: "Lab" }).click();
    await expect(page.getByRole("note", { name: "Kernels of your own" })).toContainText(
      "decode · your kernel no scale, which fails the check",
    );
  },
);

test("kept kernels: opened by address, renamed, exported, deleted, restored; edits survive a visit to another view", async ({ page }) => {
  await opens(page, "?seed=9&kernel=merge&text=of+no+such+name");
  await expect(
    page.getByText("This browser keeps no merge named “of no such name”. Here is the shipped text."),
  ).toBeVisible();
  const text = edited("merge", "weight", "share_of");
  await write(page, text);
  await page.getByRole("link", { name: "Planner" }).click();
  await page.getByRole("link", { name: "Shaders" }).click();
  await expect(editor(page)).toContainText("share_of", { timeout: 30_000 });
  await go(page).click();
  await expect(heading(page, /^Passed/)).toBeVisible(LONG);
  expect(await saved(page, page.getByRole("button", { name: "Export .wgsl" }))).toEqual({ name: "merge.wgsl", text });
  await page.getByRole("textbox", { name: "Name of the kept kernel" }).fill("a b");
  await page.getByRole("button", { name: "Keep", exact: true }).click();
  await expect(page).toHaveURL(/[?&]seed=9.*&kernel=merge&text=a\+b(&.*)?#shaders$/);
  await page.reload();
  await expect(editor(page)).toContainText("share_of", { timeout: 30_000 });
  await page.getByRole("combobox", { name: "Text" }).selectOption("as shipped");
  await expect(editor(page)).not.toContainText("share_of");
  await page.getByRole("button", { name: "a b", exact: true }).click();
  await expect(editor(page)).toContainText("share_of");
  await page.getByRole("button", { name: "Rename a b" }).click();
  await expect(page.getByRole("textbox", { name: "New name of a b" })).toBeFocused();
  await page.keyboard.press("ControlOrMeta+a");
  await page.keyboard.type("c");
  await page.keyboard.press("Enter");
  await expect(keptRow(page, "c")).toBeVisible();
  await expect(page).toHaveURL(/text=c[&#]/);
  expect(await saved(page, page.getByRole("button", { name: "Export c" }))).toEqual({ name: "merge-c.wgsl", text });
  await page.getByRole("button", { name: "Delete c" }).click();
  await expect(page.getByText("None yet.")).toBeVisible();
  await page.getByRole("button", { name: "Bring it back" }).click();
  await expect(keptRow(page, "c")).toBeVisible();
});

thorough(
  "an endless loop, a lost device, a silent worker: each ends in an error, and the next trial works",
  async ({ page }) => {
    await opens(page, "?kernel=merge");
    await write(page, edited("merge", "    var top: f32 = NONE;", "    while (true) {}\n    var top: f32 = NONE;"));
    await expect(heading(page, "A loop without end")).toBeVisible(LONG);
    await expect(page.getByText(/a loop took more than 8192 turns/)).toBeVisible();
    await expect(page.getByRole("button", { name: "Keep", exact: true })).toBeDisabled();

    await page.getByRole("button", { name: "Revert" }).click();
    const worker = await benchWorker(page);
    await worker.evaluate(() => {
      const { createCommandEncoder } = GPUDevice.prototype;
      GPUDevice.prototype.createCommandEncoder = function (...args) {
        GPUDevice.prototype.createCommandEncoder = createCommandEncoder;
        this.destroy();
        return createCommandEncoder.apply(this, args);
      };
    });
    await go(page).click();
    await expect(heading(page, "The device was lost")).toBeVisible(LONG);
    await go(page).click();
    await expect(heading(page, /^Passed/)).toBeVisible(LONG);

    await (await benchWorker(page)).evaluate(() => {
      const tell = self.postMessage.bind(self);
      let silent = false;
      self.postMessage = ((told: { readonly kind: string; readonly phase?: string }) => {
        silent ||= told.phase === "check";
        if (!silent) tell(told);
      }) as typeof self.postMessage;
    });
    const began = Date.now();
    await go(page).click();
    await expect(heading(page, "The text did not finish")).toBeVisible(LONG);
    expect(Date.now() - began).toBeLessThan(90_000);
    await expect(page.getByText(/no answer in time \(60 s at compile|no answer in time \(20 s at check/)).toBeVisible();
    await go(page).click();
    await expect(heading(page, /^Passed/)).toBeVisible(LONG);
  },
);

test("without WebGPU the page shows the text, its table and the reason why nothing runs", async ({ page }) => {
  await page.addInitScript(() => Object.defineProperty(Navigator.prototype, "gpu", { value: undefined }));
  await page.goto("#shaders");
  await expect(heading(page, "Nothing runs here")).toBeVisible({ timeout: 15_000 });
  await expect(page.getByText("this browser has no WebGPU", { exact: true })).toBeVisible();
  await expect(go(page)).toBeDisabled();
  await expect(kernel(page)).toHaveValue("attend");
  await expect(table(page, /^Bindings/).locator("tbody tr")).toHaveCount(declarationsOf(texts.attend).bindings.length);
  await write(page, edited("attend", "params: Params", "numbers: Params"));
  await expect(table(page, /^Bindings/)).toContainText("numbers");
  await expect(page.getByRole("button", { name: "Keep", exact: true })).toBeDisabled();
  await axeFindsNothing(page, "no GPU");
});

test("by keyboard alone: into the editor, out of it, and stop a trial", async ({ page }) => {
  await opens(page, "?kernel=merge");
  const focused = (locator: Locator) =>
    locator.evaluateAll((all) =>
      all.some((element) => (element.getRootNode() as ShadowRoot).activeElement === element)
    );
  const tabTo = async (locator: Locator) => {
    for (let i = 0; i < 30; i++) {
      await page.keyboard.press("Tab");
      if (await focused(locator)) return;
    }
    throw new Error(`Tab does not reach ${locator}`);
  };
  await tabTo(editor(page));
  await expect(editor(page)).toHaveAccessibleDescription(/Esc, then Tab, leaves the editor/);
  await page.keyboard.press("ControlOrMeta+Home");
  await page.keyboard.press("Tab");
  await expect(editor(page)).toBeFocused();
  await expect(page.locator(".cm-line").first()).toHaveText(/^ {2}\/\/ /);
  await page.keyboard.press("ControlOrMeta+z");
  await expect(page.getByText("edited", { exact: true })).toHaveCount(0);
  await page.keyboard.press("Escape");
  await page.keyboard.press("Tab");
  await expect(editor(page)).not.toBeFocused();
  await page.keyboard.press("Shift+Tab");
  await expect(editor(page)).toBeFocused();
  await go(page).focus();
  await page.keyboard.press("Enter");
  const stop = page.getByRole("button", { name: "Stop" });
  await expect(stop).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(go(page)).toBeFocused();
  await expect(heading(page, "Stopped")).toBeVisible();
});

for (const width of [1280, 390]) {
  (width === 390 ? thorough : test)(
    `axe finds nothing at ${width} pixels: an error, a pass, a kept text`,
    async ({ page }) => {
      await page.setViewportSize({ width, height: 844 });
      await opens(page, "?kernel=merge");
      await write(page, edited("merge", "var top: f32 = NONE;", "var top: i32 = NONE;"));
      await expect(heading(page, /^It does not compile/)).toBeVisible(LONG);
      await axeFindsNothing(page, "an error");
      await write(page, `${texts.merge}// the same\n`);
      await expect(heading(page, /^Passed/)).toBeVisible(LONG);
      await page.getByRole("textbox", { name: "Name of the kept kernel" }).fill("the same");
      await page.keyboard.press("Enter");
      await expect(keptRow(page, "the same")).toBeVisible();
      await page.getByText(/^All \d+ cases of the grid/).click();
      await axeFindsNothing(page, "a kept text");
      await expectNoWiderThan(page, width);
    },
  );
}
