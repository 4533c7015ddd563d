/** The Remote view's own styles, over the Lab's. */
import { css } from "lit";

/** The shell's three parts within the view, cards of both variants, the chart of rows, the comparison. */
export const remoteStyle = css`
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
  .stage {
    padding: 24px;
    min-width: 0;
  }
  .stage.over {
    outline: 2px dashed var(--accent);
    outline-offset: -8px;
  }
  .time {
    min-width: 0;
    padding: 0 24px;
    border-top: 1px solid var(--rule);
    background: var(--paper);
  }
  .result {
    grid-template-columns: minmax(280px, 4fr) minmax(0, 9fr);
    gap: 32px 48px;
    max-width: 1440px;
  }
  .first {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 24px;
    align-content: start;
  }
  .second {
    gap: 32px;
  }
  .title small {
    margin-left: 8px;
    font-weight: 400;
    font-size: 13px;
    color: var(--ink-2);
  }
  .title small.good {
    color: var(--good);
  }
  .title small.wrong {
    color: var(--bad);
  }
  .prose {
    max-width: 68ch;
  }
  .what {
    margin-bottom: 16px;
  }
  .banner {
    display: flex;
    flex-wrap: wrap;
    align-items: center;
    gap: 8px 24px;
    max-width: 1440px;
    margin-bottom: 24px;
    padding: 12px 16px;
    border: 1px solid var(--warn);
    border-left-width: 4px;
    border-radius: var(--radius);
    background: var(--sunken);
    font-size: 13px;
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
  .kernels th,
  .kernels td {
    vertical-align: top;
  }
  .kernels th[scope="row"] {
    white-space: normal;
    overflow-wrap: anywhere;
  }
  .kernels small,
  .terms small {
    display: block;
    color: var(--ink-2);
    font-size: var(--small);
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
    font-size: 11px;
    font-weight: 600;
  }
  .laps {
    display: grid;
    grid-template-columns: repeat(2, minmax(0, 1fr));
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
    font-size: 13px;
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
    display: flex;
    flex-wrap: wrap;
    gap: 4px 32px;
    margin: 8px 0;
  }
  .figures dd {
    font-size: 24px;
    line-height: 32px;
    letter-spacing: -0.01em;
  }
  .figures .minor dd {
    color: var(--ink-2);
  }
  figure svg {
    display: block;
    width: 100%;
    height: auto;
    margin-top: 8px;
  }
  svg text {
    font-size: 11px;
    fill: var(--ink-2);
    font-variant-numeric: tabular-nums;
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
    fill: none;
    stroke: var(--accent);
    stroke-width: 2;
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
  .compared {
    display: grid;
    grid-template-columns: minmax(0, 1fr);
    gap: 8px;
    max-width: 880px;
  }
  .compared .title {
    margin: 0;
  }
  .against {
    font-size: 13px;
    color: var(--ink-2);
  }
  select {
    height: 28px;
    padding: 0 4px;
    border: 1px solid var(--rule-strong);
    border-radius: var(--radius);
    background: var(--raised);
    color: var(--ink);
    max-width: 100%;
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
    list-style: none;
    max-width: 80ch;
  }
  .actions,
  .trace {
    display: flex;
    flex-wrap: wrap;
    gap: 8px;
    margin-top: 16px;
  }
  .trace {
    margin: 0;
    padding-bottom: 8px;
  }
  .times {
    display: grid;
    grid-template-columns: repeat(2, minmax(0, 1fr));
    gap: 0 48px;
  }
  .times.one {
    grid-template-columns: minmax(0, 1fr);
  }
  .link {
    padding: 0;
    border: 0;
    background: none;
    color: var(--accent);
    text-decoration: underline;
    cursor: pointer;
  }
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
  .bars th:first-child {
    white-space: normal;
  }
  @media screen and (min-width: 900px) and (min-height: 720px) {
    :host {
      height: 100dvh;
    }
    .stage {
      overflow-y: auto;
    }
    .time {
      max-height: 40dvh;
      overflow-y: auto;
    }
  }
  @media (max-width: 1180px) {
    .times,
    .result {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media (max-width: 760px) {
    .laps {
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
    details,
    .against,
    ringside-remote-connect,
    .open {
      display: none;
    }
  }
`;
