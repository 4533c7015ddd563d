/** The conversation as a list: each turn with its prompt and reply, its steps, and incidents. */
import { html, nothing, type TemplateResult } from "lit";
import { live } from "lit/directives/live.js";
import "../../lib/elements/scroll.ts";
import { sayVariant } from "../../lib/format/variant.ts";
import type { Check } from "../../lib/experiment/judge.ts";
import { formatBytes, formatCount, formatError, formatShare, formatTime } from "../../lib/format/format.ts";
import { letter, type PartDraft, place, presets } from "./model.ts";
import { type SessionStep, stepsOf } from "./steps.ts";
import { turnsText } from "../../lib/address/conversation.ts";
import { type ConversationStore, turnName } from "./store.ts";
import type { Done, Incident } from "./talk.ts";

const columns = 9;

/** The whole list. */
export function turnTable(store: ConversationStore): TemplateResult {
  const { draft, reading, talk } = store;
  const { steps, state } = talk;
  const text = reading.conversation === undefined ? "" : turnsText(reading.conversation.turns);
  const preset = presets.find((p) => p.turns === text)?.id ?? "";
  const many = draft.turns.length > 1;
  return html`
    <header class="bar-top">
      <h2 id="turns">Turns</h2>
      <label class="preset">Start from <select .value=${live(preset)} @change=${(event: Event) =>
        store.usePreset((event.target as HTMLSelectElement).value)}>
        <option value="" ?selected=${preset === ""} disabled hidden>turns of your own</option>
        ${presets.map(({ id, title }) => html`<option value=${id} ?selected=${id === preset}>${title}</option>`)}
      </select></label>
    </header>
    <ringside-scroll label="Turns">
      <table class="turns" aria-labelledby="turns">
      <thead>
        <tr>
          <th scope="col">Step</th>
          <th scope="col">New <i>T</i></th>
          <th scope="col">Cached <i>P</i></th>
          <th scope="col">Miss rate</th>
          <th scope="col">Variant</th>
          <th scope="col" class="wide">Sent</th>
          <th scope="col" class="wide">Messages</th>
          <th scope="col" class="wide">Padding</th>
          <th scope="col">Time</th>
        </tr>
      </thead>
      ${draft.turns.map((parts, turn) =>
        html`<tbody>
        ${turnHead(store, turn, parts, many, state.checks.get(turn))}
        ${turnSteps(store, turn, steps)}
      </tbody>`
      )}
      </table>
    </ringside-scroll>
  `;
}

function turnHead(
  store: ConversationStore,
  turn: number,
  parts: readonly PartDraft[],
  removable: boolean,
  check: Check | undefined,
): TemplateResult {
  const several = parts.length > 1;
  const problems = [...store.reading.problems].filter(([at]) => at.startsWith(`${turn}-`));
  return html`
    <tr class="head">
      <th scope="rowgroup" colspan=${columns}>
        <div>
        <b>${turnName(turn)}</b>
        <span class="parts">${parts.map((part, s) =>
          html`<span class="part">${several ? html`<span class="letter">${letter(s)}</span>` : nothing}
      prompt ${field(store, turn, s, "prompt", part.prompt, several)} reply ${
            field(store, turn, s, "reply", part.reply, several)
          }</span>`
        )}</span>
        ${check === undefined ? nothing : html`
          <span class="check ${check.passed ? "good" : "wrong"}"
            title="Largest error of O against one full prefill in float64"><span aria-hidden="true">${check.passed
              ? "✓"
              : "✗"}</span> ${check.passed ? "within" : "off by"} ${formatError(check.out.max)}</span>
        `}
        ${removable
          ? html`
            <button class="remove" aria-label="Remove turn ${turn + 1}" title="Remove turn ${turn + 1}"
              @click=${() => store.removeTurn(turn)}>×</button>
          `
          : nothing}
        ${problems.length === 0 ? nothing : html`
          <div class="problems" role="alert">
            <ul>${problems.map(([at, problem]) => html`<li id="problem-${at}">${problem}</li>`)}</ul>
          </div>
        `}
      </div>
      </th>
    </tr>
  `;
}

function field(
  store: ConversationStore,
  turn: number,
  sequence: number,
  what: keyof PartDraft,
  value: string,
  several: boolean,
): TemplateResult {
  const id = place(turn, sequence, what);
  const problem = store.reading.problems.get(id);
  const name = `${turnName(turn, several ? sequence : undefined)}, ${what}`;
  return html`
    <input id=${id} .value=${live(value)} style="--length:${Math.max(2, value.length)}" size=${Math.max(
      2,
      value.length,
    )} inputmode="numeric"
      autocomplete="off" aria-label=${name} title=${name}
      aria-invalid=${problem === undefined ? nothing : "true"} aria-describedby=${problem === undefined
        ? nothing
        : `problem-${id}`}
      @input=${(event: Event) => typed(store, turn, sequence, what, event.target as HTMLInputElement)} @change=${() =>
        store.commit()}
      @keydown=${(event: KeyboardEvent) => event.key === "Enter" && void store.run("end")} />
  `;
}

function typed(
  store: ConversationStore,
  turn: number,
  sequence: number,
  what: keyof PartDraft,
  input: HTMLInputElement,
): void {
  store.typePart(turn, sequence, what, input.value);
  input.style.setProperty("--length", String(Math.max(2, input.value.length)));
}

