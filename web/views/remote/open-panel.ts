/** The choice of a file to open, and the banner of an open one: when, where and how it was made. */
import { html, nothing, type TemplateResult } from "lit";
import { type Opened, shipped } from "./open.ts";
import { sayMachine } from "./machine.ts";
import type { RemoteStore } from "./store.ts";

/** A button to choose a file, and the runs that ship. */
export function chooser(store: RemoteStore): TemplateResult {
  const { opening, problem, shown } = store;
  const open = shown.kind === "live" ? undefined : shown.shipped;
  return html`<section aria-labelledby="open" class="open"><h2 id="open">Without a machine</h2>
    <p class="quiet">
      Open a recorded run, or the document of <code>ringside_worker.gpu_check</code>. Or drop it anywhere here.
    </p>
    <p class="actions">
      ${
    shipped.map(({ id, title }) =>
      html`<button class="button" aria-pressed=${String(open === id)} @click=${() =>
        store.openShipped(id)}>Recorded: ${title}</button>`
    )
  }
      <span class="chooser"><input id="file" type="file" accept=".json,application/json"
        aria-label="Open a recorded run or a GPU check" @change=${(event: Event) => chosen(store, event)} /><span
        class="button" aria-hidden="true">Open a file</span></span>
    </p>
    ${
    opening === undefined
      ? nothing
      : html`<p class="quiet">Opening ${opening} … <button class="link" @click=${() =>
        store.close()}>Cancel</button></p>`
  }
    ${
    problem === undefined ? nothing : html`
      <div class="bad" role="alert">
        <h3>${problem.title}</h3>
        <p class="message">${problem.message}</p>
        <p>${problem.advice}</p>
      </div>
    `
  }
  </section>`;
}

function chosen(store: RemoteStore, event: Event): void {
  const input = event.target as HTMLInputElement;
  const file = input.files?.[0];
  // The visitor may choose the same file again, after a correction.
  input.value = "";
  if (file !== undefined) void store.open(file);
}

/** Says that nothing here runs now, and where the file comes from. */
export function recordedBanner(opened: Opened, close: () => void): TemplateResult {
  const button = html`<button class="button" @click=${close}>Close the ${
    opened.kind === "run" ? "recorded run" : "document"
  }</button>`;
  if (opened.kind === "check") {
    const { date, facts } = opened.check;
    return html`
      <aside class="banner"
        aria-label="Provenance"><div><b class="tag">GPU check</b> <b>${opened.name}</b>, ${sayDate(date)}, ${sayMachine(
          facts,
        )}; torch ${facts.torch}${facts.cuda === undefined ? "" : `, CUDA ${facts.cuda}`}${facts.driver === undefined
          ? ""
          : `, driver ${facts.driver}`}.</div>${button}</aside>
    `;
  }
  const { provenance, facts } = opened.run;
  return html`
    <aside class="banner"
      aria-label="Provenance"><div><b class="tag">Recorded</b> <b>${sayDate(provenance.date)}</b> on ${sayMachine(
        facts,
      )}; torch ${facts.torch}, Python ${facts.python}. Worker: <code>${provenance
        .worker}</code>. Recorded by ${provenance.client}. Nothing runs now.</div>${button}</aside>
  `;
}

/** "23 November 2026, 04:12 UTC". */
export function sayDate(date: string): string {
  const at = new Date(date);
  if (Number.isNaN(at.getTime())) return date;
  return `${
    new Intl.DateTimeFormat("en-GB", { dateStyle: "long", timeStyle: "short", timeZone: "UTC" }).format(at).replace(
      " at ",
      ", ",
    )
  } UTC`;
}
