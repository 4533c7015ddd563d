// Check, as a person uses it: files in, a verdict, a fault's name; the settings in the link.
import { gzipSync } from "node:zlib";
import { expect, type Page, test } from "@playwright/test";
import { Setting } from "../../engine/reference/compare/setting.ts";
import { writeNpy } from "../../engine/tensor/npy.ts";
import { seededRows } from "../../engine/tensor/seeded.ts";
import { writeSafetensors } from "../../engine/tensor/safetensors.ts";
import { checkCase, D, H, N } from "../check-case.ts";
import { axeFindsNothing } from "./axe.ts";
import { expectNoWiderThan, failOnUncaughtErrors } from "./page.ts";

const T = 64;
const { sequences, part, ...made } = checkCase(T);
const te = new Setting("te", N, "pass-kv", sequences);
const file = (name: string, bytes: Uint8Array) => ({
  name,
  mimeType: "application/octet-stream",
  buffer: Buffer.from(bytes),
});
const inputs = file("qkv.safetensors", made.inputs);

const right = file("out.safetensors", writeSafetensors(part(Array.from({ length: T }, (_, row) => row))));
const partials = te.rows.flatMap((_, rank) =>
  te.rows.map((_, hop) => {
    const { queries, keys } = te.meets(rank, hop);
    const scale = rank === 2 && hop === 1 ? 1 : undefined;
    return file(`p_r${rank}_h${hop}.safetensors`, writeSafetensors(part(te.rows[queries], te.keys[keys], scale)));
  })
);
const shards = te.rows.map((own, rank) => {
  const { o } = part(own, undefined, 1);
  return file(`o_rank${rank}.npy`, writeNpy(o.shape, o.data));
});

const choose = (page: Page, files: (typeof right)[]) => page.getByLabel("Choose files").setInputFiles(files);
const check = (page: Page) => page.getByRole("button", { name: "Check", exact: true });

failOnUncaughtErrors();

test("empty, it says what to drop; a right result agrees, on this machine's adapter", async ({ page }) => {
  await page.goto("/#check");
  await expect(page.getByRole("heading", { name: "Check your own context-parallel attention" })).toBeVisible();
  await expect(check(page)).toBeDisabled();
  await expect(page.getByText("Still missing: q, k and v; their result.")).toBeVisible();
  await axeFindsNothing(page, "empty");
  await choose(page, [inputs]);
  await expect(page.getByText("Still missing: their result.")).toBeVisible();
  await choose(page, [right]);
  await expect(page.getByText("their O and LSE")).toBeVisible();
  await check(page).click();
  await expect(
    page.getByRole("heading", { name: "Agrees: all 256 rows and heads of O and LSE are within their bound." }),
  )
    .toBeVisible({ timeout: 30_000 });
  await expect(page.getByText("npx ringside-cp compare --tensors qkv.safetensors --theirs out.safetensors"))
    .toBeVisible();
  await axeFindsNothing(page, "agrees");
  // Another view and back: files and result stay.
  await page.getByRole("link", { name: "Learn" }).click();
  await page.getByRole("link", { name: "Check" }).click();
  await expect(page.getByRole("heading", { name: /^Agrees/ })).toBeVisible();
});

test("partials by rank and hop: a planted fault is located and named, and the picture crosses its blocks", async ({ page }) => {
  await page.goto("/?layout=te&backend=cpu#check");
  await choose(page, [inputs, ...partials]);
  await expect(page.getByText("their O and LSE of rank 2, hop 1")).toBeVisible();
  await check(page).click();
  await expect(
    page.getByRole("heading", { name: /^Differs, first at rank 2, hop 1, token 16, head 0: .* scale-missing/ }),
  )
    .toBeVisible({ timeout: 30_000 });
  await expect(page.getByRole("listitem").filter({ hasText: "scale-missing" })).toContainText("100 %");
  const grid = page.getByRole("table", { name: /^Wrong rows and heads/ });
  await expect(grid.getByRole("row").nth(3)).toContainText("100 %");
  await expect(grid.getByText("✗")).toHaveCount(1);
  const story = page.getByRole("table", { name: "The first wrong row" });
  await expect(story.getByRole("row").nth(2)).toContainText("✗ LSE");
  await expect(story.getByText("✗")).toHaveCount(1);
  await expect(page.getByText("Crossed: 2 blocks with wrong rows.")).toBeVisible();
  // The block under the keyboard stays while the grid follows it.
  const mask = page.getByRole("group", { name: /^Mask: 8 query chunks by 8 key chunks/ });
  await mask.focus();
  await mask.press("ArrowRight");
  await expect(page.getByText(/^queries 0–7 × keys 0–7: rank 0, hop 0/)).toBeVisible();
  await mask.press("ArrowDown");
  await expect(page.getByText(/^queries 8–15 × keys 0–7: rank 1, hop 1/)).toBeVisible();
  await axeFindsNothing(page, "differs");
  await page.setViewportSize({ width: 390, height: 844 });
  await expectNoWiderThan(page, 390);
});

