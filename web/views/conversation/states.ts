/** The conversation before, during and after its run: its size, its progress, and the verdict. */
import { html, nothing, type TemplateResult } from "lit";
import { formatBytes, formatCount, formatError } from "../../lib/format/format.ts";
import { sayShare, sayWorst } from "../../lib/experiment/bounds.ts";
import { lengthsOf, stepsOf } from "./steps.ts";
import type { ConversationStore } from "./store.ts";
import { overall, type TalkState } from "./talk.ts";

/** Before anything ran. */
export function preview(store: ConversationStore): TemplateResult {
  const { conversation } = store.reading;
  if (conversation === undefined) {
    return html`
      <section>
        <h2 class="title">Nothing to run yet</h2>
        <p>Correct the marked parts, then run it.</p>
      </section>
    `;
  }
  const { N, Hkv, D, sequences, wire } = conversation;
  const tokens = lengthsOf(conversation).reduce((sum, n) => sum + n, 0);
  const steps = stepsOf(conversation);
  const prefills = steps.filter(({ mode }) => mode === "prefill").length;
  return html`
    <section aria-labelledby="empty">
      <h2 id="empty" class="title">A KV cache that stays on ${N} ${N === 1 ? "rank" : "ranks"}</h2>
      <p class="prose">
        One ring pass prefills each turn’s prompt against the whole cache. The reply is decoded token by token, and each
        token’s keys and values go to a rank that holds the fewest. After each turn, a check compares O and LSE of its
        rows with one full prefill in float64. ${store.backend === "cpu" ? "Ranks compute in plain TypeScript." : ""}
      </p>
      <dl class="figures">
        <div>
          <dt>${sequences > 1 ? "Tokens of both sequences" : "Tokens at the end"}</dt>
          <dd>${formatCount(tokens)}</dd>
        </div>
        <div>
          <dt>Tokens per rank</dt>
          <dd>${formatCount(Math.ceil(tokens / N))}</dd>
        </div>
        <div>
          <dt>Keys and values in ${wire}</dt>
          <dd>${formatBytes(2 * tokens * Hkv * D * (wire === "f32" ? 4 : 2))}</dd>
        </div>
        <div>
          <dt>Prefills</dt>
          <dd>${formatCount(prefills)}</dd>
        </div>
        <div>
          <dt>Decode steps</dt>
          <dd>${formatCount(steps.length - prefills)}</dd>
        </div>
      </dl>
    </section>
  `;
}

/** The step under way, in words. */
export function doing({ phase, step, conversation }: TalkState): string {
  const turn = step === undefined ? "" : `Turn ${step.turn + 1}`;
  switch (phase) {
    case "starting":
      return `Start ${conversation?.N} ${conversation?.N === 1 ? "rank" : "ranks"} and their caches`;
    case "repairing":
      return `${turn}: replace the rank that died`;
    case "checking":
      return `${turn}: check O and LSE against float64`;
    default:
      return step?.mode === "decode"
        ? `${turn}: reply, token ${
          step.index + (step.index === 0 || conversation?.turns[step.turn].every((p) => p.prompt === 0) ? 1 : 0)
        }`
        : `${turn}: prefill`;
  }
}

/** During the run. */
export function progress(store: ConversationStore): TemplateResult {
  const { state, steps } = store.talk;
  const { progress: at } = state;
  const all = state.conversation === undefined ? 0 : stepsOf(state.conversation).length;
  const label = doing(state);
  return html`
    <section aria-labelledby="running">
      <h2 id="running" class="title">Running</h2>
      <p class="running"><span>${label}</span>
          ${at === undefined || at.done === 0
            ? html`<progress aria-label=${label}></progress>`
            : html`<progress aria-label=${label} value=${at.done} max=${at.total}></progress>`}
          <small class="quiet">${formatCount(steps.length)} of ${formatCount(all)} steps done</small></p>
    </section>
  `;
}

