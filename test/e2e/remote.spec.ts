// The Remote view, as a person uses it, against a real worker: one process on the CPU.
import process from "node:process";
import { expect, type Locator, type Page, test } from "@playwright/test";
import { formatCount, formatError, formatTime } from "../../web/lib/format/format.ts";
import { axeFindsNothing } from "./axe.ts";
import { expectNoWiderThan, failOnUncaughtErrors } from "./page.ts";
import { button, field, lap, saved, terms, verified } from "./remote-page.ts";
import { end, python, reason, start, type Worker } from "./remote-worker.ts";

const small =
  "?work=attend&of=llama3-405b&tokens=300&past=40&qheads=4&kvheads=2&dim=32&ring=3&ways=both&type=f32&mask=1" +
  "&rseed=5&verify=16&net=2e7,0.001";
/** Seconds on one thread: long enough to be cancelled, or to lose its worker. */
const long =
  "?work=attend&of=llama3-405b&tokens=40000&past=0&qheads=16&kvheads=2&dim=64&ring=8&ways=pass-kv&type=f32&mask=1&rseed=5&verify=4&net=off";

let worker: Worker;

async function connect(page: Page, to: Worker = worker): Promise<void> {
  await field(page, "Address").fill(to.address);
  await field(page, "Token").fill(to.token);
  await field(page, "Token").press("Enter");
  await expect(page.getByText(`Connected to ${to.address}`)).toBeVisible({ timeout: 15_000 });
}

failOnUncaughtErrors();

