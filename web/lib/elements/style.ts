/** The styles that all elements share: text, tables, buttons, legends, marks, text for screen readers only. */
import { css } from "lit";
import { bare, flow, note, small } from "./style-parts.ts";

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
  ol,
  ul {
    list-style: none;
  }
  h2,
  caption {
    font-size: var(--note);
    font-weight: 600;
    line-height: 24px;
  }
  h2 small,
  caption small {
    ${small};
  }
  a {
    color: var(--accent);
  }
  code {
    font: 12px / 18px var(--mono);
  }
  details {
    font-size: var(--note);
  }
  summary {
    width: fit-content;
    line-height: 24px;
    color: var(--ink-2);
    cursor: pointer;
  }
  .quiet {
    ${note};
  }
  .good {
    color: var(--good);
  }
  .wrong {
    color: var(--bad);
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
  /* A box that scrolls touches its neighbours, so its outline goes inside. */
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
  .button.square {
    width: 28px;
    min-height: 28px;
    padding: 0;
    justify-content: center;
    font-size: 16px;
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
  /* The result of an older sentence: it stays, but no longer answers the sentence. */
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
    padding-bottom: 4px;
  }
  th,
  td {
    padding: 3px 0 3px 16px;
    text-align: right;
    font-weight: 400;
    line-height: 18px;
    font-size: var(--note);
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
    ${small};
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
    font-size: var(--tiny);
    font-weight: 700;
    line-height: 18px;
  }
  .legend {
    ${flow};
    gap: 0 16px;
    ${small};
  }
  .legend li {
    display: flex;
    align-items: center;
    gap: 6px;
  }
  /* A button that reads as a link. */
  button.link {
    ${bare};
    color: var(--accent);
    text-decoration: underline;
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
