/** The planner's own styles: the result, charts side by side, the timelines at the bottom. */
import { css } from "lit";

/** Eight-pixel grid; colours of time where something is time, ink elsewhere. */
export const plannerStyle = css`
  :host {
    display: grid;
    grid-template: auto minmax(0, 1fr) auto / minmax(0, 1fr);
    min-width: 0;
  }
  .top {
    padding: 16px 24px;
    border-bottom: 1px solid var(--rule);
  }
  .stage {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 40px;
    align-content: start;
    padding: 24px;
    min-width: 0;
  }
  .foot {
    min-width: 0;
    padding: 0 24px;
    border-top: 1px solid var(--rule);
    background: var(--paper);
  }
  @media screen and (min-width: 900px) and (min-height: 720px) {
    :host {
      height: 100dvh;
    }
    .stage {
      overflow-y: auto;
    }
    .foot {
      max-height: 38dvh;
      overflow-y: auto;
    }
  }
  .title {
    font-size: 18px;
    line-height: 24px;
  }
  h2 small {
    font-weight: 400;
    font-size: var(--small);
    color: var(--ink-2);
  }
  h2 small.good {
    color: var(--good);
  }
  h2 small.wrong,
  .wrong {
    color: var(--bad);
  }
  .quiet {
    color: var(--ink-2);
    font-size: 13px;
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
    grid-template-columns: minmax(280px, 5fr) minmax(0, 5fr) minmax(0, 4fr);
    gap: 32px 48px;
    max-width: 1440px;
  }
  .columns > div {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 24px;
    align-content: start;
    min-width: 0;
  }
  .actions {
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
  }
  .pair {
    display: grid;
    grid-template-columns: repeat(2, minmax(0, 1fr));
    gap: 32px 48px;
    max-width: 1440px;
  }
  dt {
    font-size: var(--small);
    color: var(--ink-2);
  }
  .facts div {
    display: grid;
    grid-template-columns: 128px minmax(0, 1fr);
    padding: 3px 0;
    border-top: 1px solid var(--rule);
    font-size: 13px;
  }
  .facts dt,
  .facts dd {
    line-height: 18px;
  }
  .stacks {
    display: grid;
    grid-template-columns: auto minmax(0, 1fr);
    gap: 4px 8px;
    align-items: center;
    margin: 4px 0 8px;
    font-size: var(--small);
    color: var(--ink-2);
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
  /* Two kinds of host work are told apart by a pattern too. */
  .swatch.launch {
    background: repeating-linear-gradient(0deg, var(--rule-strong) 0 2px, var(--paper) 2px 4px);
  }
  .share {
    color: var(--ink-2);
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
    top: -3px;
    bottom: -3px;
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
    color: var(--ink-2);
    font-size: 13px;
    text-align: center;
  }
  progress {
    width: 192px;
    height: 6px;
    accent-color: var(--accent);
  }
  .stale {
    padding: 8px 12px;
    border-left: 3px solid var(--warn);
    background: var(--sunken);
    font-size: 13px;
  }
  .bad {
    max-width: 640px;
    padding: 16px 24px;
    border: 1px solid var(--bad);
    border-radius: var(--radius);
    background: var(--bad-wash);
    overflow-wrap: anywhere;
  }
  .bad .title {
    color: var(--bad);
  }
  .link {
    padding: 0;
    border: 0;
    background: none;
    color: var(--accent);
    text-decoration: underline;
    cursor: pointer;
  }
  .link:hover {
    color: var(--ink);
  }
  a {
    color: var(--accent);
  }
  section[aria-label="Layouts"] {
    max-width: 880px;
  }
  .layouts .now > * {
    font-weight: 600;
    background: var(--sunken);
  }
  details {
    font-size: 13px;
  }
  .report > details {
    border-top: 1px solid var(--rule);
    padding: 4px 0;
    max-width: 1080px;
  }
  .report > details:first-of-type {
    margin-top: 24px;
  }
  summary {
    cursor: pointer;
    line-height: 24px;
    color: var(--ink-2);
    width: fit-content;
  }
  .list {
    padding-left: 20px;
    max-width: 80ch;
  }
  code {
    font: 12px / 18px var(--mono);
  }
  .wordy td:nth-child(n + 4),
  .wordy th:nth-child(n + 4) {
    text-align: left;
    white-space: normal;
    min-width: 160px;
    vertical-align: top;
  }
  .wordy th,
  .wordy td {
    vertical-align: top;
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
    color: var(--ink-2);
    font-size: var(--small);
  }
  .strip > div {
    display: grid;
    grid-template-columns: 72px minmax(160px, 1fr);
    align-items: center;
    height: 24px;
    font-size: 13px;
    border-top: 1px solid var(--rule);
  }
  .strip .ticks b {
    position: absolute;
    top: 2px;
    translate: -50% 0;
    font-weight: 400;
    font-size: 11px;
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
  .times {
    display: grid;
    grid-template-columns: repeat(2, minmax(0, 1fr));
    gap: 0 48px;
  }
  .times.one {
    grid-template-columns: minmax(0, 1fr);
  }
  .said {
    padding-top: 8px;
    font-size: var(--small);
    color: var(--ink-2);
  }
  .trace {
    display: flex;
    gap: 8px;
    padding: 0 0 8px;
  }
  @media (max-width: 1180px) {
    .columns,
    .pair,
    .times {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media (max-width: 640px) {
    .top,
    .stage {
      padding: 16px;
    }
    .foot {
      padding: 0 16px;
    }
  }
  @media (max-width: 420px) {
    th.share,
    td.share {
      display: none;
    }
  }
  @media print {
    :host {
      display: block;
    }
    .actions,
    .trace,
    details {
      display: none;
    }
  }
`;
