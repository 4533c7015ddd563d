/** The timeline's own styles, over those of pictures with axes. */
import { css } from "lit";
import { compact, line, note, ring } from "../elements/style-parts.ts";

/** Colours are kinds of time. Header and axis stay in sight while the lanes scroll. */
export const timelineStyle = css`
  header {
    ${line};
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
    border-color: var(--rule);
  }
  .controls .button:not(.square) {
    ${compact};
  }
  .controls .button:hover:not([disabled]) {
    border-color: var(--rule-strong);
  }
  .controls .button[aria-pressed="true"] {
    border-color: var(--ink);
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
  .lane-name {
    text-anchor: end;
  }
  .number {
    font-weight: 700;
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
    ${ring};
  }
  .lit {
    stroke-opacity: 0.7;
  }
  /* A separate layer, so that playing a run does not repaint the lanes. */
  .cursor {
    position: absolute;
    inset: 0 auto 0 -1px;
    width: 1.5px;
    background: var(--ink);
    will-change: transform;
  }
  .details {
    ${line};
    gap: 0 16px;
    min-height: 28px;
    ${note};
  }
  .details .disc {
    margin-right: -4px;
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
