/** The drawings in the figures of Learn: columns of keys, masks, parts of a whole, the ring, a line with borders. */
import { css } from "lit";
import { small } from "../../lib/elements/style-parts.ts";

/** For Learn, after the style of its figures. */
export const drawingStyle = css`
  /* Columns of keys. */
  .keys {
    display: grid;
    grid-template-columns: repeat(var(--n), minmax(0, 1fr));
    margin-bottom: 16px;
  }
  .keys > * {
    text-align: center;
    font-size: var(--tiny);
    line-height: 16px;
  }
  .plot {
    position: relative;
    height: 96px;
    border-bottom: 1px solid var(--rule);
  }
  .plot.low {
    height: 64px;
  }
  .plot i {
    position: absolute;
  }
  .plot .dot {
    left: 50%;
    width: 10px;
    height: 10px;
    margin: -5px;
    border-radius: 50%;
    background: var(--ink);
  }
  .plot .max {
    inset: auto 0;
    height: 2px;
    margin-top: -1px;
    background: var(--accent);
  }
  .plot .bar {
    inset: auto 20% 0;
    min-height: 1px;
    background: var(--attend);
  }
  .keys .later {
    color: var(--ink-2);
  }
  .keys .later .dot {
    background: none;
    box-shadow: inset 0 0 0 1.5px var(--rule-strong);
  }
  .keys .now {
    background: var(--sunken);
  }
  /* Masks. */
  .legend {
    gap: 4px 16px;
    margin-bottom: 8px;
  }
  .legend i {
    width: 12px;
    height: 12px;
  }
  svg.mask {
    display: block;
    width: 100%;
    max-width: 320px;
    aspect-ratio: 1;
    background: var(--sunken);
  }
  .full {
    fill: var(--attend);
    background: var(--attend);
  }
  .cut {
    fill: color-mix(in srgb, var(--attend) 45%, var(--paper));
    background: color-mix(in srgb, var(--attend) 45%, var(--paper));
  }
  .skipped {
    fill: none;
    box-shadow: inset 0 0 0 1px var(--rule-strong);
  }
  .mask rect {
    stroke: var(--paper);
    stroke-width: 0.04;
  }
  .mask .row {
    fill: var(--paper);
    stroke: var(--accent);
    stroke-width: 2px;
    vector-effect: non-scaling-stroke;
  }
  i.row {
    box-shadow: inset 0 0 0 2px var(--accent);
  }
  .mask [data-lit] {
    outline: none;
    stroke: var(--ink);
    stroke-width: 2px;
    vector-effect: non-scaling-stroke;
  }
  /* Parts of a whole. */
  .whole {
    display: flex;
    height: 32px;
    margin-bottom: 16px;
    overflow: hidden;
    border-radius: 2px;
    background: var(--sunken);
  }
  .whole > * {
    display: grid;
    place-items: center;
    min-width: 0;
    overflow: hidden;
    font-size: var(--tiny);
    font-weight: 700;
    box-shadow: inset -1px 0 0 var(--paper);
  }
  .whole > .current {
    outline: 2px solid var(--ink);
    outline-offset: -2px;
  }
  .whole.thin {
    height: 20px;
    max-width: 320px;
    margin-bottom: 4px;
  }
  .whole > .cached {
    font-weight: 400;
    color: var(--ink-2);
  }
  /* The ring. */
  svg.ring {
    display: block;
    width: 100%;
    max-width: 300px;
    margin: 0 auto;
  }
  .ring text {
    font: 600 13px var(--sans);
    text-anchor: middle;
    dominant-baseline: central;
  }
  .ring .label {
    font-weight: 400;
    font-size: 12px;
    fill: var(--ink-2);
  }
  .ring .arc {
    fill: none;
    stroke: var(--rule-strong);
    stroke-width: 1.5;
  }
  .ring .head {
    fill: var(--rule-strong);
  }
  .ring .seat {
    fill: var(--paper);
    stroke: var(--ink-2);
  }
  /* A line with a border on it. */
  .named {
    display: grid;
    grid-template-columns: 84px minmax(0, 1fr);
    align-items: center;
    gap: 0 8px;
    ${small};
  }
  .line {
    position: relative;
    height: 72px;
    margin: 0 8px;
  }
  .line > *,
  .axis b {
    position: absolute;
  }
  .axis {
    inset: 36px 0 auto;
  }
  .axis,
  .axis b {
    height: 4px;
    border-radius: 2px;
    background: var(--rule-strong);
  }
  .axis b {
    background: var(--accent);
  }
  .line .at {
    top: 26px;
    width: 2px;
    height: 24px;
    margin-left: -1px;
    background: var(--ink);
  }
  .line .you {
    top: 30px;
    width: 16px;
    height: 16px;
    margin-left: -8px;
    border: 3px solid var(--paper);
    border-radius: 50%;
    background: var(--accent);
    box-shadow: 0 0 0 1px var(--accent);
  }
  .line span {
    top: 4px;
    line-height: 16px;
    white-space: nowrap;
    transform: translateX(-50%);
  }
  .line span.start {
    transform: none;
  }
  .line span.end {
    transform: translateX(-100%);
  }
  .line span.under {
    top: 54px;
  }
  @media print {
    .whole > *,
    .plot i,
    .legend i {
      print-color-adjust: exact;
    }
  }
`;
