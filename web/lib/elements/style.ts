/** The styles that elements share: tables, buttons, numbers, what only a screen reader reads. */
import { css } from "lit";

/** For `static styles` of every element. */
export const shared = css`
  :host {
    display: block;
  }
  *,
  *::before,
  *::after {
    box-sizing: border-box;
  }
  h1,
  h2,
  h3,
  p,
  dl,
  dd,
  ol,
  ul,
  figure {
    margin: 0;
    padding: 0;
  }
  h2 {
    font-size: 13px;
    font-weight: 600;
    line-height: 24px;
  }
  button,
  input,
  select {
    font: inherit;
    color: inherit;
  }
  :focus-visible {
    outline: 2px solid var(--accent);
    outline-offset: 2px;
    border-radius: 3px;
  }
  /* A box that scrolls ends at its neighbours: the outline goes inside. */
  [data-scrolls]:focus-visible {
    outline-offset: -2px;
  }
  .unseen {
    position: absolute;
    width: 1px;
    height: 1px;
    margin: -1px;
    overflow: hidden;
    clip-path: inset(50%);
    white-space: nowrap;
  }
  .button {
    display: inline-flex;
    align-items: center;
    gap: 8px;
    min-height: 32px;
    padding: 3px 12px;
    border: 1px solid var(--rule-strong);
    border-radius: var(--radius);
    background: var(--raised);
    line-height: 24px;
    text-decoration: none;
    white-space: nowrap;
    cursor: pointer;
  }
  .button:hover {
    border-color: var(--ink);
  }
  .button[disabled] {
    color: var(--ink-2);
    border-color: var(--rule);
    cursor: not-allowed;
  }
  .button.primary {
    background: var(--accent);
    border-color: var(--accent);
    color: var(--on-accent);
    font-weight: 600;
  }
  .button.primary[disabled] {
    background: var(--sunken);
    border-color: var(--rule);
    color: var(--ink-2);
  }
  /* A result of what the sentence said before: it stands, but no longer speaks for the sentence. */
  .old .good,
  .old .wrong,
  .good.old,
  .wrong.old {
    color: var(--ink-2);
  }
  table {
    border-collapse: collapse;
    width: 100%;
  }
  caption {
    text-align: left;
    font-size: 13px;
    font-weight: 600;
    line-height: 24px;
    padding-bottom: 4px;
  }
  caption small {
    font-weight: 400;
    font-size: var(--small);
    color: var(--ink-2);
  }
  th,
  td {
    padding: 3px 0 3px 16px;
    text-align: right;
    font-weight: 400;
    line-height: 18px;
    font-size: 13px;
    border-top: 1px solid var(--rule);
    white-space: nowrap;
  }
  th:first-child,
  td:first-child {
    padding-left: 0;
    text-align: left;
  }
  thead td {
    border-top: 0;
  }
  thead th {
    color: var(--ink-2);
    font-size: var(--small);
    border-top: 0;
    vertical-align: bottom;
  }
  .disc {
    display: inline-grid;
    place-items: center;
    min-width: 18px;
    height: 18px;
    padding: 0 4px;
    border-radius: 9px;
    font-size: 11px;
    font-weight: 700;
    line-height: 18px;
  }
  .swatch {
    display: inline-block;
    width: 10px;
    height: 10px;
    border-radius: 2px;
    background: var(--of);
  }
  .swatch.hatched {
    background: repeating-linear-gradient(var(--across), var(--of) 0 2px, transparent 2px 4px);
    box-shadow: inset 0 0 0 1px var(--of);
  }
  @media (prefers-reduced-motion: no-preference) {
    .button {
      transition: border-color 0.12s;
    }
  }
  @media print {
    .button {
      display: none;
    }
  }
`;
