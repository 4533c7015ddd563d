/** The stage's own styles, and those of its transport. */
import { css } from "lit";
import { compact, field, flow, halves, line, note, small } from "../elements/style-parts.ts";

/** Ring, masks and tables side by side; two runs side by side, each with its parts below each other. */
export const stageStyle = css`
  :host {
    margin-bottom: 32px;
  }
  header {
    position: sticky;
    top: -16px;
    z-index: 1;
    ${line};
    gap: 4px 24px;
    padding: 4px 0 12px;
    background: var(--paper);
  }
  #stage {
    font-size: 18px;
  }
  .checked {
    margin-left: -12px;
    ${small};
  }
  .name {
    display: flex;
    align-items: baseline;
    gap: 24px;
  }
  .tools {
    ${flow};
    gap: 4px;
  }
  .tools .button {
    ${compact};
  }
  .tools [aria-pressed="true"] {
    border-color: var(--ink);
  }
  ringside-transport {
    flex: 1 1 480px;
  }
  h3 {
    font-size: var(--note);
    font-weight: 600;
    line-height: 24px;
  }
  small {
    ${small};
  }
  .single {
    display: grid;
    grid-template-columns: minmax(280px, 4fr) minmax(0, 9fr);
    gap: 16px 40px;
    align-items: start;
  }
  .pair,
  .masks,
  .single .tables {
    ${halves};
    gap: 16px 40px;
  }
  .masks,
  .single .tables {
    align-items: start;
  }
  /* Half a page is wide enough for one mask whose numbers can be read. */
  .pair .masks {
    grid-template-columns: minmax(0, 1fr);
  }
  .pair .tables {
    display: grid;
    gap: 24px;
  }
  .pane {
    display: grid;
    gap: 16px;
    align-content: start;
  }
  .pane,
  .ring,
  .masks > *,
  .tables > * {
    min-width: 0;
  }
  figcaption {
    margin-top: 8px;
    line-height: 18px;
    ${small};
  }
  .skipped {
    font-size: var(--small);
  }
  .compared {
    max-width: 720px;
    margin: 24px auto;
  }
  td.amount {
    position: relative;
    min-width: 104px;
  }
  td.amount i {
    position: absolute;
    inset: 4px auto 4px 12px;
    max-width: calc(100% - 12px);
    border-radius: 2px;
    background: var(--attend);
    opacity: 0.28;
  }
  td.amount i.transfer {
    background: var(--transfer);
  }
  td.amount span {
    position: relative;
  }
  tr.lit > *,
  td.lit,
  th.lit {
    background: color-mix(in srgb, var(--accent) 14%, transparent);
  }
  .sum > * {
    font-weight: 600;
  }
  .link {
    display: inline-flex;
    align-items: center;
    gap: 4px;
  }
  .go {
    min-width: 24px;
    min-height: 24px;
    padding: 0 6px;
    border: 1px solid var(--rule-strong);
    border-radius: 4px;
    background: var(--raised);
    cursor: pointer;
  }
  details {
    margin-top: 16px;
  }
  @media (max-width: 960px) {
    .single {
      grid-template-columns: minmax(0, 1fr);
    }
    header {
      position: static;
    }
  }
  @media (max-width: 640px) {
    .pair,
    .masks,
    .single .tables {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media print {
    .tools,
    ringside-transport,
    details {
      display: none;
    }
  }
`;

/** One line of controls. The slider takes the remaining room. */
export const transportStyle = css`
  :host {
    ${line};
    gap: 4px 16px;
  }
  .buttons {
    display: flex;
    gap: 4px;
  }
  [aria-disabled="true"] {
    color: var(--ink-2);
    border-color: var(--rule);
    cursor: default;
  }
  .button.square {
    width: 32px;
    min-height: 32px;
  }
  svg {
    fill: currentColor;
    stroke: currentColor;
    stroke-width: 2;
    stroke-linejoin: round;
    stroke-linecap: round;
  }
  .slider {
    position: relative;
    flex: 1 1 120px;
    display: grid;
    align-items: center;
  }
  .stops {
    position: absolute;
    inset: 0 8px;
    pointer-events: none;
  }
  .stops i {
    position: absolute;
    top: 50%;
    width: 1px;
    height: 16px;
    margin-top: -8px;
    background: var(--rule-strong);
  }
  input {
    width: 100%;
    height: 24px;
    margin: 0;
    accent-color: var(--accent);
  }
  .time {
    min-width: 148px;
  }
  .time b {
    font-size: 18px;
    font-weight: 600;
  }
  .time span {
    ${note};
  }
  select {
    ${field};
    height: 32px;
    font-size: var(--note);
  }
`;