test("shards by rank set the number of ranks; without a layout the sentence asks for it", async ({ page }) => {
  await page.goto("/?backend=cpu#check");
  await choose(page, [inputs, ...shards]);
  await expect(page.getByRole("alert")).toContainText("Layout: found none, expected the layout of these files by rank");
  await page.getByLabel("Layout").selectOption("te");
  await expect(page.getByLabel("Ranks N")).toHaveValue("4");
  await check(page).click();
  await expect(
    page.getByRole("heading", { name: /^Differs, first at rank 0, token \d+, head 0: .*scale-missing explains 100 %/ }),
  )
    .toBeVisible({ timeout: 30_000 });
  // A changed setting leaves the result, and says that it is of other settings.
  await page.getByRole("combobox", { name: "Mask" }).fill("full");
  await page.getByRole("combobox", { name: "Mask" }).blur();
  await expect(page.getByText("Files or settings have changed since this result.")).toBeVisible();
});

test("a link restores the settings, and an edit changes the link", async ({ page }) => {
  await page.goto("/?layout=striped&ranks=8&partials=pass-q&sees=window:64%2B4&rounded=bf16#check");
  await expect(page.getByLabel("Layout")).toHaveValue("striped");
  await expect(page.getByLabel("Ranks N")).toHaveValue("8");
  await expect(page.getByLabel("Variant")).toHaveValue("pass-q");
  await expect(page.getByLabel("Mask")).toHaveValue("window:64+4");
  await expect(page.getByLabel("Type")).toHaveValue("bf16");
  await page.getByLabel("Ranks N").fill("3");
  await page.getByLabel("Ranks N").blur();
  await expect(page).toHaveURL(/ranks=3/);
});

test("wrong files give one clear line, and removing them helps", async ({ page }) => {
  await page.goto("/?backend=cpu#check");
  await choose(page, [inputs, file("model.pt", new Uint8Array(8))]);
  await expect(page.getByRole("alert")).toContainText("model.pt: found no .npy, .npz or .safetensors");
  await page.getByRole("button", { name: "Forget model.pt" }).click();
  await expect(page.getByRole("alert")).toHaveCount(0);
  await choose(page, [file("o.npy", writeNpy([T, H, D + 4], new Float32Array(T * H * (D + 4))))]);
  await check(page).click();
  await expect(page.getByRole("alert")).toContainText("o.npy: found shape [64, 4, 20], expected [64, 4, 16]", {
    timeout: 20_000,
  });
  await axeFindsNothing(page, "failed");
  await choose(page, [file("broken.safetensors", new Uint8Array(40))]);
  await expect(page.getByRole("alert")).toContainText("broken.safetensors: cannot be read");
});

test("a check can be cancelled, and started again", async ({ page }) => {
  await page.goto("/?backend=cpu#check");
  const long = 3000;
  const big = (name: "q" | "k" | "v") =>
    file(`${name}.npy`, writeNpy([long, 8, 64], seededRows(1, name, 0, long, 512)));
  await choose(page, [
    big("q"),
    big("k"),
    big("v"),
    file("o.npy", writeNpy([long, 8, 64], new Float32Array(long * 512))),
  ]);
  await check(page).click();
  await expect(page.getByRole("heading", { name: "Checking" })).toBeVisible();
  await axeFindsNothing(page, "running");
  await page.getByRole("button", { name: "Cancel", exact: true }).click();
  await expect(page.getByRole("heading", { name: "Cancelled" })).toBeVisible();
  await axeFindsNothing(page, "cancelled");
  await expect(check(page)).toBeEnabled();
});

