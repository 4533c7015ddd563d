/** The look of both charts, over that of pictures with axes. */
import { css } from "lit";
import { flow, note, ring } from "../../lib/elements/style-parts.ts";

/** Ink for data, one accent for the sentence's own step, a pattern or a shape beside every difference. */
export const chartStyle = css`
  figure {
    min-width: 0;
  }
  .head {
    ${flow};
    align-items: baseline;
    justify-content: space-between;
    gap: 0 16px;
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
    min-height: 24px;
    line-height: 20px;
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
  .tick.side {
    text-anchor: end;
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
  /* Points of the paper: filled, hollow, or crossed out. */
  .paper,
  .measured {
    fill: var(--ink);
    stroke: var(--paper);
    stroke-width: 1.5;
  }
  .measured {
    outline: none;
  }
  .paper {
    pointer-events: none;
  }
  .paper.calibrated,
  .measured.pass-q {
    fill: var(--paper);
    stroke: var(--ink);
  }
  .paper.excluded {
    fill: none;
    stroke: var(--ink);
  }
  .paper.excluded,
  .measured.pass-q {
    stroke-width: 2;
  }
  .focus,
  .here {
    ${ring};
    pointer-events: none;
  }
  .here {
    stroke-width: 2.5;
  }
  .region-q {
    fill: var(--accent);
    fill-opacity: 0.24;
  }
  .region-unfit {
    fill: var(--ink);
    fill-opacity: 0.1;
  }
  .region-tie {
    fill: url(#tie);
  }
  .tie-line {
    fill: var(--accent);
    fill-opacity: 0.45;
  }
  .region-name,
  .border-name {
    fill: var(--ink);
    paint-order: stroke;
    stroke: var(--paper);
    stroke-width: 3px;
  }
  .region-name {
    font-size: 12px;
    font-weight: 600;
  }
  .region-name.unfit {
    font-weight: 400;
    fill: var(--ink-2);
    stroke: none;
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
  .cross {
    stroke: var(--accent);
    stroke-dasharray: 2 3;
    pointer-events: none;
  }
  .details {
    ${note};
    min-height: 40px;
    margin-top: 4px;
    line-height: 20px;
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