/** After a failure outside a step. A failure within a step appears in the list, where it happened. */
export function failed({ failure, entries }: TalkState): TemplateResult {
  const last = entries.at(-1);
  if (failure !== undefined) {
    return html`
      <section class="card bad" aria-labelledby="failed">
        <h2 id="failed" class="title">${failure.title}</h2>
        <p class="message">${failure.message}</p>
        <p>${failure.advice}</p>
      </section>
    `;
  }
  if (last === undefined || last.kind === "step") return html``;
  return html`
    <section class="card bad" aria-labelledby="failed">
      <h2 id="failed" class="title">Turn ${last.step.turn + 1}: ${last.title}</h2>
      <p>The list shows the whole error, where it happened. ${last.advice}</p>
    </section>
  `;
}

/** Pass or fail in words, with the largest errors of O and LSE. */
export function verdict(store: ConversationStore): TemplateResult | typeof nothing {
  const { state, steps } = store.talk;
  const check = overall(state.checks);
  const turns = new Set(steps.map(({ step }) => step.turn)).size;
  if (check === undefined) {
    return turns === 0 ? nothing : html`
      <section aria-labelledby="verdict">
        <h2 id="verdict" class="title">Not checked</h2>
        <p>The check against float64 did not finish. The steps below are unchecked.</p>
      </section>
    `;
  }
  const part = state.checks.size < turns;
  const all = check.rows === check.of;
  const rows = `${all ? "All" : `${formatCount(check.rows)} of`} ${formatCount(check.of)} rows${
    part ? ` of ${state.checks.size} of ${turns} turns` : ""
  }`;
  return html`<section aria-labelledby="verdict">
    <h2 id="verdict" class="title ${check.passed ? "good" : "wrong"}"><span aria-hidden="true">${
    check.passed ? "✓" : "✗"
  }</span> ${
    check.passed
      ? `Passed: ${part ? "the turns checked agree" : "the whole agrees"} with one full prefill`
      : "Failed: the conversation differs from one full prefill"
  }</h2>
    ${[...state.checks].map(([turn, one]) => one.passed ? nothing : html`<p>Turn ${turn + 1}: ${sayWorst(one)}.</p>`)}
    <p class="quiet">Largest error of O <b>${formatError(check.out.max)}</b>, of LSE <b>${
    formatError(check.lse.max)
  }</b>. ${
    all
      ? `${rows} of O and LSE were checked against float64`
      : html`<b>${rows} of O and LSE were checked</b> against float64, evenly spaced`
  }. The largest share of a bound used: <b>${sayShare(check)}</b>. Allowed: ${check.tolerance}.</p>
  </section>`;
}

/** For screen readers: turns and incidents, not every token. */
export function news({ phase, entries, checks, step, failure, conversation }: TalkState): string {
  const last = entries.at(-1);
  const check = overall(checks);
  switch (phase) {
    case "empty":
      return "";
    case "starting":
      return `Starting ${conversation?.N} ranks.`;
    case "stepping":
      return last !== undefined && last.kind === "repaired"
        ? `${last.title}. ${last.advice}`
        : step === undefined
        ? ""
        : `Turn ${step.turn + 1}: ${step.mode === "prefill" ? "prefill" : "reply"}.`;
    case "repairing":
      return `${last?.kind === "killed" ? last.title : "A rank died"}: repairing.`;
    case "checking":
      return `Turn ${(step?.turn ?? 0) + 1}: checking against float64.`;
    case "paused":
    case "done":
      return check === undefined
        ? "Done, unchecked."
        : `${phase === "done" ? "Conversation done" : "Turn done"}. ${
          check.passed ? "Passed" : "Failed the check"
        }: largest error of O ${formatError(check.out.max)}, of LSE ${formatError(check.lse.max)}.`;
    case "failed":
      return failure !== undefined
        ? `${failure.title}: ${failure.message}`
        : last !== undefined && last.kind !== "step"
        ? `${last.title}: ${last.message}`
        : "Failed.";
    case "cancelled":
      return "Cancelled.";
  }
}
