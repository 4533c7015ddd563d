/** What the views share: cards for their states, a result in two columns, large figures, facts, bars of progress. */
import { css } from "lit";
import { column, field, flow, small } from "./style-parts.ts";

/** Over the shared styles; a view's own styles come after it. */
export const viewStyle = css`
  ringside-own {
    margin-bottom: 12px;
  }
  .title {
    font-size: 18px;
    font-weight: 600;
    line-height: 24px;
    margin-bottom: 8px;
  }
  .title small {
    margin-left: 8px;
    font-size: var(--note);
  }
  select {
    ${field};
    max-width: 100%;
  }
  .card {
    max-width: 640px;
  }
  .card > p,
  .prose {
    max-width: 68ch;
  }
  .bad {
    padding: 16px 24px;
    border: 1px solid var(--bad);
    border-radius: var(--radius);
    background: var(--bad-wash);
  }
  .bad .title {
    color: var(--bad);
  }
  .message {
    margin: 8px 0;
    font-family: var(--mono);
    font-size: var(--note);
    overflow-wrap: anywhere;
    white-space: pre-wrap;
  }
  .again {
    margin-top: 16px;
  }
  .stale {
    margin-bottom: 16px;
    padding: 8px 12px;
    border-left: 3px solid var(--warn);
    background: var(--sunken);
    font-size: var(--note);
  }
  .tag {
    font-weight: 600;
    color: var(--warn);
  }
  /* A title with controls on its right. */
  .bar-top {
    ${flow};
    align-items: baseline;
    justify-content: space-between;
    gap: 0 24px;
  }
  .actions {
    ${flow};
    gap: 8px;
  }
  dt {
    ${small};
    line-height: 16px;
  }
  dd {
    line-height: 24px;
  }
  .sizes,
  .errors,
  .figures {
    ${flow};
    gap: 16px 32px;
    margin: 16px 0;
  }
  .sizes {
    margin: 24px 0 0;
  }
  .sizes dd {
    font-weight: 600;
  }
  .errors dd {
    font-size: 28px;
    line-height: 40px;
    letter-spacing: -0.01em;
  }
  .facts div {
    display: grid;
    grid-template-columns: 96px minmax(0, 1fr);
    padding: 3px 0;
    border-top: 1px solid var(--rule);
    font-size: var(--note);
  }
  .facts :is(dt, dd) {
    line-height: 18px;
    overflow-wrap: anywhere;
  }
  .steps {
    margin-top: 8px;
  }
  .steps li {
    display: grid;
    grid-template: 32px auto / 32px minmax(0, 1fr);
    align-items: center;
    color: var(--ink-2);
  }
  .steps .now {
    color: var(--ink);
    font-weight: 600;
  }
  .mark {
    display: grid;
    place-items: center;
    width: 20px;
    height: 20px;
    border: 1px solid var(--rule-strong);
    border-radius: 50%;
    font-size: var(--tiny);
    font-weight: 600;
  }
  .past .mark {
    border-color: var(--good);
    color: var(--good);
  }
  .now .mark {
    background: var(--accent);
    border-color: var(--accent);
    color: var(--on-accent);
  }
  .bar {
    grid-column: 2;
    display: flex;
    align-items: center;
    gap: 16px;
    padding-bottom: 8px;
    font-weight: 400;
    color: var(--ink-2);
  }
  progress {
    appearance: none;
    width: 256px;
    max-width: 50%;
    height: 6px;
    border: 0;
    border-radius: 3px;
    background: var(--rule);
    overflow: hidden;
    accent-color: var(--accent);
  }
  progress::-webkit-progress-bar {
    background: var(--rule);
  }
  progress::-webkit-progress-value {
    background: var(--accent);
  }
  progress::-moz-progress-bar {
    background: var(--accent);
  }
  progress:indeterminate {
    background: linear-gradient(to right, transparent, var(--accent), transparent) no-repeat -50% 0 / 50% 100%,
      var(--rule);
  }
  @media (prefers-reduced-motion: no-preference) {
    progress:indeterminate {
      animation: seek 1.4s linear infinite;
    }
    @keyframes seek {
      to {
        background-position: 150% 0, 0 0;
      }
    }
  }
  .result {
    display: grid;
    grid-template-columns: minmax(320px, 4fr) minmax(0, 7fr);
    gap: 32px 64px;
    max-width: 1280px;
  }
  .first {
    min-width: 0;
  }
  .second {
    ${column};
    gap: 32px;
  }
  .times :is(th, td):nth-child(2) {
    width: 96px;
  }
  .times th:first-child {
    width: 200px;
  }
  .times .swatch {
    margin-right: 4px;
  }
  .share {
    text-align: left;
    color: var(--ink-2);
  }
  .apart > *,
  .minor dd {
    color: var(--ink-2);
  }
  .share i {
    display: block;
    height: 8px;
    min-width: 1px;
    border-radius: 1px;
  }
  @media (max-width: 1080px) {
    .result {
      grid-template-columns: minmax(0, 1fr);
    }
  }
  @media (max-width: 480px) {
    .times th:first-child {
      width: auto;
    }
    .errors {
      gap: 8px 24px;
    }
  }
`;
