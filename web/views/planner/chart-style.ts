/** The look of both charts. */
import { css } from "lit";

/** Ink for data, one accent for what the sentence says, patterns and shapes beside every difference. */
export const chartStyle = css`
  figure {
    min-width: 0;
  }
  .head {
    display: flex;
    flex-wrap: wrap;
    align-items: baseline;
    justify-content: space-between;
    gap: 0 16px;
  }
  h2 small {
    font-weight: 400;
    font-size: var(--small);
    color: var(--ink-2);
  }
  .button {
    min-height: 24px;
    padding: 0 8px;
    font-size: var(--small);
    line-height: 22px;
    border-color: var(--rule);
  }
  .buttons {
    display: flex;
    gap: 4px;
  }
  .legend {
    display: flex;
    flex-wrap: wrap;
    gap: 0 16px;
    min-height: 24px;
    list-style: none;
    font-size: var(--small);
    line-height: 20px;
    color: var(--ink-2);
  }
  .legend li {
    display: flex;
    align-items: center;
    gap: 6px;
  }
  .legend svg {
    flex: none;
  }
  .plot {
    margin-top: 8px;
    overflow: clip;
  }
  .plot > svg {
    display: block;
    touch-action: pan-y;
    cursor: pointer;
  }
  text {
    font-size: 11px;
    fill: var(--ink-2);
    font-variant-numeric: tabular-nums;
    user-select: none;
  }
  .tick {
    text-anchor: middle;
  }
  .tick.side {
    text-anchor: end;
  }
  .grid {
    stroke: var(--rule);
    stroke-width: 1;
  }
  .rule {
    stroke: var(--rule-strong);
    stroke-width: 1;
  }
  .line {
    fill: none;
    stroke: var(--ink-2);
    stroke-width: 1.5;
    stroke-linejoin: round;
  }
  .line.tp {
    stroke-dasharray: 5 4;
  }
  .line.now {
    stroke: var(--accent);
    stroke-width: 2.5;
  }
  .dot {
    fill: var(--ink-2);
    stroke: var(--ink-2);
    stroke-width: 1.5;
    outline: none;
  }
  .dot.now {
    fill: var(--accent);
    stroke: var(--accent);
  }
  .dot.unfit {
    fill: var(--paper);
  }
  .series {
    fill: var(--ink-2);
  }
  .series.now {
    fill: var(--accent);
    font-weight: 700;
  }
  .paper {
    fill: var(--ink);
    stroke: var(--paper);
    stroke-width: 1.5;
    pointer-events: none;
  }
  .paper.calibrated {
    fill: var(--paper);
    stroke: var(--ink);
  }
  .paper.excluded {
    fill: none;
    stroke: var(--ink);
    stroke-width: 2;
  }
  .focus {
    fill: none;
    stroke: var(--accent);
    stroke-width: 2;
    pointer-events: none;
  }
  .region-q {
    fill: var(--accent);
    fill-opacity: 0.24;
  }
  .region-unfit {
    fill: var(--ink);
    fill-opacity: 0.1;
  }
  .region-name.unfit {
    font-weight: 400;
    fill: var(--ink-2);
    stroke: none;
  }
  .region-tie {
    fill: url(#tie);
  }
  .tie-line {
    fill: var(--accent);
    fill-opacity: 0.45;
  }
  .region-name {
    font-size: 12px;
    font-weight: 600;
    fill: var(--ink);
    paint-order: stroke;
    stroke: var(--paper);
    stroke-width: 3px;
  }
  .border {
    fill: none;
    stroke: var(--ink);
    stroke-width: 1.75;
    stroke-linejoin: round;
  }
  .border.alg1 {
    stroke-dasharray: 7 4;
  }
  .border.fitted {
    stroke-dasharray: 1.5 4;
    stroke-linecap: round;
    stroke-width: 2.25;
  }
  .border.refitted {
    stroke-dasharray: 10 3 2 3;
  }
  .border-name {
    fill: var(--ink);
    paint-order: stroke;
    stroke: var(--paper);
    stroke-width: 3px;
  }
  .measured {
    fill: var(--ink);
    stroke: var(--paper);
    stroke-width: 1.5;
    outline: none;
  }
  .measured.pass-q {
    fill: var(--paper);
    stroke: var(--ink);
    stroke-width: 2;
  }
  .cross {
    stroke: var(--accent);
    stroke-width: 1;
    stroke-dasharray: 2 3;
    pointer-events: none;
  }
  .here {
    fill: none;
    stroke: var(--accent);
    stroke-width: 2.5;
    pointer-events: none;
  }
  .details {
    min-height: 40px;
    margin-top: 4px;
    font-size: 13px;
    line-height: 20px;
    color: var(--ink-2);
  }
  a {
    color: var(--accent);
  }
  .details b {
    color: var(--ink);
  }
  details {
    font-size: 13px;
  }
  summary {
    cursor: pointer;
    line-height: 24px;
    color: var(--ink-2);
    width: fit-content;
  }
  @media print {
    .buttons,
    details {
      display: none;
    }
    figure {
      break-inside: avoid;
    }
  }
`;
