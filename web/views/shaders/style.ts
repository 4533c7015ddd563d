/** The Shaders view's own styles, over the views': the text on the left, its tables on the right. */
import { css } from "lit";
import { bare, column, field, flow, small } from "../../lib/elements/style-parts.ts";

/** For the view. */
export const shadersStyle = css`
  .bench {
    display: grid;
    grid-template-columns: minmax(0, 1fr) minmax(0, 1fr);
    gap: 0 32px;
    padding: 16px 24px 0;
  }
  .bench,
  .text {
    min-width: 0;
    min-height: 0;
  }
  .text {
    display: grid;
    grid-template-rows: minmax(0, 1fr) auto;
    gap: 12px;
    padding-bottom: 16px;
  }
  .told {
    ${column};
    gap: 32px;
    padding-bottom: 32px;
  }
  .trial {
    ${column};
    gap: 16px;
  }
  .errors {
    gap: 8px 24px;
    margin: 8px 0;
  }
  .errors dd {
    font-size: 22px;
    line-height: 32px;
  }
  .errors dd small {
    letter-spacing: 0;
    ${small};
  }
  .actions {
    align-items: center;
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
    ${field};
    width: 160px;
    height: 32px;
    padding: 0 8px;
  }
  :is(.keep, .name) [aria-invalid] {
    color: var(--bad);
    border-bottom: 2px solid var(--bad);
  }
  .keep input[disabled] {
    border-color: var(--rule);
    background: var(--sunken);
  }
  .name {
    ${flow};
    gap: 8px;
  }
  .at {
    ${bare};
    color: var(--accent);
    text-align: left;
  }
  .at:hover {
    text-decoration: underline;
  }
  :is(.declared, .messages, .cases, .kept) :is(th, td) {
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
  :is(.said, .kept) small {
    color: var(--ink-2);
  }
  .kept small {
    display: block;
    font-weight: 400;
    line-height: 16px;
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
  .messages .error td:nth-child(2) {
    color: var(--bad);
    font-weight: 600;
  }
  summary {
    color: inherit;
  }
  td:is(.wrong, .good) {
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
    :host {
      height: auto;
    }
    .bench {
      grid-template-columns: minmax(0, 1fr);
      gap: 16px;
    }
    ringside-wgsl {
      height: 72dvh;
    }
  }
  @media (max-width: 640px) {
    .bench {
      padding: 16px 16px 0;
    }
  }
  @media print {
    .bench {
      display: block;
    }
    .actions {
      display: none;
    }
  }
`;
