/** Checks that the tests of every view share. */
import { expect, type Page, test } from "@playwright/test";

/** Makes each test of the file that calls this fail if the page throws an error that it does not catch. */
export function failOnUncaughtErrors(): void {
  let thrown: Error[] = [];
  test.beforeEach(({ page }) => {
    thrown = [];
    page.on("pageerror", (error) => thrown.push(error));
  });
  test.afterEach(() => expect(thrown, "errors that the page did not catch").toEqual([]));
}

/** Fails if the page is wider than `width` pixels. */
export async function expectNoWiderThan(page: Page, width: number): Promise<void> {
  // Drawings follow a new width a frame later.
  await expect.poll(() => page.evaluate(() => document.documentElement.scrollWidth), {
    message: `nothing is wider than ${width} pixels`,
  }).toBeLessThanOrEqual(width);
}
