/** The styles of traces, over those of the check. */
import { css } from "lit";

/** Hidden and exposed time in one bar, in the colours of the timeline. */
export const tracesStyle = css`
  :host {
    --time: 44dvh;
  }
  .bar-top {
    font-size: 18px;
    line-height: 32px;
  }
  .bar-top > .actions {
    font-size: var(--text);
  }
  .both {
    display: flex;
    height: 8px;
    margin-top: 4px;
  }
  .both i {
    width: calc(100% * var(--hidden));
    background: var(--transfer);
  }
  .both i + i {
    width: calc(100% * var(--exposed));
    background: repeating-linear-gradient(-45deg, var(--wait) 0 2px, transparent 2px 4px);
    box-shadow: inset 0 0 0 1px var(--wait);
  }
  .cell {
    min-width: 136px;
  }
  .said {
    padding: 8px 0;
    font-size: var(--small);
    color: var(--ink-2);
  }
  table:not(.grid) {
    max-width: 880px;
  }
`;