/** A turn's prefill, its reply as one row, and its incidents, in order of time. */
function turnSteps(store: ConversationStore, turn: number, all: readonly Done[]): unknown {
  const { state } = store.talk;
  const own = state.entries.filter((entry) => entry.step.turn === turn);
  const decodes = own.filter((entry): entry is Done => entry.kind === "step" && entry.step.mode === "decode");
  const planned = store.reading.conversation === undefined || store.stale
    ? []
    : stepsOf(store.reading.conversation).filter((step) => step.turn === turn);
  const rows: unknown[] = [];
  let replied = false;
  for (const entry of own) {
    if (entry.kind !== "step") rows.push(incident(entry));
    else if (entry.step.mode === "prefill") rows.push(stepRow(store, entry, all.indexOf(entry)));
    else if (!replied) {
      replied = true;
      rows.push(
        replyRow(store, decodes, all.indexOf(decodes[0]), planned.filter(({ mode }) => mode === "decode").length),
      );
    }
  }
  if (store.talk.running && state.step?.turn === turn && state.phase !== "checking") {
    rows.push(under(state.step, state.phase === "repairing"));
  }
  if (rows.length === 0) {
    rows.push(html`
      <tr class="none">
        <td colspan=${columns}>${plan(planned)}</td>
      </tr>
    `);
  }
  return rows;
}

function plan(steps: readonly SessionStep[]): string {
  const decodes = steps.filter(({ mode }) => mode === "decode").length;
  const words = [
    steps.length > decodes ? "one prefill" : "",
    decodes > 0 ? `${formatCount(decodes)} decode ${decodes === 1 ? "step" : "steps"}` : "",
  ].filter((word) => word !== "");
  return words.length === 0 ? "not run" : `not run yet: ${words.join(", then ")}`;
}

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);
const sent = ({ report }: Done) => sum(report.perRank.map((rank) => rank.bytesSent));
const messages = ({ report }: Done) => sum(report.perRank.map((rank) => rank.messages));
const fresh = ({ report }: Done) => sum(report.batch.map((b) => b.new));
const cached = ({ report }: Done) => sum(report.batch.map((b) => b.cached));

function stepRow(store: ConversationStore, done: Done, index: number): TemplateResult {
  const { report } = done;
  const on = store.selectedIndex === index;
  return html`
    <tr class="step ${on ? "on" : ""}" @click=${() => store.select(index)}>
      <th scope="row"><button class="pick" aria-pressed=${String(on)} @click=${() =>
        store.select(index)}>Prefill</button></th>
      <td>${formatCount(fresh(done))}</td>
      <td>${formatCount(cached(done))}</td>
      <td>${formatShare(report.missRate)}</td>
      <td>${sayVariant(report.variant)}</td>
      <td class="wide">${formatBytes(sent(done))}</td>
      <td class="wide">${formatCount(messages(done))}</td>
      <td class="wide">${formatBytes(report.paddingBytes)}</td>
      <td>${formatTime(report.times.total)}</td>
    </tr>
  `;
}

/** All decode steps of a turn as one row, with their median time. */
function replyRow(store: ConversationStore, steps: readonly Done[], first: number, planned: number): TemplateResult {
  const { selectedIndex } = store;
  const on = selectedIndex >= first && selectedIndex < first + steps.length;
  const times = steps.map(({ report }) => report.times.total);
  const median = [...times].sort((a, b) => a - b)[Math.floor((times.length - 1) / 2)];
  const select = () => !on && store.select(first);
  const range = (
    from: number,
    to: number,
  ) => (from === to ? formatCount(from) : html`${formatCount(from)}<span class="wide">–${formatCount(to)}</span>`);
  return html`
    <tr class="step ${on ? "on" : ""}" @click=${select}>
      <th
        scope="row"><button class="pick" aria-pressed=${String(on)} @click=${select}>Reply<small>${formatCount(
          steps.length,
        )}${planned > steps.length ? ` of ${formatCount(planned)}` : ""} ${planned === 1
          ? "step"
          : "steps"}</small></button></th>
      <td>${formatCount(sum(steps.map(fresh)))}</td>
      <td>${range(cached(steps[0]), cached(steps.at(-1)!))}</td>
      <td>${formatShare(sum(steps.map(fresh)) / sum(steps.map((s) => fresh(s) + cached(s))))}</td>
      <td>${sayVariant(steps[0].report.variant)}</td>
      <td class="wide">${formatBytes(sum(steps.map(sent)))}</td>
      <td class="wide">${formatCount(sum(steps.map(messages)))}</td>
      <td class="wide">${formatBytes(sum(steps.map(({ report }) => report.paddingBytes)))}</td>
      <td title="Median of ${steps.length} ${steps.length === 1 ? "step" : "steps"}">${formatTime(
        median,
      )}<small class="each">per token</small></td>
    </tr>
  `;
}

function under({ mode, rows }: SessionStep, repairing: boolean): TemplateResult {
  return html`
    <tr class="none now">
      <td colspan=${columns}>${repairing
        ? "repairing the cluster …"
        : mode === "prefill"
        ? `prefilling ${formatCount(sum(rows.map((r) => r.rows)))} tokens …`
        : "decoding …"}</td>
    </tr>
  `;
}

function incident({ kind, title, message, advice }: Incident): TemplateResult {
  return html`
    <tr class="incident ${kind}">
      <td colspan=${columns}>
        <div>
        <b>${kind === "repaired"
          ? html`<span aria-hidden="true">↻</span>`
          : html`<span aria-hidden="true">▲</span>`} ${title}</b>
        ${message === "" ? nothing : html`<code>${message}</code>`} ${kind === "failed"
          ? nothing
          : html`<span>${advice}</span>`}</div>
      </td>
    </tr>
  `;
}
