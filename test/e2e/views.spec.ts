// What all views share: the policy they are served under, their titles, the browser's history, and what a file shows.
import { fileURLToPath } from "node:url";
import { expect, type Page, test } from "@playwright/test";
import { writeNpy } from "../../engine/tensor/npy.ts";

const query = "?seed=3&T=32&P=16&H=2&Hkv=1&D=16&N=2&variant=pass-q&wire=f32&link=off&backend=cpu";

async function go(page: Page, view: string): Promise<void> {
  await page.getByRole("navigation", { name: "Views" }).getByRole("link", { name: view }).click();
  await there(page, view);
}

async function there(page: Page, view: string): Promise<void> {
  await expect(page.getByRole("main")).toHaveAccessibleName(view);
  await expect(page).toHaveTitle(`Ringside · ${view}`);
}

/** Every violation of the policy, in the page and in the messages of its workers. */
async function violations(page: Page): Promise<string[]> {
  const found: string[] = [];
  await page.exposeFunction("violated", (what: string) => found.push(what));
  await page.addInitScript(() =>
    addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI, sourceFile }) => {
      (globalThis as unknown as { violated(what: string): void }).violated(
        `${violatedDirective}: ${blockedURI} in ${sourceFile}`,
      );
    })
  );
  page.on("console", (message) => /Content.Security.Policy/i.test(message.text()) && found.push(message.text()));
  return found;
}

test("page, scripts and workers come with the policy, and the page itself holds it for other servers", async ({ page, request }) => {
  const answer = await request.get("/");
  const header = answer.headers()["content-security-policy"];
  expect(header).toContain("script-src 'self';");
  expect(header).toContain("frame-ancestors 'none'");
  expect(answer.headers()["x-content-type-options"]).toBe("nosniff");
  const html = await answer.text();
  const [, script] = /<script[^>]* src="\.\/([^"]+)"/.exec(html)!;
  const asset = await request.get(`/${script}`);
  expect(asset.headers()["content-security-policy"]).toBe(header);
  expect(asset.headers()["x-content-type-options"]).toBe("nosniff");
  await page.goto("/");
  const held = page.locator("meta[http-equiv='Content-Security-Policy']");
  await expect(held).toHaveAttribute("content", header.replace("; frame-ancestors 'none'", ""));
  expect(html).not.toMatch(/<script(?![^>]* src=)|\son\w+=/);
  // The policy is in force: a script injected into the page does not run.
  expect(
    await page.evaluate(() => {
      const script = document.createElement("script");
      script.textContent = "globalThis.injected = true";
      document.body.append(script);
      return (globalThis as { injected?: boolean }).injected;
    }),
  ).toBeUndefined();
});

test("every view works under the policy: runs, workers, pictures, downloads, Perfetto, the editor, Remote", async ({ page }) => {
  test.setTimeout(120_000);
  const found = await violations(page);
  for (const backend of ["cpu", "webgpu"]) {
    await page.goto(query.replace("cpu", backend));
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await expect(page.getByRole("heading", { name: "Passed: O and LSE agree with float64" })).toBeVisible({
      timeout: 40_000,
    });
  }
  for (const name of ["Stage as PNG", "Report as JSON"]) {
    await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
  }
  const [perfetto] = await Promise.all([
    page.waitForEvent("popup"),
    page.getByRole("button", { name: /in Perfetto/ }).click(),
  ]);
  await perfetto.close();
  await go(page, "Step");
  await go(page, "Conversation");
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await expect(page.getByRole("heading", { name: /^Passed/ })).toBeVisible({ timeout: 40_000 });
  await go(page, "Check");
  await expect(page.getByRole("heading", { name: "Check your own context-parallel attention" })).toBeVisible();
  await go(page, "Planner");
  await expect(page.getByRole("heading", { name: /^TTFT/ }).first()).toBeVisible({ timeout: 20_000 });
  await go(page, "Remote");
  await page.getByLabel("Token", { exact: true }).fill("x".repeat(32));
  await page.getByLabel("Address").fill("ws://127.0.0.1:4198");
  await page.getByRole("button", { name: "Connect", exact: true }).click();
  await expect(page.getByRole("alert")).toContainText("No worker answers", { timeout: 20_000 });
  await go(page, "Shaders");
  await expect(page.locator(".cm-content")).toBeVisible({ timeout: 20_000 });
  await expect(page.locator(".cm-content")).toHaveCSS("font-size", "12px");
  await go(page, "Learn");
  await expect(page.getByRole("heading", { level: 2 }).nth(1)).toBeVisible({ timeout: 20_000 });
  expect(found).toEqual([]);
});

test("Back and Forward go through the views, whatever each view wrote into the address", async ({ page }) => {
  await page.goto(query);
  await there(page, "Lab");
  const visited = ["Lab", "Planner", "Step", "Learn", "Conversation", "Planner"];
  for (const view of visited.slice(1)) {
    await go(page, view);
    if (view === "Planner") await expect(page).toHaveURL(/model=/);
    // Learn writes its sliders, Conversation its fields.
    if (view === "Learn") await page.getByRole("slider").first().press("ArrowRight");
  }
  for (const view of visited.slice(0, -1).reverse()) {
    await page.goBack();
    await there(page, view);
  }
  expect(new URL(page.url()).search).toBe(query);
  for (const view of visited.slice(1)) {
    await page.goForward();
    await there(page, view);
  }
});

test("another view's change of the address keeps the Lab's files and typed text", async ({ page }) => {
  await page.goto(query);
  const file = (name: string, heads: number) => {
    const bytes = writeNpy([8, heads, 16], new Float32Array(8 * heads * 16));
    return { name, mimeType: "application/octet-stream", buffer: Buffer.from(bytes) };
  };
  await page.getByLabel(/^(Use your own|Choose other) files …$/).setInputFiles([
    file("q.npy", 2),
    file("k.npy", 1),
    file("v.npy", 1),
  ]);
  const own = page.getByRole("form", { name: "Experiment" });
  await expect(own).toContainText("inputs from q.npy, k.npy and v.npy");
  await go(page, "Planner");
  await expect(page).toHaveURL(/model=/);
  await go(page, "Lab");
  await expect(own).toContainText("inputs from q.npy, k.npy and v.npy");
  await page.goBack();
  await page.goBack();
  await there(page, "Lab");
  await expect(own).toContainText("inputs from q.npy, k.npy and v.npy");
});

test("opened from a file, the page says in one line why it is empty", async ({ page }) => {
  await page.goto(new URL("../../web/dist/index.html", import.meta.url).href);
  await expect(page.getByText(/^Ringside has not loaded\. .* Run “npm start” in its folder/)).toBeVisible({
    timeout: 10_000,
  });
  expect(fileURLToPath(page.url())).toContain("index.html");
});
