/** The timeline's own styles. */
import { css } from "lit";

/** Kinds of time by their tokens; header and axis stay in sight while the lanes scroll. */
export const timelineStyle = css`
  header {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 4px 24px;
    min-height: 32px;
  }
  section {
    padding-bottom: 8px;
  }
  .top,
  .axis {
    position: sticky;
    z-index: 1;
    background: var(--paper);
  }
  .top {
    top: 0;
    padding-top: 8px;
  }
  .axis {
    bottom: 0;
  }
  .legend {
    display: flex;
    flex-wrap: wrap;
    gap: 0 16px;
    list-style: none;
    font-size: var(--small);
    color: var(--ink-2);
  }
  .legend li {
    display: flex;
    align-items: center;
    gap: 6px;
  }
  .owner {
    width: 16px;
    height: 10px;
    border-radius: 2px;
    background: linear-gradient(to bottom, var(--attend) 5px, transparent 5px), linear-gradient(to right, var(--rank-0)
      33%, var(--rank-1) 33% 66%, var(--rank-2) 66%);
  }
  .controls {
    display: flex;
    gap: 4px;
    margin-left: auto;
  }
  .controls .button {
    min-height: 28px;
    padding: 1px 10px;
    font-size: var(--small);
    border-color: var(--rule);
  }
  .controls .button:hover:not([disabled]) {
    border-color: var(--rule-strong);
  }
  .controls .button[aria-pressed="true"] {
    border-color: var(--ink);
  }
  .controls .square {
    width: 28px;
    padding: 0;
    justify-content: center;
    font-size: 16px;
  }
  .plot {
    position: relative;
    overflow: clip;
  }
  svg {
    display: block;
    touch-action: pan-y;
  }
  svg.pan {
    cursor: grab;
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
  .lane-name {
    text-anchor: end;
  }
  .number {
    text-anchor: middle;
    font-weight: 700;
  }
  .grid {
    stroke: var(--rule);
  }
  .rule {
    stroke: var(--rule-strong);
  }
  .lane {
    fill: var(--ink);
    fill-opacity: 0.045;
  }
  .span {
    outline: none;
  }
  .strip,
  .inside,
  .active,
  .lit,
  .cursor {
    pointer-events: none;
  }
  .inside {
    fill: var(--paper);
    font-size: 10px;
    font-weight: 700;
  }
  .active,
  .lit {
    fill: none;
    stroke: var(--accent);
    stroke-width: 2;
  }
  .lit {
    stroke-opacity: 0.7;
  }
  /* A layer of its own, so that a run that plays does not paint the lanes again. */
  .cursor {
    position: absolute;
    top: 0;
    bottom: 0;
    left: -1px;
    width: 1.5px;
    background: var(--ink);
    will-change: transform;
  }
  .details {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 0 16px;
    min-height: 28px;
    font-size: 13px;
    color: var(--ink-2);
  }
  .details b {
    color: var(--ink);
  }
  .details .disc {
    margin-right: -4px;
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
    .top,
    .axis {
      position: static;
    }
    .controls,
    details {
      display: none;
    }
  }
`;
