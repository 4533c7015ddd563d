/** The adapter's badge: what will compute or did, and whether it is a GPU. */
import { css, html, type TemplateResult } from "lit";
import type { Adapter } from "../adapter.ts";
import type { RunState } from "../experiment/run.ts";
import "./kernels.ts";

/** The adapter of the run, or else the browser's. It names a fall-back and the visitor's own kernels. */
export function badge(adapter: Adapter | undefined, backend: string, state: RunState): TemplateResult {
  const ran = state.phase === "done" ? state.result?.report : undefined;
  if (adapter === undefined) {
    return html`<p class="badge"><span class="lamp"></span><span>looking for an adapter …</span></p>`;
  }
  if (!adapter.webgpu) {
    const asked = backend === "webgpu";
    return html`<p class="badge"><span class="lamp soft"></span><span><b>Plain TypeScript</b> on the CPU${
      asked ? `: ${adapter.name}` : ""
    }</span></p>`;
  }
  if (backend === "cpu") {
    return html`<p class="badge"><span class="lamp soft"></span><span><b>Plain TypeScript</b> on the CPU, as chosen</span></p>`;
  }
  const name = ran?.backend === "webgpu" ? ran.adapter.name : adapter.name;
  return html`
    <p class="badge"><span class="lamp ${adapter.software ? "soft" : "hard"}"></span><span><b>${adapter.software
      ? "Software adapter"
      : "GPU"}</b> ${name}</span></p>
    <ringside-kernels></ringside-kernels>
  `;
}

/** For the element that shows the badge. */
export const badgeStyle = css`
  .badge {
    display: flex;
    align-items: baseline;
    gap: 8px;
    max-width: 280px;
    font-size: var(--small);
    line-height: 16px;
    color: var(--ink-2);
  }
  .badge b {
    font-weight: 600;
    color: var(--ink);
  }
  .lamp {
    flex: none;
    width: 8px;
    height: 8px;
    border-radius: 50%;
    border: 1.5px solid var(--ink-2);
  }
  .lamp.hard {
    background: var(--good);
    border-color: var(--good);
  }
  .lamp.soft {
    border-color: var(--warn);
    background: linear-gradient(to right, var(--warn) 50%, transparent 50%);
  }
`;