test.describe("with a worker", () => {
  test.beforeAll(async () => {
    test.setTimeout(180_000);
    if (python === undefined) {
      if (process.env.RINGSIDE_WORKER === "required") {
        throw new Error(`the Remote view cannot be tested against a worker: ${reason}`);
      }
      console.error(`\nNOT TESTED: the Remote view against a worker. ${reason}\n`);
      test.skip(true, reason);
      return;
    }
    worker = await start();
  });
  test.afterAll(async () => {
    if (worker !== undefined) await end(worker);
  });

  test("a wrong token is refused at its field; the right one connects, and stays only in memory", async ({ page }) => {
    const addresses: string[] = [];
    page.on("websocket", (socket) => addresses.push(socket.url()));
    await page.goto(`${small}#remote`);
    await expect(button(page, "Run")).toBeDisabled();
    await field(page, "Address").fill(worker.address);
    await field(page, "Token").fill("not-the-token");
    await button(page, "Connect").click();
    await expect(page.getByRole("alert").getByRole("heading", { name: "The worker rejects this token" })).toBeVisible({
      timeout: 15_000,
    });
    await expect(field(page, "Token")).toBeFocused();
    await expect(field(page, "Token")).toHaveAccessibleDescription(/rejects this token/);
    await connect(page);
    const machine = page.getByRole("region", { name: "The machine" });
    await expect(machine).toContainText(worker.facts.torch);
    await expect(machine).toContainText(`Python ${worker.facts.python}`);
    await expect(machine).toContainText("no GPU");
    await expect(page.getByRole("table", { name: /^Kernels/ }).locator("tbody tr")).toHaveCount(
      worker.facts.kernels.length,
    );
    await expect(page.getByRole("table", { name: /^Kernels/ }).getByRole("row", { name: /runs/ })).toHaveCount(
      worker.facts.kernels.filter(({ chosen }) => chosen).length,
    );
    await expect(button(page, "Run")).toBeEnabled();
    const kept = () => page.evaluate(() => JSON.stringify([location.href, { ...sessionStorage }, { ...localStorage }]));
    expect(await kept()).not.toContain(worker.token);
    expect(addresses.join()).not.toContain(worker.token);
    await button(page, "Disconnect").click();
    await page.getByRole("checkbox", { name: "Keep both for this tab" }).check();
    expect(await kept()).toContain(worker.token);
    await page.reload();
    await expect(field(page, "Token")).toHaveValue(worker.token);
    await expect(page.getByText("Not connected to a worker")).toBeVisible();
    await button(page, "Connect").click();
    await expect(page.getByText(`Connected to ${worker.address}`)).toBeVisible({ timeout: 15_000 });
    await button(page, "Disconnect").click();
    await page.getByRole("checkbox", { name: "Keep both for this tab" }).uncheck();
    expect(await kept()).not.toContain(worker.token);
    expect(await kept()).not.toContain("ringside-remote");
  });

  test("one click runs both variants: spans, rows verified here, the comparison, and the saved file", async ({ page }) => {
    await page.goto(`${small}#remote`);
    await connect(page);
    await button(page, "Run").click();
    for (const variant of ["pass-KV", "pass-Q"] as const) {
      await expect(verified(page, variant)).toHaveAccessibleName(`${variant} 16 rows verified`, { timeout: 30_000 });
    }
    const run = JSON.parse(await saved(page, "Save this run"));
    expect(run).toMatchObject({
      format: "ringside-remote-run",
      version: 1,
      facts: { torch: worker.facts.torch },
      experiment: { T: 300, P: 40, N: 3, H: 4, Hkv: 2, D: 32, dtype: "f32", link: { bandwidth: 2e7, latency: 0.001 } },
    });
    expect(JSON.stringify(run)).not.toContain(worker.token);
    for (const [i, variant] of (["pass-KV", "pass-Q"] as const).entries()) {
      const { spans, value, verification } = run.laps[i];
      expect(verification.rows).toHaveLength(16);
      const worst = verification.rows.reduce((
        a: { out: number; allowed: number },
        b: { out: number; allowed: number },
      ) => (b.out / b.allowed > a.out / a.allowed ? b : a));
      await expect(lap(page, variant)).toContainText(`Worst: token ${formatCount(worst.token)}, head ${worst.head}`);
      await expect(lap(page, variant)).toContainText(formatError(worst.out));
      await expect(lap(page, variant)).toContainText(formatTime(value.times.total));
      await expect(page.getByRole("group", { name: `${variant} of 3 ranks, ${spans.length} spans`, exact: false }))
        .toBeVisible();
      const sends = spans.filter(({ kind }: { kind: string }) => kind === "send");
      // The link model is exact: 2e7 bytes a second after a millisecond, one message at a time.
      expect(sends).toHaveLength(6);
      for (const { bytes, duration } of sends) expect(duration).toBeGreaterThanOrEqual(bytes / 2e7 + 0.001 - 1e-9);
      const call = spans.filter(({ kind, rank, hop }: { kind: string; rank: number; hop: number }) =>
        kind === "attend" && rank === 0 && hop === 0
      ).reduce((sum: number, { duration }: { duration: number }) => sum + duration, 0);
      await expect(terms(page, variant).getByRole("row", { name: /^One attention call/ })).toContainText(
        formatTime(call),
      );
    }
    await expect(page.getByText("No row of the planner is a CPU")).toBeVisible();
    await page.getByRole("combobox", { name: "Hardware row to plan on" }).selectOption("h200");
    await expect(page).toHaveURL(/against=h200/);
    await expect(page.getByText("the planner’s simulation on h200 over the experiment’s link")).toBeVisible();
    const before = await terms(page, "pass-Q").innerText();
    await page.getByLabel("Open a recorded run or a GPU check").setInputFiles({
      name: "mine.json",
      mimeType: "application/json",
      buffer: Buffer.from(JSON.stringify(run)),
    });
    await expect(page.getByRole("complementary", { name: "Provenance" })).toContainText("Nothing runs now.");
    await expect(verified(page, "pass-Q")).toHaveAccessibleName("pass-Q 16 rows verified");
    expect((await terms(page, "pass-Q").innerText()).replace("Recorded", "Measured")).toBe(before);
    await button(page, "Close the recorded run").click();
    await expect(button(page, "Save this run")).toBeVisible();
  });

  test("a long run shows progress and spans as they arrive, cancels within a second, and leaves the worker ready", async ({ page }) => {
    await page.goto(`${long}#remote`);
    await connect(page);
    await button(page, "Run").click();
    await expect(lap(page, "pass-KV").getByRole("progressbar")).toHaveAttribute("max", /\d+/, { timeout: 20_000 });
    await expect(page.getByRole("img", { name: /^rank 0, hop 0, attend/ }).first()).toBeVisible({ timeout: 20_000 });
    await expect(lap(page, "pass-KV").getByRole("progressbar")).toBeVisible();
    const began = Date.now();
    await button(page, "Cancel").click();
    await expect(lap(page, "pass-KV")).toContainText("Cancelled. The", { timeout: 5000 });
    expect(Date.now() - began).toBeLessThan(3000);
    await expect(button(page, "Run")).toBeFocused();
    await page.goto(`${small.replace("ways=both", "ways=pass-q")}#remote`);
    await connect(page);
    await button(page, "Run").click();
    await expect(verified(page, "pass-Q")).toBeVisible({ timeout: 30_000 });
  });

  test("a second client waits, sees its place in the queue, and runs when the first is done", async ({ page, context }) => {
    await page.goto(`${long}#remote`);
    await connect(page);
    const other = await context.newPage();
    await other.goto(`${small}#remote`);
    await connect(other);
    await button(page, "Run").click();
    await expect(lap(page, "pass-KV").getByRole("progressbar")).toHaveAttribute("max", /\d+/, { timeout: 20_000 });
    await button(other, "Run").click();
    await expect(lap(other, "pass-KV")).toContainText("queued behind one run", { timeout: 10_000 });
    await button(page, "Cancel").click();
    await expect(verified(other, "pass-Q")).toBeVisible({ timeout: 30_000 });
    await other.close();
  });

  test("a run that does not fit says what it needs and what there is, and a button takes a size that fits", async ({ page }) => {
    const limited = await start("--memory-limit", "200000000");
    try {
      await page.goto(`${small.replace("tokens=300", "tokens=1000000").replace("ways=both", "ways=pass-kv")}#remote`);
      await connect(page, limited);
      await button(page, "Run").click();
      await expect(lap(page, "pass-KV").getByRole("heading", { name: "It does not fit this machine" })).toBeVisible({
        timeout: 15_000,
      });
      await expect(lap(page, "pass-KV")).toContainText(/needs [\d.]+ GB .*found 200 MB free/);
      const take = button(page, /^Take [\d,]+ new tokens$/);
      const tokens = (await take.innerText()).match(/[\d,]+/)![0];
      await take.click();
      await expect(field(page, "New tokens T")).toHaveValue(tokens);
    } finally {
      await end(limited);
    }
  });

  test("a worker dies during a run: the run fails, the page tries again, then says that the connection is lost", async ({ page }) => {
    const doomed = await start();
    await page.goto(`${long}#remote`);
    await connect(page, doomed);
    await button(page, "Run").click();
    await expect(page.getByRole("img", { name: /^rank 0, hop 0, attend/ }).first()).toBeVisible({ timeout: 20_000 });
    await end(doomed, "SIGKILL");
    await expect(lap(page, "pass-KV").getByRole("heading", { name: "The run ended with the connection" })).toBeVisible({
      timeout: 10_000,
    });
    await expect(page.getByText(`The connection to ${doomed.address} was lost: trying again`)).toBeVisible();
    await expect(page.getByRole("img", { name: /^rank 0, hop 0, attend/ }).first(), "what had come stays")
      .toBeVisible();
    await expect(page.getByRole("alert").getByRole("heading", { name: "The connection was lost" })).toBeVisible({
      timeout: 40_000,
    });
    await expect(button(page, "Run")).toBeDisabled();
    await connect(page);
    await expect(button(page, "Run")).toBeEnabled();
  });

  test("an address where nothing listens, and no address: each error stands at its field", async ({ page }) => {
    await page.goto("#remote");
    await field(page, "Address").fill("ws://user:secret@127.0.0.1:1");
    await button(page, "Connect").click();
    await expect(field(page, "Address")).toHaveAccessibleDescription(/expected ws:\/\/HOST:PORT/);
    await expect(page.getByRole("alert")).not.toContainText("secret");
    await field(page, "Address").fill("127.0.0.1:1");
    await field(page, "Token").fill("x".repeat(43));
    await button(page, "Connect").click();
    await expect(page.getByRole("alert")).toContainText("No worker answers at ws://127.0.0.1:1", { timeout: 20_000 });
    await expect(field(page, "Address")).toBeFocused();
  });

  test("by keyboard alone: connect, run, cancel, choose a preset", async ({ page }) => {
    await page.goto(`${long}#remote`);
    await expect(field(page, "Token")).toBeVisible();
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
    await tabTo(field(page, "Address"));
    await page.keyboard.type(worker.address);
    await tabTo(field(page, "Token"));
    await page.keyboard.type(worker.token);
    await page.keyboard.press("Enter");
    await expect(button(page, "Disconnect")).toBeFocused({ timeout: 15_000 });
    await tabTo(button(page, "Run"));
    await page.keyboard.press("Enter");
    await expect(button(page, "Cancel")).toBeFocused();
    await expect(page.getByRole("status").filter({ hasText: "pass-KV: running." })).toHaveCount(1, { timeout: 20_000 });
    await page.keyboard.press("Enter");
    await expect(page.getByRole("status").filter({ hasText: "pass-KV: cancelled." })).toHaveCount(1, { timeout: 5000 });
    await expect(button(page, "Run")).toBeFocused();
    await tabTo(button(page, "1K"));
    await page.keyboard.press("Space");
    await expect(button(page, "1K")).toHaveAttribute("aria-pressed", "true");
    await expect(page).toHaveURL(/tokens=1000&/);
    await tabTo(button(page, "Run"));
    await page.keyboard.press("Enter");
    await expect(verified(page, "pass-Q")).toBeVisible({ timeout: 30_000 });
    await tabTo(lap(page, "pass-Q").locator("summary"));
    await page.keyboard.press("Enter");
    await expect(page.getByRole("table", { name: "Verified rows of pass-Q" }).getByRole("row")).toHaveCount(65);
  });

  test("axe finds nothing: refused, connected, wrong input, running, narrow", async ({ page }) => {
    await page.goto(`${small}#remote`);
    await field(page, "Address").fill(worker.address);
    await field(page, "Token").fill("wrong");
    await button(page, "Connect").click();
    await expect(page.getByRole("alert")).toBeVisible({ timeout: 15_000 });
    await axeFindsNothing(page, "refused");
    await connect(page);
    await field(page, "Query heads H").fill("3");
    await field(page, "Query heads H").press("Tab");
    await axeFindsNothing(page, "connected, wrong input");
    await field(page, "Query heads H").fill("4");
    await field(page, "Query heads H").press("Enter");
    await expect(verified(page, "pass-Q")).toBeVisible({ timeout: 30_000 });
    await expect(terms(page, "pass-Q")).toBeVisible();
    await lap(page, "pass-Q").locator("summary").click();
    await axeFindsNothing(page, "done");
    await page.setViewportSize({ width: 390, height: 844 });
    await axeFindsNothing(page, "narrow");
    await expectNoWiderThan(page, 390);
  });
});
