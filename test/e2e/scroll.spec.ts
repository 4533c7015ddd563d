// Every scrolling box of the page can be scrolled with the keyboard, at any width and with any font.
import { expect, type Page, test } from "@playwright/test";

const query = "?seed=3&T=96&P=64&H=4&Hkv=2&D=16&N=4&variant=pass-q&wire=f32&link=1e6,0.001&backend=cpu";
const VIEWS = ["lab", "step", "conversation", "planner", "remote", "shaders", "learn"];
const SIZES = [{ width: 1440, height: 900 }, { width: 1280, height: 720 }, { width: 390, height: 844 }];

interface Box {
  readonly at: string;
  readonly focusable: boolean;
  readonly named: boolean;
}

/** Every box with hidden content that it can scroll to, in all shadow trees. */
async function boxes(page: Page): Promise<Box[]> {
  return await page.evaluate(() => {
    const found: Box[] = [];
    const say = (element: Element, path: string) => [`${path} ${element.localName}`, ...element.classList].join(".");
    const look = (root: Document | ShadowRoot, path: string): void => {
      for (const element of root.querySelectorAll<HTMLElement>("*")) {
        const { overflowX, overflowY } = getComputedStyle(element);
        const moves = (overflow: string) => overflow === "auto" || overflow === "scroll";
        const [wide, tall] = [element.scrollWidth > element.clientWidth, element.scrollHeight > element.clientHeight];
        const scrolls = (wide && moves(overflowX)) || (tall && moves(overflowY));
        // The editor's text has the focus, and its caret scrolls it.
        const editor = element.querySelector("[contenteditable='true']") !== null;
        if (scrolls && element.checkVisibility() && !editor) {
          const named = element.hasAttribute("aria-label") || element.hasAttribute("aria-labelledby");
          found.push({ at: say(element, path), focusable: element.tabIndex === 0, named });
        }
        if (element.shadowRoot !== null) look(element.shadowRoot, `${path} ${element.localName}`);
      }
    };
    look(document, "");
    return found;
  });
}

/** Opens every closed part, so that its tables exist. */
async function open(page: Page): Promise<void> {
  await page.evaluate(() => {
    const look = (root: Document | ShadowRoot): void => {
      for (const details of root.querySelectorAll("details")) details.open = true;
      for (const element of root.querySelectorAll("*")) if (element.shadowRoot !== null) look(element.shadowRoot);
    };
    look(document);
  });
}

for (const size of SIZES) {
  test(`every scrolling box takes the focus and has a name, in every view at ${size.width} × ${size.height}`, async ({ page }) => {
    test.setTimeout(60_000);
    await page.setViewportSize(size);
    await page.goto(query);
    await page.getByRole("button", { name: "Run", exact: true }).click();
    await expect(page.getByRole("heading", { name: "Passed: O and LSE agree with float64" })).toBeVisible({
      timeout: 40_000,
    });
    let seen = 0;
    for (const view of VIEWS) {
      await page.evaluate((hash) => (location.hash = hash), view);
      await expect(page.getByText(/^(Loading|Looking for|Computing the chapter)/)).toHaveCount(0, { timeout: 20_000 });
      // Answers may still arrive, and sizes are known one frame later.
      await expect.poll(async () => {
        await open(page);
        return (await boxes(page)).filter(({ focusable, named }) => !focusable || !named);
      }, { message: view }).toEqual([]);
      seen += (await boxes(page)).length;
      if (size.width >= 900) {
        const { page: tall, window: room } = await page.evaluate(() => ({
          page: document.documentElement.scrollHeight,
          window: innerHeight,
        }));
        expect(tall, `${view}: only its boxes scroll, not the page`).toBeLessThanOrEqual(room);
      }
    }
    expect(seen, "boxes that scroll").toBeGreaterThan(3);
  });
}

test("a table takes the focus only while it scrolls", async ({ page }) => {
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.goto(query.replace("pass-q", "pass-kv"));
  await page.getByRole("button", { name: "Run", exact: true }).click();
  const region = page.getByRole("region", { name: "Bytes per link" });
  await expect(page.getByRole("table", { name: /^Bytes per link/ })).toBeVisible({ timeout: 40_000 });
  await expect(region).toHaveCount(0);
  // As with another font: the box keeps its width, and its content grows.
  const table = page.getByRole("table", { name: /^Bytes per link/ });
  const widen = (width: string) => table.evaluate((element, min) => (element.style.minWidth = min), width);
  await widen("2000px");
  await expect(region).toBeVisible();
  await region.focus();
  await page.keyboard.press("ArrowRight");
  await expect.poll(() => region.evaluate((box) => box.scrollLeft)).toBeGreaterThan(0);
  await widen("0");
  await expect(region).toHaveCount(0);
});
