// The Remote view, as a person uses it, without a worker: what it asks for, recorded runs and the GPU check.
import { readFile } from "node:fs/promises";
import { expect, test } from "@playwright/test";
import { formatCount, formatTime } from "../../web/lib/format/format.ts";
import { axeFindsNothing } from "./axe.ts";
import { expectNoWiderThan, failOnUncaughtErrors } from "./page.ts";
import { button, field, lap, saved, terms, verified } from "./remote-page.ts";

failOnUncaughtErrors();

test("without a worker: the command that starts one, and the size of the experiment", async ({ page }) => {
  const loaded: string[] = [];
  page.on("request", (request) => loaded.push(new URL(request.url()).pathname));
  await page.goto("");
  await page.getByRole("link", { name: "Conversation" }).waitFor();
  expect(
    loaded.filter((url) => /remote|schema/i.test(url)),
    "neither the view nor the client is part of the first load",
  ).toEqual([]);
  await page.getByRole("link", { name: "Remote" }).click();
  await expect(page.getByText("python -m ringside_worker", { exact: true })).toBeVisible();
  await expect(button(page, "Copy")).toBeVisible();
  await expect(button(page, "Run")).toBeDisabled();
  await expect(button(page, "128K")).toHaveAttribute("aria-pressed", "true");
  await expect(page.getByRole("region", { name: "The same experiment on a real machine" })).toContainText("67.1 TFLOP");
  await button(page, "The Lab’s").click();
  await expect(field(page, "New tokens T")).toHaveValue("512");
  await expect(page).toHaveURL(/tokens=512&past=1536/);
});

test("without a token, or with an impossible one, the page connects to nothing and says so at the field", async ({ page }) => {
  const sockets: string[] = [];
  page.on("websocket", (socket) => sockets.push(socket.url()));
  await page.goto("#remote");
  for (const [token, found] of [["", "found none"], ["two words", "found a blank"]]) {
    await field(page, "Token").fill(token);
    await button(page, "Connect").click();
    await expect(page.getByRole("alert")).toContainText("This is not the token of a worker");
    await expect(field(page, "Token")).toHaveAccessibleDescription(new RegExp(found));
    await expect(field(page, "Token")).toBeFocused();
  }
  expect(sockets).toEqual([]);
});

test("the recorded run needs no machine, is marked as recorded, and has its own link", async ({ page }) => {
  const file = JSON.parse(await readFile("web/views/remote/runs/cpu-4-ranks.json", "utf8"));
  await page.goto("#remote");
  await button(page, "Recorded: 4 gloo ranks on a CPU").click();
  const banner = page.getByRole("complementary", { name: "Provenance" });
  await expect(banner).toContainText(`torch ${file.facts.torch}`);
  await expect(banner).toContainText(file.provenance.worker);
  await expect(banner).toContainText("November 2026");
  await expect(page).toHaveURL(/run=cpu-4-ranks/);
  await expect(field(page, "New tokens T")).toHaveValue(formatCount(file.experiment.T));
  for (const [i, variant] of (["pass-KV", "pass-Q"] as const).entries()) {
    await expect(verified(page, variant)).toHaveAccessibleName(
      `${variant} ${file.laps[i].verification.rows.length} rows verified`,
    );
    await expect(lap(page, variant)).toContainText(formatTime(file.laps[i].value.times.total));
    await expect(
      page.getByRole("group", {
        name: `${variant}, recorded of 4 ranks, ${file.laps[i].spans.length} spans`,
        exact: false,
      }),
    ).toBeVisible();
    await expect(terms(page, variant).getByRole("columnheader", { name: "Recorded" })).toBeVisible();
  }
  const trace = JSON.parse(await saved(page, "Trace of pass-Q for Perfetto"));
  expect(trace.traceEvents.filter(({ ph }: { ph: string }) => ph === "X")).toHaveLength(file.laps[1].spans.length);
  await page.reload();
  await expect(banner).toBeVisible();
  await button(page, "Close the recorded run").click();
  await expect(banner).toHaveCount(0);
  await expect(page).not.toHaveURL(/run=/);
  await button(page, "Recorded: 4 gloo ranks on a CPU").click();
  await expect(terms(page, "pass-Q"), "what was closed opens again, whole").toBeVisible();
});

