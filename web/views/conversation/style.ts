/** The Conversation's own styles, over the views'. */
import { css } from "lit";
import { bare, flow, line, note, small } from "../../lib/elements/style-parts.ts";

/** The list of turns, the figures of a step, the caches as bars. */
export const conversationStyle = css`
  :host {
    --time: 46dvh;
  }
  .result {
    grid-template-columns: minmax(0, 7fr) minmax(0, 5fr);
    gap: 32px 48px;
    max-width: 1440px;
  }
  .second {
    gap: 24px;
  }
  .bar-top {
    gap: 4px 16px;
    margin-bottom: 8px;
  }
  .bar-top .title {
    margin: 0;
  }
  .preset {
    ${note};
  }
  i {
    font-style: normal;
  }
  .turns tbody + tbody::before {
    content: "";
    display: table-row;
    height: 16px;
  }
  .turns :is(th, td) {
    padding-left: 12px;
    padding-right: 4px;
  }
  .turns :is(th, td):first-child {
    padding-left: 8px;
  }
  .head th {
    padding: 4px 4px 4px 8px;
    background: var(--sunken);
    border-top: 1px solid var(--rule-strong);
    white-space: normal;
  }
  .head th > div {
    ${line};
    gap: 0 16px;
    min-height: 28px;
    color: var(--ink-2);
  }
  .head b {
    color: var(--ink);
    min-width: 48px;
  }
  .parts {
    ${flow};
    gap: 0 24px;
    flex: 1;
  }
  .part {
    white-space: nowrap;
  }
  .letter {
    font-weight: 700;
    color: var(--ink);
    margin-right: 4px;
  }
  .head input {
    height: 26px;
    width: calc(var(--length) * 1.08ch + 10px);
    padding: 0 3px;
    border: 0;
    border-bottom: 1px solid var(--rule-strong);
    border-radius: 3px 3px 0 0;
    background: transparent;
    color: var(--ink);
    font-weight: 600;
    text-align: center;
  }
  @supports (field-sizing: content) {
    .head input {
      field-sizing: content;
      width: auto;
      min-width: 28px;
    }
  }
  .head input:is(:hover, :focus) {
    background: var(--paper);
    border-bottom-color: var(--ink);
  }
  .head [aria-invalid] {
    color: var(--bad);
    background: var(--bad-wash);
    border-bottom: 2px solid var(--bad);
  }
  .problems {
    flex-basis: 100%;
    color: var(--bad);
  }
  .check {
    font-size: var(--small);
    white-space: nowrap;
  }
  .remove {
    ${bare};
    width: 24px;
    height: 24px;
    border-radius: var(--radius);
    color: var(--ink-2);
    font-size: 16px;
    line-height: 24px;
  }
  .remove:hover {
    background: var(--paper);
    color: var(--ink);
  }
  .step {
    cursor: pointer;
  }
  .step:hover > * {
    background: var(--sunken);
  }
  .step.on > * {
    background: color-mix(in oklab, var(--accent) 10%, var(--paper));
  }
  .step.on > :first-child {
    box-shadow: inset 3px 0 var(--accent);
  }
  .pick {
    ${bare};
    text-align: left;
  }
  .step.on .pick {
    font-weight: 600;
  }
  .step small {
    margin-left: 6px;
    ${small};
  }
  .none td {
    ${note};
  }
  .none.now td {
    color: var(--ink);
  }
  .incident {
    --of: var(--warn);
  }
  .incident.failed {
    --of: var(--bad);
  }
  .incident.repaired {
    --of: var(--good);
  }
  .incident td {
    white-space: normal;
    box-shadow: inset 3px 0 var(--of);
  }
  .incident.failed td {
    background: var(--bad-wash);
  }
  .incident:not(.cancelled) b {
    color: var(--of);
  }
  .incident div {
    display: grid;
    gap: 2px;
    padding: 3px 0 3px 4px;
  }
  .incident code {
    overflow-wrap: anywhere;
  }
  .add {
    ${line};
    gap: 8px 16px;
    margin-top: 16px;
  }
  .figures {
    gap: 8px 28px;
    margin: 8px 0;
  }
  .figures dd {
    font-size: 18px;
    font-weight: 600;
  }
  .figures small {
    display: block;
    line-height: 16px;
    ${small};
  }
  .turns thead th:first-child {
    width: 18%;
  }
  .why {
    ${note};
    line-height: 20px;
    max-width: 76ch;
    overflow-wrap: anywhere;
  }
  :is(.why, .verdict) b {
    color: var(--ink);
  }
  .walk {
    display: inline-flex;
    align-items: center;
    gap: 8px;
  }
  .running {
    ${line};
    gap: 4px 16px;
  }
  .running > span {
    font-weight: 600;
    min-width: 240px;
  }
  .caches .room {
    width: 50%;
    min-width: 120px;
  }
  .caches tbody .room > div {
    display: flex;
    height: 14px;
    border-radius: 2px;
    background: color-mix(in oklab, var(--ink) 7%, transparent);
    overflow: hidden;
  }
  .room i {
    display: block;
    background: var(--of);
    box-shadow: inset 0 0 0 1px color-mix(in oklab, var(--ink) 35%, transparent);
  }
  .room i.second {
    background: repeating-linear-gradient(-45deg, var(--of) 0 3px, transparent 3px 5px);
  }
  tfoot td {
    ${small};
    white-space: normal;
  }
  @media (max-width: 1180px) {
    .result {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media (max-width: 640px) {
    .wide,
    .each {
      display: none;
    }
    .turns :is(th, td) {
      padding-left: 4px;
      padding-right: 2px;
      font-size: 12px;
    }
    .head th > div {
      position: relative;
      padding-right: 24px;
      gap: 0 8px;
    }
    .remove {
      position: absolute;
      right: 0;
      top: 2px;
    }
    .parts {
      gap: 0 8px;
    }
    .step small {
      display: block;
      margin: 0;
    }
    .figures {
      gap: 8px 24px;
    }
  }
  @media print {
    .remove,
    .walk,
    .add {
      display: none;
    }
  }
`;