test("Layouts: a link shows two side by side and what moves; a refused length is one line; Back leaves the part", async ({ page }) => {
  await page.goto("/?backend=cpu#check");
  await page.getByRole("button", { name: "Layouts" }).click();
  await expect(page).toHaveURL(/part=layouts/);
  await expect(page.getByText("768 of 1,024 tokens move to another rank, in 48 contiguous runs")).toBeVisible();
  await page.getByLabel("Tokens of each sequence").fill("1024,300");
  await page.getByLabel("Tokens of each sequence").blur();
  await page.getByLabel("Second layout", { exact: true }).selectOption("zigzag");
  await expect(page.getByRole("region", { name: "zigzag" }))
    .toContainText("layout zigzag: found a sequence of 300 tokens, expected a multiple of 8");
  await page.getByLabel("Second layout", { exact: true }).selectOption("striped");
  await expect(page.getByRole("region", { name: "striped over 4 ranks" })).toContainText("1.00");
  await axeFindsNothing(page, "layouts");
  const link = page.url();
  await page.goto("/");
  await page.goto(link);
  await expect(page.getByLabel("Second layout", { exact: true })).toHaveValue("striped");
  await expect(page.getByRole("table", { name: /^Tokens from rank to rank/ }).getByRole("row")).toHaveCount(5);
  await expect(page.getByText("--layout te --ranks 4 --sequences 1024,300 --to striped")).toBeVisible();
  await page.setViewportSize({ width: 390, height: 844 });
  await expectNoWiderThan(page, 390);
  await page.getByRole("button", { name: "Result" }).click();
  await expect(page.getByRole("heading", { name: "Check your own context-parallel attention" })).toBeVisible();
  await page.goBack();
  await expect(page.getByLabel("First layout", { exact: true })).toBeVisible();
});

test("Traces: hidden and exposed time by hop and rank, the timeline, and wrong files in one line", async ({ page }) => {
  const trace = (rank: number) => {
    const event = (cat: string, name: string, ts: number, dur: number) => ({ ph: "X", cat, name, ts, dur, args: {} });
    const events = [1, 2].flatMap((step) => [
      event("user_annotation", `ProfilerStep#${step}`, 5000 * step - 10, 2500),
      event("kernel", "flash_fwd_kernel", 5000 * step, 1000),
      event("kernel", "ncclDevKernel_SendRecv", 5000 * step, 1400),
      event("kernel", "flash_fwd_kernel", 5000 * step + 1401, 900),
    ]);
    return JSON.stringify({ distributedInfo: { rank, world_size: 2 }, traceEvents: events });
  };
  await page.goto("/?part=traces#check");
  await expect(page.getByRole("heading", { name: "See what your run waited for" })).toBeVisible();
  await axeFindsNothing(page, "traces, empty");
  const chosen = page.getByLabel("Choose traces");
  await chosen.setInputFiles([file("rank0.json", Buffer.from("{}"))]);
  await expect(page.getByRole("alert")).toContainText("rank0.json: found no traceEvents");
  await chosen.setInputFiles([
    file("rank0.json.gz", gzipSync(trace(0))),
    file("rank1.json", Buffer.from(trace(1))),
  ]);
  await expect(
    page.getByRole("heading", { name: /^28.6 % of the communication is exposed: the ranks waited 800 µs of 2.80 ms/ }),
  )
    .toBeVisible({ timeout: 20_000 });
  const hops = page.getByRole("table", { name: /^Communication by hop and rank/ });
  await expect(hops.getByRole("row").nth(1)).toContainText("400 µs exposed");
  await expect(hops.getByRole("row").nth(1)).toContainText("1.00 ms hidden");
  await page.getByLabel("Step", { exact: true }).selectOption("2");
  await expect(page.getByRole("heading", { name: "Timeline of the step" })).toBeVisible();
  await expect(page.getByText("npx ringside-cp trace rank0.json.gz rank1.json")).toBeVisible();
  await axeFindsNothing(page, "traces");
  await page.setViewportSize({ width: 390, height: 844 });
  await expectNoWiderThan(page, 390);
});