test("files of another format are refused with what was found; the GPU check's document is shown", async ({ page }) => {
  await page.goto("#remote");
  const open = (name: string, content: string) =>
    page.getByLabel("Open a recorded run or a GPU check").setInputFiles({
      name,
      mimeType: "application/json",
      buffer: Buffer.from(content),
    });
  await open("notes.json", "{not json");
  await expect(page.getByRole("alert")).toContainText("notes.json cannot be opened");
  await expect(page.getByRole("alert")).toContainText("found no JSON");
  await open("other.json", JSON.stringify({ format: "other" }));
  await expect(page.getByRole("alert")).toContainText('format: found "other", expected "ringside-remote-run"');
  const { facts } = JSON.parse(await readFile("web/views/remote/runs/cpu-4-ranks.json", "utf8"));
  await open(
    "check.json",
    JSON.stringify({
      what: "ringside_worker.gpu_check",
      version: 1,
      date: "2026-11-23T04:00:00+00:00",
      ranOnGpu: false,
      note: "not run on a GPU: tiny sizes on a CPU",
      machine: facts,
      skipped: [],
      bars: [{
        name: "one call over the product",
        sense: "at least",
        bar: 0.7,
        found: null,
        passed: null,
        why: "not run on a GPU",
      }],
      attention: [{
        tokens: 640,
        flops: 1e9,
        single: { seconds: 0.002, rate: 5e11, error: 1e-3 },
        rings: [{ ranks: 8, deviceSeconds: 0.004, ofSingle: 2, error: 1e-3 }],
      }],
    }),
  );
  await expect(page.getByRole("alert")).toHaveCount(0);
  await expect(page.getByRole("heading", { name: "GPU check not run on a GPU" })).toBeVisible();
  await expect(page.getByRole("table", { name: "Bars" }).getByRole("row", { name: /^one call/ })).toContainText(
    "at least 0.7",
  );
  await expect(page.getByRole("table", { name: "Attention of 640 tokens" }).getByRole("row", { name: /^Ring, N = 8/ }))
    .toContainText("2.000");
  await axeFindsNothing(page, "a GPU check");
});

test("the shipped GPU check: its machine, its bars, and its own link", async ({ page }) => {
  const file = JSON.parse(await readFile("cuda-bridge/results/h200.json", "utf8"));
  await page.goto("#remote");
  await button(page, "Recorded: GPU check on an NVIDIA H200").click();
  await expect(page.getByRole("complementary", { name: "Provenance" })).toContainText("NVIDIA H200");
  await expect(page.getByRole("heading", { name: "GPU check", exact: true })).toBeVisible();
  await expect(page.getByRole("table", { name: "Bars" }).getByRole("row")).toHaveCount(file.bars.length + 1);
  await expect(page.getByRole("table", { name: "Bars" }).getByText("met", { exact: true })).toHaveCount(
    file.bars.filter((bar: { passed: boolean }) => bar.passed).length,
  );
  await expect(page.getByRole("heading", { name: "Left out" })).toBeVisible();
  await expect(page).toHaveURL(/run=h200-check/);
  await page.reload();
  await expect(page.getByRole("heading", { name: "GPU check", exact: true })).toBeVisible();
  await axeFindsNothing(page, "the GPU check that ships");
});

test("axe finds nothing: empty, and the recorded run", async ({ page }) => {
  await page.goto("#remote");
  await expect(button(page, "Copy")).toBeVisible();
  await axeFindsNothing(page, "empty");
  await page.goto("?run=cpu-4-ranks#remote");
  await expect(terms(page, "pass-Q")).toBeVisible();
  await axeFindsNothing(page, "recorded");
  await page.setViewportSize({ width: 390, height: 844 });
  await axeFindsNothing(page, "narrow");
  await expectNoWiderThan(page, 390);
});
