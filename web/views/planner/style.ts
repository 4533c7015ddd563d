/** The planner's own styles, over the views': its result, charts side by side, the paper's tables. */
import { css } from "lit";
import { column, halves, note, small } from "../../lib/elements/style-parts.ts";

/** Colours of time for times, ink elsewhere. */
export const plannerStyle = css`
  :host {
    --time: 38dvh;
  }
  .stage {
    ${column};
    gap: 40px;
  }
  .title,
  .stale {
    margin-bottom: 0;
  }
  .title small {
    margin: 0;
    font-size: var(--small);
  }
  .figure {
    font-size: 40px;
    line-height: 56px;
    font-weight: 600;
    letter-spacing: -0.02em;
  }
  .reason {
    margin-top: 8px;
    max-width: 68ch;
  }
  .columns {
    display: grid;
    grid-template-columns: minmax(260px, 4fr) minmax(0, 6fr) minmax(0, 5fr);
    gap: 32px 48px;
    max-width: 1440px;
  }
  .columns > div {
    ${column};
    gap: 24px;
  }
  .pair {
    ${halves};
    gap: 32px 48px;
    max-width: 1440px;
  }
  .facts div {
    grid-template-columns: 128px minmax(0, 1fr);
  }
  .stacks {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr);
    gap: 4px 8px;
    align-items: center;
    margin: 4px 0 8px;
    ${small};
  }
  .stack {
    display: flex;
    height: 16px;
    overflow: hidden;
    border-radius: 2px;
  }
  .stack .swatch {
    height: 16px;
    border-radius: 0;
    flex: none;
  }
  /* A pattern too tells the two kinds of host work apart. */
  .swatch.launch {
    background: repeating-linear-gradient(0deg, var(--rule-strong) 0 2px, var(--paper) 2px 4px);
  }
  .share {
    text-align: right;
  }
  .memory {
    position: relative;
    display: flex;
    height: 16px;
    margin: 4px 0 8px;
    background: var(--sunken);
    border-radius: 2px;
    box-shadow: inset 0 0 0 1px var(--rule);
  }
  .memory i {
    height: 16px;
    flex: none;
  }
  .memory b {
    position: absolute;
    inset: -3px auto;
    width: 2px;
    margin-left: -2px;
    background: var(--ink);
  }
  .key {
    display: inline-block;
    width: 10px;
    height: 10px;
    border-radius: 2px;
  }
  .weights {
    background: var(--ink-2);
  }
  .kv {
    background: var(--accent);
  }
  .activations {
    background: repeating-linear-gradient(-45deg, var(--ink-2) 0 2px, var(--paper) 2px 4px);
  }
  .ring {
    background: repeating-linear-gradient(90deg, var(--accent) 0 2px, var(--paper) 2px 4px);
  }
  .reserve {
    background: var(--paper);
    box-shadow: inset 0 0 0 1px var(--rule-strong);
  }
  .pending {
    display: grid;
    place-content: center;
    gap: 8px;
    min-height: 240px;
    border: 1px dashed var(--rule-strong);
    border-radius: var(--radius);
    ${note};
    text-align: center;
  }
  /* The browser's own bar. */
  progress {
    all: revert;
    width: 192px;
    height: 6px;
    accent-color: var(--accent);
  }
  .bad {
    max-width: 640px;
    overflow-wrap: anywhere;
  }
  .link:hover {
    color: var(--ink);
  }
  section[aria-label="Layouts"] {
    max-width: 880px;
  }
  .layouts .now > * {
    font-weight: 600;
    background: var(--sunken);
  }
  .report > details {
    border-top: 1px solid var(--rule);
    padding: 4px 0;
    max-width: 1080px;
  }
  .report > details:first-of-type {
    margin-top: 24px;
  }
  .list {
    list-style: disc;
    padding-left: 20px;
    max-width: 80ch;
  }
  .wordy :is(th, td) {
    vertical-align: top;
  }
  .wordy :is(th, td):nth-child(n + 4) {
    text-align: left;
    white-space: normal;
    min-width: 160px;
  }
  .wordy span {
    display: block;
  }
  .cells th:first-child {
    white-space: normal;
    min-width: 200px;
  }
  .cells small {
    display: block;
    max-width: 72ch;
    ${small};
  }
  .strip > div {
    display: grid;
    grid-template-columns: 72px minmax(160px, 1fr);
    align-items: center;
    height: 24px;
    font-size: var(--note);
    border-top: 1px solid var(--rule);
  }
  .strip .ticks b {
    position: absolute;
    top: 2px;
    translate: -50% 0;
    font-weight: 400;
    font-size: var(--tiny);
    color: var(--ink-2);
    white-space: nowrap;
  }
  .track {
    position: relative;
    height: 24px;
    margin: 0 8px;
    background: linear-gradient(var(--rule-strong), var(--rule-strong)) center / 1px 100% no-repeat;
  }
  .ticks .track {
    background: none;
  }
  .track i {
    position: absolute;
    top: 7px;
    width: 10px;
    height: 10px;
    margin-left: -5px;
    border: 1.5px solid var(--paper);
    border-radius: 50%;
    background: var(--ink);
  }
  .track .calibrated {
    background: var(--paper);
    border-color: var(--ink);
  }
  .said {
    padding-top: 8px;
    ${small};
  }
  @media (max-width: 1180px) {
    .columns,
    .pair {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media (max-width: 420px) {
    :is(th, td).share {
      display: none;
    }
  }
  @media print {
    .actions,
    .trace,
    details {
      display: none;
    }
  }
`;
