/** A view that fills the window: its sentence at the top, its stage, its timeline at the bottom. */
import { css } from "lit";
import { flow, halves } from "./style-parts.ts";

/** `--time` is the most height of the timeline. */
export const frameStyle = css`
  :host {
    display: grid;
    grid-template: auto minmax(0, 1fr) auto / minmax(0, 1fr);
    position: relative;
    min-width: 0;
  }
  .top {
    padding: 16px 24px;
    border-bottom: 1px solid var(--rule);
  }
  /* Hidden captions belong to the box that scrolls, else they make the page longer. */
  .stage {
    position: relative;
    padding: 24px;
    min-width: 0;
  }
  .time {
    position: relative;
    min-width: 0;
    padding: 0 24px;
    border-top: 1px solid var(--rule);
    background: var(--paper);
  }
  /* Timelines side by side. */
  div.times {
    ${halves};
    gap: 0 48px;
  }
  div.times.one {
    grid-template-columns: minmax(0, 1fr);
  }
  .trace {
    ${flow};
    gap: 8px;
    padding-bottom: 8px;
  }
  /* A button that chooses files: its input lies over it, unseen. */
  .chooser {
    position: relative;
    display: inline-block;
  }
  .chooser input {
    position: absolute;
    inset: 0;
    width: 100%;
    opacity: 0;
    cursor: pointer;
  }
  .chooser input:focus-visible + .button {
    outline: 2px solid var(--accent);
    outline-offset: 2px;
  }
  @media screen and (min-width: 900px) and (min-height: 720px) {
    :host {
      height: 100dvh;
    }
    .stage,
    .time {
      overflow-y: auto;
    }
    .time {
      max-height: var(--time, 40dvh);
    }
  }
  @media (max-width: 1180px) {
    div.times {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media (max-width: 640px) {
    .top,
    .stage {
      padding: 16px;
    }
    .time {
      padding: 0 16px;
    }
  }
  @media print {
    :host {
      display: block;
    }
  }
`;
