/** The Remote view's own styles, over the views'. */
import { css } from "lit";
import { column, halves, line, note, ring, small } from "../../lib/elements/style-parts.ts";

/** The machine, cards of both variants, the chart of rows, the comparison. */
export const remoteStyle = css`
  .stage.over {
    outline: 2px dashed var(--accent);
    outline-offset: -8px;
  }
  .result {
    grid-template-columns: minmax(280px, 4fr) minmax(0, 9fr);
    gap: 32px 48px;
    max-width: 1440px;
  }
  .first {
    ${column};
    gap: 24px;
  }
  .what {
    margin-bottom: 16px;
  }
  .banner {
    ${line};
    gap: 8px 24px;
    max-width: 1440px;
    margin-bottom: 24px;
    padding: 12px 16px;
    border: 1px solid var(--warn);
    border-left-width: 4px;
    border-radius: var(--radius);
    background: var(--sunken);
    font-size: var(--note);
  }
  .banner > div {
    flex: 1 1 320px;
    min-width: 0;
    overflow-wrap: anywhere;
  }
  .banner .tag {
    margin-right: 8px;
    padding: 1px 8px;
    border: 1px solid var(--warn);
    border-radius: 10px;
    font-size: var(--small);
  }
  .device {
    display: block;
  }
  .kernels :is(th, td) {
    vertical-align: top;
  }
  .kernels th[scope="row"] {
    white-space: normal;
    overflow-wrap: anywhere;
  }
  :is(.kernels, .terms) small {
    display: block;
    ${small};
  }
  .kernels .chosen > * {
    background: var(--sunken);
  }
  .picked {
    margin-left: 4px;
    padding: 0 6px;
    border: 1px solid var(--good);
    border-radius: 8px;
    color: var(--good);
    font-size: var(--tiny);
    font-weight: 600;
  }
  .laps {
    ${halves};
    gap: 24px 32px;
  }
  .laps.one {
    grid-template-columns: minmax(0, 640px);
  }
  .lap {
    min-width: 0;
    padding-top: 8px;
    border-top: 2px solid var(--rule-strong);
  }
  .lap .bar {
    flex-wrap: wrap;
    gap: 4px 16px;
    padding: 0;
    font-size: var(--note);
  }
  .lap .bar progress {
    flex: 1;
    min-width: 96px;
    max-width: 256px;
  }
  .lap .bad {
    margin: 8px 0;
    padding: 12px 16px;
  }
  h3 {
    margin: 0;
    font-size: 14px;
    font-weight: 600;
    color: var(--bad);
  }
  .figures {
    gap: 4px 32px;
    margin: 8px 0;
  }
  .figures dd {
    font-size: 24px;
    line-height: 32px;
    letter-spacing: -0.01em;
  }
  figure svg {
    display: block;
    width: 100%;
    margin-top: 8px;
  }
  svg text {
    font-size: var(--tiny);
    fill: var(--ink-2);
  }
  .grid {
    stroke: var(--rule);
  }
  .bar-line {
    stroke: var(--bad);
    stroke-dasharray: 4 3;
  }
  svg .bar-name {
    fill: var(--bad);
  }
  .row {
    fill: var(--ink);
    fill-opacity: 0.75;
  }
  .row.off {
    fill: var(--bad);
    fill-opacity: 1;
  }
  .worst {
    ${ring};
  }
  .compared {
    ${column};
    gap: 8px;
    max-width: 880px;
  }
  .compared .title {
    margin: 0;
  }
  .against {
    ${note};
  }
  .terms .sum > * {
    border-top-color: var(--rule-strong);
  }
  .terms .sum th {
    font-weight: 600;
  }
  .terms .apart {
    color: var(--ink-2);
  }
  .sources {
    max-width: 80ch;
  }
  .actions {
    margin-top: 16px;
  }
  .bars th:first-child {
    white-space: normal;
  }
  @media (max-width: 1180px) {
    .result {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media (max-width: 760px) {
    .laps {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media print {
    details,
    .against,
    ringside-remote-connect,
    .open {
      display: none;
    }
  }
`;
