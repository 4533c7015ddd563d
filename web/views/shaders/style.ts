/** The view's own styles, over the Lab's: the text on the left, what is told of it on the right. */
import { css } from "lit";

/** For the view. */
export const shadersStyle = css`
  :host {
    display: grid;
    grid-template: auto minmax(0, 1fr) / minmax(0, 1fr);
    position: relative;
    min-width: 0;
  }
  .top {
    padding: 16px 24px;
    border-bottom: 1px solid var(--rule);
  }
  .stage {
    padding: 24px;
  }
  .bench {
    display: grid;
    grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
    gap: 0 32px;
    min-width: 0;
    min-height: 0;
    padding: 16px 24px 0;
  }
  .text {
    display: grid;
    grid-template-rows: minmax(0, 1fr) auto;
    gap: 12px;
    min-width: 0;
    min-height: 0;
    padding-bottom: 16px;
  }
  .told {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 32px;
    align-content: start;
    min-width: 0;
    padding-bottom: 32px;
  }
  .trial {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 16px;
    min-width: 0;
  }
  .errors {
    gap: 8px 24px;
    margin: 8px 0;
  }
  .errors dd {
    font-size: 22px;
    line-height: 32px;
  }
  .actions {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 8px;
  }
  .keep {
    display: flex;
    gap: 8px;
  }
  .actions .quiet {
    flex-basis: 100%;
  }
  .keep input,
  .name input {
    width: 160px;
    height: 32px;
    padding: 0 8px;
    border: 1px solid var(--rule-strong);
    border-radius: var(--radius);
    background: var(--raised);
    color: var(--ink);
  }
  .keep [aria-invalid],
  .name [aria-invalid] {
    color: var(--bad);
    border-bottom: 2px solid var(--bad);
  }
  .keep input[disabled] {
    border-color: var(--rule);
    background: var(--sunken);
  }
  .name {
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
  }
  .at {
    padding: 0;
    border: 0;
    background: none;
    color: var(--accent);
    cursor: pointer;
    text-align: left;
  }
  .at:hover {
    text-decoration: underline;
  }
  .declared th,
  .declared td,
  .messages th,
  .messages td,
  .cases th,
  .cases td,
  .kept th,
  .kept td {
    text-align: left;
    vertical-align: top;
  }
  .declared td:nth-child(2):not(:last-child),
  .bindings td:nth-child(3) {
    text-align: left;
  }
  .said {
    white-space: normal;
    min-width: 160px;
    overflow-wrap: anywhere;
  }
  .said small,
  .kept small {
    color: var(--ink-2);
  }
  .kept small {
    display: block;
    font-weight: 400;
    line-height: 16px;
  }
  .kept .tag {
    color: var(--warn);
  }
  .kept .on > * {
    background: color-mix(in oklab, var(--accent) 8%, var(--paper));
  }
  .kept td:nth-child(5) {
    text-align: center;
  }
  .kept input[type="checkbox"] {
    width: 16px;
    height: 16px;
    margin: 0;
    vertical-align: middle;
    accent-color: var(--accent);
  }
  .acts {
    display: flex;
    gap: 8px;
    font-size: var(--small);
    line-height: 20px;
  }
  .errors dd small {
    font-size: var(--small);
    letter-spacing: 0;
    color: var(--ink-2);
  }
  h2 small {
    font-weight: 400;
    font-size: var(--small);
    color: var(--ink-2);
  }
  .messages .error td:nth-child(2) {
    color: var(--bad);
    font-weight: 600;
  }
  summary {
    cursor: pointer;
    font-size: 13px;
    line-height: 24px;
  }
  td.wrong,
  td.good {
    font-weight: 600;
  }
  @media screen and (min-width: 1080px) and (min-height: 640px) {
    :host {
      height: 100dvh;
    }
    .told {
      overflow-y: auto;
      padding-right: 24px;
      margin-right: -24px;
    }
  }
  @media (max-width: 1079px) {
    .bench {
      grid-template-columns: minmax(0, 1fr);
      gap: 16px;
    }
    ringside-wgsl {
      height: 72dvh;
    }
  }
  @media (max-width: 640px) {
    .top {
      padding: 16px;
    }
    .bench {
      padding: 16px 16px 0;
    }
  }
  @media print {
    :host {
      display: block;
    }
    .bench {
      display: block;
    }
    .actions {
      display: none;
    }
  }
`;
