/** The styles of layouts, over those of the check. */
import { css } from "lit";
import { column } from "../../../lib/elements/style-parts.ts";

/** Two columns, and lanes of ranks. */
export const layoutsStyle = css`
  .sides {
    display: grid;
    grid-template-columns: repeat(2, minmax(0, 1fr));
    gap: 0 48px;
    max-width: 1280px;
  }
  /* The rows of both columns begin at the same height. */
  .sides > section {
    ${column};
    grid-row: span 6;
    grid-template-rows: subgrid;
    gap: 8px;
  }
  .sides > .bad {
    align-self: start;
  }
  .sides .title {
    margin: 0;
  }
  .sides a {
    overflow-wrap: anywhere;
  }
  .lanes {
    display: block;
    width: 100%;
    margin: 8px 0;
  }
  .lanes text {
    font-size: var(--tiny);
    fill: var(--ink-2);
  }
  .lanes .number {
    text-anchor: middle;
    font-weight: 700;
  }
  .lanes .end {
    text-anchor: end;
  }
  .ground {
    fill: var(--ink);
    fill-opacity: 0.045;
  }
  .cut {
    stroke: var(--ink);
    stroke-dasharray: 3 2;
  }
  .work td.share {
    min-width: 88px;
  }
  .transfers {
    margin-top: 8px;
  }
  .transfers .cell {
    min-width: 72px;
  }
  @media (max-width: 1080px) {
    .sides > section {
      grid-row: auto;
      grid-template-rows: none;
    }
    .sides {
      grid-template-columns: minmax(0, 1fr);
      row-gap: 32px;
    }
  }
`;
