/** The look of a sentence whose parts are edited in place, with its buttons and its problems. */
import { css } from "lit";
import { flow, small } from "./style-parts.ts";

/** For `<ringside-sentence>`. `wide`: a longer line; `wraps`: phrases break on a phone. */
export const sentenceStyle = css`
  form {
    display: grid;
    grid-template-columns: minmax(0, 1fr) auto;
    gap: 8px 32px;
    align-items: start;
  }
  .sentence {
    font-size: 18px;
    line-height: 32px;
    color: var(--ink-2);
    max-width: 900px;
  }
  .sentence > span {
    white-space: nowrap;
  }
  :host([wide]) .sentence {
    max-width: 1080px;
  }
  .sentence .tag {
    font-weight: 600;
    color: var(--warn);
  }
  i {
    font-style: normal;
    padding: 0 2px;
  }
  input,
  select {
    display: inline-block;
    height: 28px;
    margin: 0;
    padding: 0 3px;
    line-height: 26px;
    border: 0;
    border-bottom: 1px solid var(--rule-strong);
    border-radius: 3px 3px 0 0;
    background: transparent;
    color: var(--ink);
    font-weight: 600;
    position: relative;
    top: -1px;
    vertical-align: middle;
  }
  input {
    width: calc(var(--length) * 1.08ch + 8px);
    text-align: center;
  }
  input::-webkit-calendar-picker-indicator {
    display: none !important;
  }
  @supports (field-sizing: content) {
    input,
    select {
      field-sizing: content;
      width: auto;
      min-width: 20px;
    }
  }
  select {
    max-width: 100%;
    appearance: none;
    padding-right: 16px;
    cursor: pointer;
  }
  option {
    background: var(--raised);
    color: var(--ink);
  }
  .choice {
    position: relative;
  }
  .choice::after {
    content: "";
    position: absolute;
    right: 5px;
    top: 50%;
    width: 5px;
    height: 5px;
    margin-top: -3px;
    border: solid var(--ink-2);
    border-width: 0 1.5px 1.5px 0;
    transform: rotate(45deg);
    pointer-events: none;
  }
  :is(input, select):is(:hover, :focus) {
    background: var(--sunken);
  }
  :is(input, select):hover {
    border-bottom-color: var(--ink);
  }
  input[readonly] {
    border-bottom-color: transparent;
    background: transparent;
  }
  .sentence > .files {
    white-space: normal;
    overflow-wrap: anywhere;
  }
  .files b {
    color: var(--ink);
    font-weight: 600;
  }
  [aria-invalid] {
    color: var(--bad);
    background: var(--bad-wash);
    border-bottom: 2px solid var(--bad);
  }
  .run {
    display: flex;
    flex-direction: column;
    align-items: flex-end;
    gap: 8px;
  }
  .run .button {
    min-width: 104px;
    justify-content: center;
  }
  .run .note {
    max-width: 320px;
    ${small};
    line-height: 16px;
  }
  .run .buttons {
    ${flow};
    gap: 8px;
    justify-content: flex-end;
    max-width: 288px;
  }
  .checking {
    align-items: center;
  }
  .checking progress {
    width: 96px;
    height: 6px;
    accent-color: var(--accent);
  }
  .presets {
    ${flow};
    gap: 4px;
    margin-top: 8px;
  }
  .presets .button {
    min-height: 26px;
    padding: 0 10px;
    font-size: var(--small);
    border-color: var(--rule);
    border-radius: 13px;
  }
  .presets .button[aria-pressed="true"] {
    border-color: var(--ink);
    font-weight: 600;
  }
  .problems {
    grid-column: 1 / -1;
    color: var(--bad);
    font-size: var(--note);
  }
  .problems li::before {
    content: "▲ " / "";
    font-size: 9px;
    vertical-align: 1px;
  }
  @media (max-width: 899px) {
    form {
      grid-template-columns: minmax(0, 1fr);
    }
    .run {
      flex-direction: row;
      align-items: center;
      justify-content: flex-start;
      flex-wrap: wrap;
    }
    .run .buttons {
      max-width: none;
      justify-content: flex-start;
    }
    .problems {
      grid-row: 2;
    }
  }
  @media (max-width: 640px) {
    :host([wraps]) .sentence > span {
      white-space: normal;
    }
  }
`;
