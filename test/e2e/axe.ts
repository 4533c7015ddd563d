/** The accessibility check with axe. */
import { AxeBuilder } from "@axe-core/playwright";
import { expect, type Page } from "@playwright/test";

/**
 * Fails if axe finds something in the page as it stands, in the theme it has; `state` names it. `except`: hosts from the
 * document down to a shadow tree that other tests look at.
 */
export async function axeFindsNothing(
  page: Page,
  state: string,
  except?: [string, string, ...string[]],
): Promise<void> {
  const axe = new AxeBuilder({ page });
  if (except !== undefined) axe.exclude({ fromShadowDom: except });
  const { violations } = await axe.analyze();
  const found = violations.map(({ id, nodes }) => ({
    id,
    at: nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`),
  }));
  expect(found, state).toEqual([]);
}
