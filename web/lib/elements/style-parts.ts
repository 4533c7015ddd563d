/** Declarations that many styles repeat. A rule includes one as `${flow};`. */
import { css } from "lit";

/** Boxes side by side that wrap. */
export const flow = css`
  display: flex;
  flex-wrap: wrap;
`;

/** Boxes side by side that wrap, centred on their line. */
export const line = css`
  ${flow};
  align-items: center;
`;

/** One column from the top, as narrow as there is room. */
export const column = css`
  display: grid;
  grid-template-columns: minmax(0, 1fr);
  align-content: start;
  min-width: 0;
`;

/** Two equal columns. */
export const halves = css`
  display: grid;
  grid-template-columns: repeat(2, minmax(0, 1fr));
`;

/** Text beside what matters: labels, legends, captions. */
export const small = css`
  font-size: var(--small);
  font-weight: 400;
  color: var(--ink-2);
`;

/** Text under what matters: remarks and details. */
export const note = css`
  font-size: var(--note);
  color: var(--ink-2);
`;

/** A box to type or choose in. */
export const field = css`
  height: 28px;
  padding: 0 4px;
  border: 1px solid var(--rule-strong);
  border-radius: var(--radius);
  background: var(--raised);
  color: var(--ink);
`;

/** A button that looks like its text. */
export const bare = css`
  padding: 0;
  border: 0;
  background: none;
  cursor: pointer;
`;

/** A button among small text. */
export const compact = css`
  min-height: 28px;
  padding: 1px 10px;
  font-size: var(--small);
`;

/** A shape's outline around what the reader chose or points at. */
export const ring = css`
  fill: none;
  stroke: var(--accent);
  stroke-width: 2;
`;
