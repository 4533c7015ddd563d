/** The accessibility check with axe. */
import { AxeBuilder } from "@axe-core/playwright";
import { expect, type Page } from "@playwright/test";

/**
 * Fails if axe finds something in the page as it stands; `state` names it. Every rule in the light theme, contrast alone
 * in the dark one, which differs in colours only. `except`: hosts from the document down to a shadow tree that other
 * tests look at. Leaves the theme light.
 */
export async function axeFindsNothing(
  page: Page,
  state: string,
  except?: [string, string, ...string[]],
): Promise<void> {
  for (const colorScheme of ["dark", "light"] as const) {
    await page.emulateMedia({ colorScheme });
    const axe = new AxeBuilder({ page });
    if (except !== undefined) axe.exclude({ fromShadowDom: except });
    if (colorScheme === "dark") axe.withRules("color-contrast");
    const { violations } = await axe.analyze();
    const found = violations.map(({ id, nodes }) => ({
      id,
      at: nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`),
    }));
    expect(found, `${state}, ${colorScheme}`).toEqual([]);
  }
}
