/** The Step view's own styles, over the Lab's. */
import { css } from "lit";

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
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
    margin-bottom: 16px;
  }
  .break {
    position: relative;
  }
  .break summary {
    list-style: none;
    color: var(--ink-2);
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
  /* What is only read out stays within the box that scrolls. */
  th {
    position: relative;
  }
  .ranks {
    width: auto;
  }
  .ranks th,
  .ranks td {
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
    color: var(--ink-2);
    font-weight: 400;
  }
  .cell.halted.live .disc,
  .cell.halted.live b {
    outline: 2px solid var(--ink);
    outline-offset: 2px;
    border-radius: 9px;
  }
  .cell.going.live .disc,
  .cell.going.live b {
    outline: 2px dashed var(--wait);
    outline-offset: 2px;
    border-radius: 9px;
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
  .title small {
    margin-left: 8px;
    font-size: 13px;
    font-weight: 400;
    color: var(--ink-2);
  }
  .rank .facts {
    margin-bottom: 16px;
  }
  .facts .disc,
  .quiet .disc,
  td .disc {
    min-width: 16px;
    height: 16px;
    font-size: 10px;
    line-height: 16px;
    vertical-align: 1px;
  }
  .mail {
    list-style: none;
  }
  .excerpt td,
  .story td {
    font-size: 12px;
  }
  .excerpt td,
  .excerpt th,
  .wire td,
  .wire th {
    padding-left: 12px;
  }
  .story td,
  .story th {
    padding-left: 8px;
  }
  .excerpt th:first-child,
  .story th:first-child,
  .wire th:first-child {
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
  .link {
    padding: 0;
    border: 0;
    background: none;
    color: var(--accent);
    text-decoration: underline;
    cursor: pointer;
  }
  .later > * {
    color: var(--ink-2);
  }
  .sum > * {
    border-top-color: var(--rule-strong);
  }
  .bar-top {
    display: flex;
    flex-wrap: wrap;
    align-items: baseline;
    justify-content: space-between;
    gap: 0 24px;
  }
  .choose {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 16px;
    font-size: 13px;
    color: var(--ink-2);
    margin-bottom: 8px;
  }
  .choose input {
    width: 72px;
    height: 28px;
    padding: 0 4px;
    border: 1px solid var(--rule-strong);
    border-radius: var(--radius);
    background: var(--raised);
    color: var(--ink);
    font-weight: 600;
  }
  .panels {
    display: flex;
    flex-wrap: wrap;
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
    font-size: 11px;
    fill: var(--ink-2);
  }
  .panel .head {
    font-size: 12px;
    font-weight: 600;
    fill: var(--ink);
  }
  .panel .row {
    fill: var(--ink);
  }
  .panel .row.later {
    fill: var(--ink-2);
  }
  .panel .value {
    text-anchor: end;
    fill: var(--ink);
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
    stroke-width: 1;
  }
  .trail {
    fill: none;
    stroke: var(--ink-2);
    stroke-width: 1;
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
