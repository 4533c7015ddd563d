/** The machine: devices, memory, versions, processes, kernels with their self-check, and limits. */
import { html, nothing, type TemplateResult } from "lit";
import { inline } from "../../lib/elements/inline.ts";
import "../../lib/elements/scroll.ts";
import { formatBytes, formatCount, formatError } from "../../lib/format/format.ts";
import type { Facts, Limits } from "../../engine/remote.ts";
import { factList } from "../../lib/elements/facts.ts";

/** Devices alike, counted: "8 × NVIDIA H200", or "CPU, 4 processes over gloo". */
export function sayMachine({ devices, processes, hosts, backend }: Facts): string {
  const counted = new Map<string, number>();
  for (const { name } of devices) counted.set(name, (counted.get(name) ?? 0) + 1);
  const what = [...counted].map(([name, n]) => (n === 1 ? name : `${n} × ${name}`)).join(", ") || "no device named";
  const how = processes === 1 ? "one process" : `${processes} processes over ${backend}`;
  return `${what}, ${how}${hosts > 1 ? `, ${hosts} hosts` : ""}`;
}

/** True if the machine has no GPU. */
export function onCpu({ devices }: Facts): boolean {
  return devices.every(({ kind }) => kind === "cpu");
}

/** The machine as lists. A recorded run has no `limits`. */
export function machine(facts: Facts, limits: Limits | undefined): TemplateResult {
  const rows: (readonly [string, unknown])[] = [
    ["Devices", sayDevices(facts)],
    [
      "Processes",
      facts.processes === 1
        ? "one, which simulates all ranks"
        : `${formatCount(facts.processes)} over ${facts.backend}${facts.hosts > 1 ? ` on ${facts.hosts} hosts` : ""}`,
    ],
    [
      "PyTorch",
      `${facts.torch}${facts.cuda === undefined ? "" : `, CUDA ${facts.cuda}`}${
        facts.driver === undefined ? "" : `, driver ${facts.driver}`
      }`,
    ],
    ["Worker", `${facts.worker}, Python ${facts.python}`],
    ["Platform", facts.platform],
    ...(facts.notes ?? []).map((note) => ["Note", note] as const),
  ];
  return html`
    <section aria-labelledby="machine">
      <h2 id="machine">The machine</h2>
      ${factList(rows)}
    </section>
        ${kernels(facts)}
        ${limits === undefined ? nothing : html`
          <p class="quiet">
            One run at a time. Limits: ${formatBytes(limits.tensorBytes)} per tensor, ${formatCount(
              limits.runSeconds,
            )} s
            per run, ${formatCount(limits.queue)} waiting runs, ${formatCount(limits.connections)} connections.
          </p>
        `}
  `;
}

function sayDevices({ devices }: Facts): TemplateResult {
  const alike = new Map<
    string,
    {
      readonly n: number;
      readonly memoryBytes: number;
      readonly capability?: string;
      readonly name: string;
      readonly kind: string;
    }
  >();
  for (const device of devices) {
    const key = JSON.stringify(device);
    alike.set(key, { ...device, n: (alike.get(key)?.n ?? 0) + 1 });
  }
  return html`${
    [...alike.values()].map(({ n, name, memoryBytes, capability, kind }) =>
      inline`<span class="device">${n === 1 ? "" : `${n} × `}<b>${name}</b>${
        kind === "cpu" ? inline` <b class="tag">no GPU</b>` : nothing
      }, ${formatBytes(memoryBytes)}${n === 1 ? "" : " each"}${
        capability === undefined ? "" : `, sm ${capability}`
      }</span>
      `
    )
  }`;
}

/** Each kernel's self-check against float64, and which one runs. */
function kernels({ kernels: all }: Facts): TemplateResult | typeof nothing {
  if (all.length === 0) return nothing;
  // Kernel names end in the conditions of their check. Conditions in common appear once, above.
  const names = all.map(({ name }) => name.split(", "));
  const common = names[0].length -
    names[0].findLastIndex((part, i) => i === 0 || names.some((other) => other.at(i - names[0].length) !== part)) - 1;
  return html`
    <ringside-scroll label="Kernels">
      <table class="kernels">
        <caption>Kernels <small>each checked against float64 when the worker started${common > 0
          ? `: ${names[0].slice(-common).join(", ")}`
          : ""}</small></caption>
        <thead>
          <tr>
            <th scope="col">Kernel</th>
            <th scope="col">Self-check</th>
            <th scope="col">Largest error</th>
          </tr>
        </thead>
        <tbody>${all.map(({ ok, maxError, reason, chosen }, i) =>
          html`
            <tr class=${chosen ? "chosen" : ""}>
              <th scope="row">${names[i].slice(0, names[i].length - common).join(", ")}${chosen
                ? html`
                  <b class="picked">runs</b>
                `
                : nothing}${reason === undefined ? nothing : html`<small>${reason}</small>`}</th>
              <td>${ok ? html`<span class="good">passed</span>` : html`<span class="wrong">not used</span>`}</td>
              <td>${maxError === undefined ? "–" : formatError(maxError)}</td>
            </tr>
          `
        )}</tbody>
      </table>
    </ringside-scroll>
  `;
}
