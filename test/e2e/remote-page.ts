/** Locators of the Remote view's parts. */
import { readFile } from "node:fs/promises";
import type { Page } from "@playwright/test";

export const button = (page: Page, name: string | RegExp) => page.getByRole("button", { name, exact: true });
export const lap = (page: Page, variant: "pass-KV" | "pass-Q") =>
  page.locator(`section[aria-labelledby="lap-${variant.toLowerCase()}"]`);
export const terms = (page: Page, variant: "pass-KV" | "pass-Q") =>
  page.getByRole("table", { name: `${variant}, term by term` });
export const verified = (page: Page, variant: "pass-KV" | "pass-Q") =>
  lap(page, variant).getByRole("heading", { name: /^pass-(KV|Q) \d+ rows verified$/ });
export const field = (page: Page, name: string) => page.getByRole("textbox", { name, exact: true });

/** The text of the file that the button of this name saves. */
export async function saved(page: Page, name: string): Promise<string> {
  const [download] = await Promise.all([page.waitForEvent("download"), button(page, name).click()]);
  return await readFile(await download.path(), "utf8");
}
