/** The stage's own styles, and those of its transport. */
import { css } from "lit";

/** Ring, masks and tables beside each other; in a pair below each other. */
export const stageStyle = css`
  :host {
    margin-bottom: 32px;
  }
  header {
    position: sticky;
    top: -16px;
    z-index: 1;
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 4px 24px;
    padding: 4px 0 12px;
    background: var(--paper);
  }
  #stage {
    font-size: 18px;
  }
  .checked {
    margin-left: -12px;
    font-size: var(--small);
    color: var(--ink-2);
  }
  .name {
    display: flex;
    align-items: baseline;
    gap: 24px;
  }
  .tools {
    display: flex;
    flex-wrap: wrap;
    gap: 4px;
  }
  .tools .button {
    min-height: 28px;
    padding: 1px 10px;
    font-size: var(--small);
  }
  .tools [aria-pressed="true"] {
    border-color: var(--ink);
  }
  ringside-transport {
    flex: 1 1 480px;
  }
  h3 {
    font-size: 13px;
    font-weight: 600;
    line-height: 24px;
  }
  small {
    font-weight: 400;
    font-size: var(--small);
    color: var(--ink-2);
  }
  .single {
    display: grid;
    grid-template-columns: minmax(280px, 4fr) minmax(0, 9fr);
    gap: 16px 40px;
    align-items: start;
  }
  .pair {
    display: grid;
    grid-template-columns: repeat(2, minmax(0, 1fr));
    gap: 16px 40px;
  }
  .pane {
    display: grid;
    gap: 16px;
    align-content: start;
    min-width: 0;
  }
  .masks,
  .single .tables {
    display: grid;
    grid-template-columns: repeat(2, minmax(0, 1fr));
    gap: 16px 40px;
    align-items: start;
  }
  /* Half a page is wide enough for one mask whose numbers can be read. */
  .pair .masks {
    grid-template-columns: minmax(0, 1fr);
  }
  .masks > *,
  .tables > * {
    min-width: 0;
  }
  .pair .tables {
    display: grid;
    gap: 24px;
  }
  .ring {
    min-width: 0;
  }
  figcaption {
    margin-top: 8px;
    font-size: var(--small);
    line-height: 18px;
    color: var(--ink-2);
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
    font-size: 13px;
  }
  summary {
    cursor: pointer;
    line-height: 24px;
    color: var(--ink-2);
    width: fit-content;
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

/** One line of controls; the slider takes the room that is left. */
export const transportStyle = css`
  :host {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
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
  .square {
    width: 32px;
    padding: 0;
    justify-content: center;
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
    color: var(--ink-2);
    font-size: 13px;
  }
  select {
    height: 32px;
    padding: 0 4px;
    border: 1px solid var(--rule-strong);
    border-radius: var(--radius);
    background: var(--raised);
    font-size: 13px;
  }
`;
