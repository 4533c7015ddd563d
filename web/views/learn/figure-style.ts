/** The figures of Learn: frames, controls, bars in tables, columns of keys, masks, strips, the ring. */
import { css } from "lit";

/** Colour is a rank, or a kind of time; the rest is ink. */
export const figureStyle = css`
  figure {
    margin: 24px 0 32px;
    padding: 16px;
    border: 1px solid var(--rule);
    border-radius: var(--radius);
    font-size: 13px;
    line-height: 20px;
    break-inside: avoid;
  }
  figcaption {
    margin-bottom: 12px;
    font-weight: 600;
    line-height: 20px;
  }
  figcaption small {
    display: block;
    font-weight: 400;
    font-size: var(--small);
    color: var(--ink-2);
  }
  .controls {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(144px, 1fr));
    gap: 8px 24px;
    margin-bottom: 16px;
    padding-bottom: 12px;
    border-bottom: 1px solid var(--rule);
  }
  .controls label {
    display: grid;
    align-content: start;
    gap: 2px;
    color: var(--ink-2);
    font-size: var(--small);
    line-height: 20px;
  }
  .controls label > span {
    display: flex;
    justify-content: space-between;
    gap: 8px;
  }
  .controls b {
    color: var(--ink);
    font-weight: 600;
    white-space: nowrap;
  }
  input[type="range"] {
    width: 100%;
    height: 24px;
    margin: 0;
    accent-color: var(--accent);
    cursor: pointer;
  }
  select {
    width: 100%;
    height: 28px;
    padding: 0 4px;
    border: 1px solid var(--rule-strong);
    border-radius: 4px;
    background: var(--raised);
    color: var(--ink);
    font-size: 13px;
  }
  figure > p {
    margin-top: 12px;
    color: var(--ink-2);
  }
  figure > p .v:not(.wrong) {
    color: var(--ink);
  }
  figure > * + ringside-scroll,
  figure > * + table,
  .pair ringside-scroll + table {
    margin-top: 16px;
  }
  .pair {
    display: grid;
    grid-template-columns: repeat(auto-fit, minmax(min(100%, 280px), 1fr));
    gap: 16px 32px;
    align-items: start;
  }
  .pair > * {
    min-width: 0;
  }
  .pair h3 {
    margin: 0 0 4px;
    font-size: 13px;
    line-height: 20px;
  }
  td.meter {
    width: 40%;
    min-width: 72px;
    padding-left: 16px;
  }
  td.meter i {
    display: block;
    height: 12px;
    min-width: 1px;
    border-radius: 1px;
    background: var(--fill, var(--attend));
  }
  td.meter i.hatched {
    background: repeating-linear-gradient(-45deg, var(--wait) 0 2px, transparent 2px 5px);
    box-shadow: inset 0 0 0 1px var(--wait);
  }
  tr.now > * {
    background: var(--sunken);
    font-weight: 600;
  }
  tr.later > * {
    color: var(--ink-2);
  }
  tr.sum > * {
    border-top: 1px solid var(--rule-strong);
    font-weight: 600;
  }
  .wrong {
    color: var(--bad);
  }
  td .disc,
  th .disc {
    min-width: 16px;
    height: 16px;
    line-height: 16px;
  }
  /* Columns of keys. */
  .keys {
    display: grid;
    grid-template-columns: repeat(var(--n), minmax(0, 1fr));
    margin-bottom: 16px;
  }
  .keys > * {
    position: relative;
    text-align: center;
    font-size: 11px;
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
    display: block;
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
    left: 0;
    right: 0;
    height: 2px;
    margin-top: -1px;
    background: var(--accent);
  }
  .plot .bar {
    left: 20%;
    right: 20%;
    bottom: 0;
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
  .legend {
    display: flex;
    flex-wrap: wrap;
    gap: 4px 16px;
    margin: 0 0 8px;
    list-style: none;
    font-size: var(--small);
    color: var(--ink-2);
  }
  .legend li {
    display: flex;
    align-items: center;
    gap: 6px;
  }
  .legend i {
    display: inline-block;
    width: 12px;
    height: 12px;
  }
  /* Masks. */
  svg.mask {
    display: block;
    width: 100%;
    max-width: 320px;
    aspect-ratio: 1;
    background: var(--sunken);
  }
  svg.mask.wide {
    aspect-ratio: auto;
  }
  .mask .full,
  i.full {
    fill: var(--attend);
    background: var(--attend);
  }
  .mask .cut,
  i.cut {
    fill: color-mix(in srgb, var(--attend) 45%, var(--paper));
    background: color-mix(in srgb, var(--attend) 45%, var(--paper));
  }
  .mask .skipped,
  i.skipped {
    fill: none;
    box-shadow: inset 0 0 0 1px var(--rule-strong);
  }
  .mask rect {
    stroke: var(--paper);
    stroke-width: 0.04;
  }
  .mask .row,
  i.row {
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
  /* Parts of one whole. */
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
    font-size: 11px;
    font-weight: 700;
    box-shadow: inset -1px 0 0 var(--paper);
  }
  .whole > .current {
    outline: 2px solid var(--ink);
    outline-offset: -2px;
  }
  .whole.thin {
    height: 20px;
    margin-bottom: 4px;
  }
  .pair .whole.thin {
    max-width: 320px;
  }
  .whole > .cached {
    font-weight: 400;
    color: var(--ink-2);
  }
  .named {
    display: grid;
    grid-template-columns: 84px minmax(0, 1fr);
    align-items: center;
    gap: 0 8px;
    font-size: var(--small);
    color: var(--ink-2);
  }
  .named .whole {
    margin-bottom: 4px;
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
    stroke-width: 1;
  }
  /* A line with borders on it. */
  .line {
    position: relative;
    height: 72px;
    margin: 0 8px;
  }
  .line .axis {
    position: absolute;
    top: 36px;
    left: 0;
    right: 0;
    height: 4px;
    border-radius: 2px;
    background: var(--rule-strong);
  }
  .line .axis b {
    position: absolute;
    inset: 0 auto 0 0;
    border-radius: 2px;
    background: var(--accent);
  }
  .line .at {
    position: absolute;
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
    position: absolute;
    top: 4px;
    font-size: var(--small);
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
    color: var(--ink-2);
  }
  ringside-timeline {
    margin: 16px -8px 0;
  }
  @media screen and (max-width: 640px) {
    figure {
      padding: 12px;
    }
    figure th,
    figure td {
      padding-left: 8px;
    }
    td.meter {
      width: auto;
      min-width: 36px;
    }
  }
  @media print {
    .controls input {
      display: none;
    }
    .controls select {
      padding: 0;
      border: 0;
      appearance: none;
      font-weight: 600;
    }
    figure,
    .whole > *,
    td.meter i,
    .plot i,
    .legend i,
    .disc {
      print-color-adjust: exact;
    }
  }
`;
