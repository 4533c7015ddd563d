/** Pictures with axes: their text, ticks, grid and rules. */
import { css } from "lit";

/** For timelines and charts. */
export const axesStyle = css`
  text {
    font-size: var(--tiny);
    fill: var(--ink-2);
    user-select: none;
  }
  .tick,
  .number {
    text-anchor: middle;
  }
  .grid {
    stroke: var(--rule);
  }
  .rule {
    stroke: var(--rule-strong);
  }
  .details b {
    color: var(--ink);
  }
`;
