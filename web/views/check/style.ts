/** The check's own styles, over the views': files, verdict, faults, the grid of ranks and hops. */
import { css } from "lit";
import { column, flow, line, note, small } from "../../lib/elements/style-parts.ts";

/** Meters and crosses say how much is wrong, beside the number: no colour does so alone. */
export const checkStyle = css`
  .stage {
    ${column};
    gap: 32px;
  }
  .drop {
    ${column};
    gap: 12px;
    max-width: 720px;
    padding: 24px;
    border: 1px dashed var(--rule-strong);
    border-radius: var(--radius);
  }
  .drop .title {
    margin: 0;
  }
  .over {
    outline: 2px solid var(--accent);
    outline-offset: 4px;
    border-radius: var(--radius);
  }
  .list {
    list-style: disc;
    padding-left: 20px;
  }
  .taken {
    max-width: 1280px;
  }
  .files {
    display: grid;
    grid-template-columns: repeat(auto-fill, minmax(272px, 1fr));
    gap: 0 24px;
  }
  .files li {
    display: grid;
    grid-template-columns: minmax(0, auto) minmax(0, 1fr) auto;
    align-items: center;
    gap: 8px;
    padding: 2px 0;
    border-top: 1px solid var(--rule);
    ${note};
  }
  .files code {
    color: var(--ink);
    overflow-wrap: anywhere;
  }
  ul.problems {
    padding: 8px 16px;
    margin-bottom: 16px;
    color: var(--bad);
    font-size: var(--note);
    overflow-wrap: anywhere;
  }
  .verdict {
    max-width: 56ch;
    margin-bottom: 8px;
    font-size: 22px;
    line-height: 32px;
    font-weight: 600;
    text-wrap: pretty;
  }
  .first,
  .second {
    ${column};
    gap: 32px;
  }
  .faults {
    ${column};
    gap: 16px;
  }
  .faults code {
    font-size: 14px;
    font-weight: 600;
  }
  .faults small {
    ${small};
  }
  .meter {
    display: block;
    height: 6px;
    margin-top: 4px;
    border-radius: 3px;
    background: linear-gradient(var(--ink), var(--ink)) 0 0 / calc(100% * var(--share)) 100% no-repeat, var(--sunken);
    box-shadow: inset 0 0 0 1px var(--rule);
  }
  .story .off > * {
    background: var(--sunken);
  }
  .histogram {
    max-width: 560px;
  }
  .histogram td.share {
    width: 45%;
  }
  .histogram .meter {
    margin: 0;
  }
  .pictures {
    ${flow};
    gap: 32px 64px;
    max-width: 1280px;
  }
  .pictures > * {
    min-width: 0;
    max-width: 100%;
  }
  .pictures > :nth-child(2) {
    flex: 1 1 320px;
    max-width: 480px;
  }
  .grid caption {
    white-space: nowrap;
  }
  .grid {
    width: auto;
  }
  .grid thead th {
    padding-left: 8px;
    text-align: left;
  }
  .grid th:first-child {
    padding-left: 0;
    width: 56px;
  }
  .cell {
    min-width: 96px;
    text-align: left;
    border-left: 1px solid var(--rule);
    padding: 4px 8px;
  }
  .cell b {
    font-weight: 400;
  }
  .cell.off b {
    font-weight: 600;
    color: var(--bad);
  }
  .cell small {
    display: block;
    ${small};
  }
  .cell.lit {
    box-shadow: inset 0 0 0 2px var(--accent);
  }
  .command {
    ${line};
    max-width: 960px;
    margin-bottom: 8px;
    padding: 8px 12px;
    overflow-x: auto;
    border: 1px solid var(--rule);
    border-radius: var(--radius);
    background: var(--sunken);
    white-space: nowrap;
  }
  .actions {
    ${flow};
  }
`;
