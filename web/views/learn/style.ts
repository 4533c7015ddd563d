/** Learn as a page to read: contents beside a column of comfortable width, links onward, print. */
import { css } from "lit";
import { flow, note, small } from "../../lib/elements/style-parts.ts";

/** Prose of some 65 characters per line; figures as wide as the column. */
export const learnStyle = css`
  :host {
    display: grid;
    grid-template-columns: 232px minmax(0, 1fr);
    min-width: 0;
  }
  .contents {
    padding: 24px 16px 24px 24px;
    border-right: 1px solid var(--rule);
  }
  .contents h2,
  .where {
    line-height: 24px;
    ${small};
  }
  .contents ol {
    counter-reset: chapter;
    margin-top: 8px;
  }
  .contents a {
    counter-increment: chapter;
    display: grid;
    grid-template-columns: 24px minmax(0, 1fr);
    padding: 6px 8px;
    border-radius: var(--radius);
    color: var(--ink-2);
    line-height: 20px;
    text-decoration: none;
  }
  .contents a::before {
    content: counter(chapter);
  }
  .contents a:hover {
    color: var(--ink);
  }
  .contents a[aria-current] {
    background: var(--sunken);
    color: var(--ink);
    font-weight: 600;
  }
  .page {
    min-width: 0;
    padding: 24px 32px 64px;
  }
  article {
    max-width: 760px;
    margin: 0 auto;
    font-size: 16px;
    line-height: 26px;
  }
  #chapter {
    margin-bottom: 16px;
    font-size: 30px;
    line-height: 40px;
    letter-spacing: -0.015em;
    text-wrap: balance;
  }
  #chapter:focus-visible {
    outline-offset: 6px;
  }
  article > p {
    max-width: 65ch;
    margin-bottom: 16px;
  }
  article > h3 {
    margin: 32px 0 8px;
    font-size: 18px;
    line-height: 24px;
  }
  article > .lead {
    max-width: 60ch;
    font-size: 18px;
    line-height: 28px;
  }
  article > .where {
    margin: 0;
  }
  .formula {
    padding: 8px 16px;
    border-left: 3px solid var(--rule-strong);
    font-size: 15px;
    line-height: 26px;
    overflow-wrap: anywhere;
  }
  sub,
  sup {
    font-size: 0.72em;
    line-height: 0;
  }
  .v {
    font-weight: 600;
    border-radius: 3px;
    box-decoration-break: clone;
    white-space: nowrap;
  }
  [data-lit] {
    background: color-mix(in srgb, var(--accent) 22%, transparent);
    outline: 1px solid var(--accent);
    outline-offset: 1px;
    border-radius: 2px;
  }
  .disc[data-lit] {
    border-radius: 9px;
  }
  .onward {
    display: grid;
    gap: 8px;
    margin-top: 40px;
    padding: 16px;
    border: 1px solid var(--rule);
    border-radius: var(--radius);
    background: var(--sunken);
  }
  .onward p {
    ${flow};
    gap: 8px 16px;
    align-items: center;
    line-height: 20px;
    ${note};
  }
  .onward span {
    flex: 1 1 240px;
  }
  .onward .button {
    color: var(--ink);
    font-size: 14px;
    font-weight: 600;
    line-height: 24px;
    background: var(--raised);
  }
  .turn {
    display: grid;
    grid-template-columns: 1fr 1fr;
    gap: 16px;
    margin-top: 24px;
    padding-top: 16px;
    border-top: 1px solid var(--rule);
  }
  .turn a {
    line-height: 24px;
    text-decoration: none;
  }
  .turn a:hover {
    text-decoration: underline;
  }
  .turn a[rel="next"] {
    grid-column: 2;
    text-align: right;
  }
  .turn small {
    display: block;
    line-height: 16px;
    ${small};
  }
  .quiet {
    font-size: inherit;
  }
  .failed {
    max-width: 760px;
    margin: 16px auto;
    padding: 8px 12px;
    border-left: 3px solid var(--bad);
    background: var(--bad-wash);
  }
  @media screen and (min-width: 1000px) {
    :host {
      height: 100dvh;
    }
    .contents,
    .page {
      overflow-y: auto;
    }
  }
  @media screen and (max-width: 999px) {
    :host {
      grid-template-columns: minmax(0, 1fr);
      align-content: start;
    }
    .contents {
      padding: 8px 16px;
      border-right: 0;
      border-bottom: 1px solid var(--rule);
    }
    .contents h2 {
      display: none;
    }
    .contents ol {
      ${flow};
      gap: 0 4px;
      margin: 0;
    }
    .contents a {
      grid-template-columns: auto auto;
      gap: 6px;
    }
    .page {
      padding: 16px 24px 48px;
    }
  }
  @media screen and (max-width: 640px) {
    .contents a {
      place-items: center;
      min-width: 40px;
      min-height: 40px;
      font-size: 0;
    }
    .contents a::before {
      font-size: 14px;
    }
    .page {
      padding: 16px 16px 40px;
    }
    #chapter {
      font-size: 25px;
      line-height: 32px;
    }
  }
  @media print {
    :host {
      display: block;
    }
    .contents,
    .turn {
      display: none;
    }
    .page {
      padding: 0;
    }
    article {
      max-width: none;
      font-size: 11pt;
      line-height: 1.45;
    }
    .onward .button {
      display: inline-flex;
    }
  }
`;
