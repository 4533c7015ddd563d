/** The Step view's own styles, over the views'. */
import { css } from "lit";
import { field, flow, note } from "../../lib/elements/style-parts.ts";

/** The table of ranks, the inspectors, the figure. */
export const stepStyle = css`
  :host > .card,
  :host > section {
    margin-bottom: 24px;
  }
  .walk {
    display: grid;
    grid-template-columns: minmax(0, 10fr) minmax(0, 13fr);
    gap: 32px;
    max-width: 1520px;
  }
  .walk > * {
    grid-template-columns: minmax(0, 1fr);
    min-width: 0;
  }
  .errors {
    margin: 8px 0;
  }
  .errors dd {
    font-size: 18px;
    line-height: 24px;
  }
  .controls {
    ${flow};
    gap: 8px;
    margin-bottom: 16px;
  }
  .break {
    position: relative;
    font-size: inherit;
  }
  .break summary {
    list-style: none;
  }
  .break summary::-webkit-details-marker {
    display: none;
  }
  .break > div {
    position: absolute;
    z-index: 2;
    top: 40px;
    right: 0;
    display: grid;
    gap: 8px;
    padding: 8px;
    border: 1px solid var(--rule-strong);
    border-radius: var(--radius);
    background: var(--raised);
  }
  /* Text for screen readers stays within the box that scrolls. */
  th {
    position: relative;
  }
  .ranks {
    width: auto;
  }
  .ranks :is(th, td) {
    padding: 0 2px;
    text-align: center;
    height: 40px;
  }
  .ranks thead th {
    height: 24px;
    min-width: 32px;
  }
  .ranks th:first-child {
    padding-left: 0;
    text-align: left;
  }
  .ranks .now {
    padding: 0 4px;
    text-align: left;
    color: var(--ink-2);
    min-width: 80px;
  }
  .cell {
    display: grid;
    place-items: center;
    width: 32px;
    height: 32px;
    margin: 0 auto;
    padding: 0;
    border: 1px solid transparent;
    border-radius: var(--radius);
    background: none;
    cursor: pointer;
  }
  .cell:hover {
    background: var(--sunken);
  }
  .cell[aria-pressed="true"] {
    border-color: var(--accent);
    box-shadow: inset 0 0 0 1px var(--accent);
  }
  .cell.ahead i {
    width: 6px;
    height: 6px;
    border-radius: 50%;
    border: 1px solid var(--rule-strong);
  }
  .cell b {
    min-width: 16px;
    color: var(--ink-2);
    font-weight: 400;
  }
  .cell.live :is(.disc, b) {
    outline-offset: 2px;
    border-radius: 9px;
  }
  .cell.halted.live :is(.disc, b) {
    outline: 2px solid var(--ink);
  }
  .cell.going.live :is(.disc, b) {
    outline: 2px dashed var(--wait);
  }
  .keys {
    margin: 8px 0 24px;
  }
  kbd {
    padding: 0 4px;
    border: 1px solid var(--rule-strong);
    border-radius: 3px;
    font: 12px/16px var(--mono);
  }
  .title .disc {
    vertical-align: 2px;
  }
  .rank .facts {
    margin-bottom: 16px;
  }
  :is(.facts, .quiet, td) .disc {
    min-width: 16px;
    height: 16px;
    font-size: 10px;
    line-height: 16px;
    vertical-align: 1px;
  }
  :is(.excerpt, .story) td {
    font-size: 12px;
  }
  :is(.excerpt, .wire) :is(th, td) {
    padding-left: 12px;
  }
  .story :is(th, td) {
    padding-left: 8px;
  }
  :is(.excerpt, .story, .wire) th:first-child {
    padding-left: 0;
  }
  .button[aria-disabled="true"] {
    color: var(--ink-2);
    border-color: var(--rule);
    cursor: not-allowed;
  }
  .button.primary[aria-disabled="true"] {
    background: var(--sunken);
  }
  .excerpt .chosen > * {
    background: var(--sunken);
    font-weight: 600;
  }
  .later > * {
    color: var(--ink-2);
  }
  .sum > * {
    border-top-color: var(--rule-strong);
  }
  .choose {
    ${flow};
    gap: 4px 16px;
    ${note};
    margin-bottom: 8px;
  }
  .choose input {
    ${field};
    width: 72px;
    font-weight: 600;
  }
  .panels {
    ${flow};
    gap: 16px;
    margin: 16px 0;
  }
  .panel {
    flex: 1 1 208px;
    max-width: 288px;
    min-width: 0;
    font-family: var(--sans);
  }
  .panel text {
    font-size: var(--tiny);
    fill: var(--ink-2);
  }
  .panel .head {
    font-size: 12px;
    font-weight: 600;
  }
  .panel :is(.head, .row, .value) {
    fill: var(--ink);
  }
  .panel .row.later {
    fill: var(--ink-2);
  }
  .panel .value {
    text-anchor: end;
  }
  .panel .tick {
    text-anchor: middle;
  }
  .guide,
  .grid {
    stroke: var(--rule);
  }
  .frame {
    fill: none;
    stroke: var(--rule-strong);
  }
  .old {
    opacity: 0.45;
  }
  .dot {
    stroke: var(--ink);
  }
  .trail {
    fill: none;
    stroke: var(--ink-2);
  }
  .end {
    stroke: var(--accent);
    stroke-dasharray: 4 3;
  }
  .stem {
    stroke: var(--ink-2);
  }
  .story,
  .wire {
    margin-bottom: 8px;
  }
  .second ringside-scroll {
    margin-top: 8px;
  }
  .button.small {
    min-height: 24px;
    padding: 0 8px;
  }
  @media (max-width: 1240px) {
    .walk {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media (max-width: 480px) {
    .break > div {
      position: static;
      margin-top: 8px;
    }
  }
`;
