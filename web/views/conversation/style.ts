/** The Conversation's own styles, over the Lab's. */
import { css } from "lit";

/** The shell's three parts within the view, the list of turns, the caches as bars. */
export const conversationStyle = css`
  :host {
    display: grid;
    grid-template: auto minmax(0, 1fr) auto / minmax(0, 1fr);
    position: relative;
    min-width: 0;
  }
  .top {
    padding: 16px 24px;
    border-bottom: 1px solid var(--rule);
  }
  .stage {
    padding: 24px;
    min-width: 0;
  }
  .time {
    position: relative;
    min-width: 0;
    padding: 0 24px;
    border-top: 1px solid var(--rule);
    background: var(--paper);
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
    display: flex;
    flex-wrap: wrap;
    align-items: baseline;
    justify-content: space-between;
    gap: 4px 16px;
    margin-bottom: 8px;
  }
  .bar-top .title {
    margin: 0;
  }
  .preset {
    font-size: 13px;
    color: var(--ink-2);
  }
  select {
    height: 28px;
    padding: 0 4px;
    border: 1px solid var(--rule-strong);
    border-radius: var(--radius);
    background: var(--raised);
    color: var(--ink);
    max-width: 100%;
  }
  i {
    font-style: normal;
  }
  .turns tbody + tbody::before {
    content: "";
    display: table-row;
    height: 16px;
  }
  .turns th,
  .turns td {
    padding-left: 12px;
    padding-right: 4px;
  }
  .turns th:first-child,
  .turns td:first-child {
    padding-left: 8px;
  }
  .head th {
    padding: 4px 4px 4px 8px;
    background: var(--sunken);
    border-top: 1px solid var(--rule-strong);
    white-space: normal;
  }
  .head th > div {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0 16px;
    min-height: 28px;
    color: var(--ink-2);
  }
  .head b {
    color: var(--ink);
    min-width: 48px;
  }
  .parts {
    display: flex;
    flex-wrap: wrap;
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
  .head input:hover,
  .head input:focus {
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
  .problems ul {
    list-style: none;
  }
  .check {
    font-size: var(--small);
    white-space: nowrap;
  }
  .remove {
    width: 24px;
    height: 24px;
    padding: 0;
    border: 0;
    border-radius: var(--radius);
    background: none;
    color: var(--ink-2);
    font-size: 16px;
    line-height: 24px;
    cursor: pointer;
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
    padding: 0;
    border: 0;
    background: none;
    cursor: pointer;
    text-align: left;
  }
  .step.on .pick {
    font-weight: 600;
  }
  .step small {
    margin-left: 6px;
    font-size: var(--small);
    font-weight: 400;
    color: var(--ink-2);
  }
  .none td {
    color: var(--ink-2);
    font-size: 13px;
  }
  .none.now td {
    color: var(--ink);
  }
  .incident td {
    white-space: normal;
    box-shadow: inset 3px 0 var(--warn);
  }
  .incident.failed td {
    box-shadow: inset 3px 0 var(--bad);
    background: var(--bad-wash);
  }
  .incident.repaired td {
    box-shadow: inset 3px 0 var(--good);
  }
  .incident div {
    display: grid;
    gap: 2px;
    padding: 3px 0 3px 4px;
  }
  .incident.failed b {
    color: var(--bad);
  }
  .incident.killed b {
    color: var(--warn);
  }
  .incident.repaired b {
    color: var(--good);
  }
  .incident code {
    overflow-wrap: anywhere;
  }
  .add {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 8px 16px;
    margin-top: 16px;
  }
  .prose {
    max-width: 68ch;
  }
  .figures {
    display: flex;
    flex-wrap: wrap;
    gap: 8px 28px;
    margin: 8px 0;
  }
  .figures dd {
    font-size: 18px;
    line-height: 24px;
    font-weight: 600;
  }
  .figures small {
    display: block;
    line-height: 16px;
    font-weight: 400;
    font-size: var(--small);
    color: var(--ink-2);
  }
  .verdict b {
    color: var(--ink);
  }
  .turns thead th:first-child {
    width: 18%;
  }
  .why {
    font-size: 13px;
    line-height: 20px;
    color: var(--ink-2);
    max-width: 76ch;
    overflow-wrap: anywhere;
  }
  .why b {
    color: var(--ink);
  }
  .walk {
    display: inline-flex;
    align-items: center;
    gap: 8px;
  }
  .walk .square {
    width: 28px;
    min-height: 28px;
    padding: 0;
    justify-content: center;
    font-size: 16px;
  }
  .running {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
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
    color: var(--ink-2);
    font-size: var(--small);
    white-space: normal;
  }
  @media screen and (min-width: 900px) and (min-height: 720px) {
    :host {
      height: 100dvh;
    }
    .stage {
      overflow-y: auto;
    }
    .time {
      max-height: 46dvh;
      overflow-y: auto;
    }
  }
  @media (max-width: 1180px) {
    .result {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media (max-width: 640px) {
    .top,
    .stage {
      padding: 16px;
    }
    .time {
      padding: 0 16px;
    }
    .wide {
      display: none;
    }
    .turns th,
    .turns td {
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
    .each {
      display: none;
    }
    .figures {
      gap: 8px 24px;
    }
  }
  @media print {
    :host {
      display: block;
    }
    .remove,
    .walk,
    .add {
      display: none;
    }
    .result {
      grid-template-columns: minmax(0, 1fr);
    }
  }
`;
