/** The figures of Learn as boxes: captions, controls, tables with bars. */
import { css } from "lit";
import { field, small } from "../../lib/elements/style-parts.ts";

/** Colour is a rank or a kind of time; the rest is ink. */
export const figureStyle = css`
  figure {
    margin: 24px 0 32px;
    padding: 16px;
    border: 1px solid var(--rule);
    border-radius: var(--radius);
    font-size: var(--note);
    line-height: 20px;
    break-inside: avoid;
  }
  figcaption {
    margin-bottom: 12px;
    font-weight: 600;
  }
  figcaption small {
    display: block;
    ${small};
  }
  .controls {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(144px, 1fr));
    gap: 8px 24px;
    margin-bottom: 16px;
    padding-bottom: 12px;
    border-bottom: 1px solid var(--rule);
  }
  .controls label {
    display: grid;
    align-content: start;
    gap: 2px;
    ${small};
  }
  .controls label > span {
    display: flex;
    justify-content: space-between;
    gap: 8px;
  }
  .controls b {
    color: var(--ink);
    font-weight: 600;
    white-space: nowrap;
  }
  input[type="range"] {
    width: 100%;
    height: 24px;
    margin: 0;
    accent-color: var(--accent);
    cursor: pointer;
  }
  select {
    ${field};
    width: 100%;
    border-radius: 4px;
    font-size: var(--note);
  }
  figure > p {
    margin-top: 12px;
    color: var(--ink-2);
  }
  figure > p .v:not(.wrong) {
    color: var(--ink);
  }
  figure > * + ringside-scroll,
  .pair ringside-scroll + table {
    margin-top: 16px;
  }
  ringside-timeline {
    margin: 16px -8px 0;
  }
  .pair {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr));
    gap: 16px 32px;
    align-items: start;
  }
  .pair > * {
    min-width: 0;
  }
  .pair h3 {
    margin: 0 0 4px;
    font-size: var(--note);
  }
  td.meter {
    width: 40%;
    min-width: 72px;
    padding-left: 16px;
  }
  td.meter i {
    display: block;
    height: 12px;
    min-width: 1px;
    border-radius: 1px;
    background: var(--fill);
  }
  tr.now > * {
    background: var(--sunken);
    font-weight: 600;
  }
  tr.later > * {
    color: var(--ink-2);
  }
  tr.sum > * {
    border-top: 1px solid var(--rule-strong);
    font-weight: 600;
  }
  :is(td, th) .disc {
    min-width: 16px;
    height: 16px;
    line-height: 16px;
  }
  @media screen and (max-width: 640px) {
    figure {
      padding: 12px;
    }
    figure :is(th, td) {
      padding-left: 8px;
    }
    td.meter {
      width: auto;
      min-width: 36px;
    }
  }
  @media print {
    .controls input {
      display: none;
    }
    .controls select {
      padding: 0;
      border: 0;
      appearance: none;
      font-weight: 600;
    }
    figure,
    td.meter i,
    .disc {
      print-color-adjust: exact;
    }
  }
`;
