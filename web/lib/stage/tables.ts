/** The stage's tables: work per rank, bytes per link, who attends to what at each hop, and both variants compared. */
import { html, nothing, type TemplateResult } from "lit";
import { disc } from "../elements/disc.ts";
import "../elements/scroll.ts";
import type { Dealing, MaskPicture, Report } from "../../engine/run.ts";
import { formatBytes, formatCount, formatFlops, formatTime } from "../format/format.ts";
import { sums, timeKinds } from "../format/kinds.ts";
import type { Motion } from "./motion.ts";
import type { Selection, Subject } from "./selection.ts";
import { imbalance, type LinkTraffic, type Outcome } from "./traffic.ts";

/** Handlers of a row or cell: it highlights what it is about, and is highlighted with it. */
function linked(selection: Selection, subject: Subject) {
  return {
    lit: selection.lights(subject) ? "lit" : "",
    enter: () => selection.point(subject),
    leave: () => selection.point(undefined),
    choose: () => selection.choose(subject),
  };
}

const sayTimes = (value: number) => `${value.toFixed(2)} ×`;

/**
 * FLOPs per rank as dealt, beside those of the other dealing. `of`, such as ", pass-Q", distinguishes two tables on one
 * page.
 */
export function workTable(
  work: readonly number[],
  instead: MaskPicture,
  flops: number,
  dealing: Dealing,
  of: string,
  selection: Selection,
): TemplateResult {
  const other = instead.pairs.map((pairs) => pairs * flops);
  const most = Math.max(...work, ...other);
  const names = dealing === "head-tail" ? ["Head-tail", "Contiguous"] : ["Contiguous", "Head-tail"];
  const bar = (value: number) =>
    html`<td class="amount"><i style="width:${(100 * value) / most}%"></i><span>${formatFlops(value)}</span></td>`;
  return html`
    <ringside-scroll label="Work per rank${of}">
      <table class="work">
        <caption>Work per rank${of} <small>attention, all hops</small></caption>
        <thead>
          <tr>
            <th scope="col">Rank</th>
            <th scope="col">${names[0]}, as it ran</th>
            <th scope="col">${names[1]}, not run</th>
          </tr>
        </thead>
        <tbody>
          ${work.map((value, rank) => {
            const { lit, enter, leave, choose } = linked(selection, { rank });
            return html`
              <tr class=${lit} @pointerenter=${enter} @pointerleave=${leave}
                @click=${choose}><th scope="row">${disc(rank, work.length)}</th>${bar(value)}${bar(
                  other[rank],
                )}</tr>
            `;
          })}
          <tr class="sum"><th scope="row">Busiest / mean</th><td>${sayTimes(imbalance(work))}</td><td>${sayTimes(
            imbalance(instead.pairs),
          )}</td></tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

/** Bytes per link. `most` is the longest bar's, so that two tables share a scale. */
export function linkTable(
  links: readonly LinkTraffic[],
  { variant, ranks }: Report,
  most: number,
  of: string,
  selection: Selection,
): TemplateResult {
  if (links.length === 0) {
    return html`
      <section>
        <h3>Bytes per link</h3>
        <p class="quiet">One rank has no link, and nothing travels.</p>
      </section>
    `;
  }
  const exchanged = variant === "pass-q";
  const operand = exchanged ? "Q" : "K and V";
  const sum = (of: (link: LinkTraffic) => number) => links.reduce((total, link) => total + of(link), 0);
  return html`
    <ringside-scroll label="Bytes per link${of}">
      <table class="links">
        <caption>Bytes per link${of} <small>as sent, padding included</small></caption>
        <thead>
          <tr>
            <th scope="col">Link</th>
            <th scope="col">${operand}, bytes</th>
            <th scope="col">Chunks</th>
            <th scope="col">In flight</th>
            ${exchanged ? html`<th scope="col">O and LSE, bytes</th>` : nothing}
          </tr>
        </thead>
        <tbody>
          ${links.map(({ rank, to, messages, bytes, busy, exchanged: parcels }) => {
            const { lit, enter, leave, choose } = linked(selection, { link: rank });
            return html`<tr class=${lit} @pointerenter=${enter} @pointerleave=${leave} @click=${choose}>
          <th scope="row"><span class="link">${
              disc(rank, ranks)
            } <span aria-hidden="true">→</span><span class="unseen">to</span> ${disc(to, ranks)}</span></th>
          <td class="amount"><i class="transfer" style="width:${(100 * bytes) / most}%"></i><span>${
              formatCount(bytes)
            }</span></td><td>${messages}</td><td>${formatTime(busy)}</td>
          ${exchanged ? html`<td>${formatCount(parcels)}</td>` : nothing}</tr>`;
          })}
          <tr class="sum"><th scope="row">All</th><td>${formatCount(sum(({ bytes }) => bytes))}</td><td>${formatCount(
            sum(({ messages }) => messages),
          )}</td><td></td>${exchanged ? html`<td>${formatCount(sum((link) => link.exchanged))}</td>` : nothing}</tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

/** Who attends to which chunk at each hop, for how long, and the bytes that came for it: the ring in words. */
export function hopByHop(
  { devices, journeys, ranks }: Motion,
  variant: Report["variant"],
  of: string,
  selection: Selection,
  go: (hop: number) => void,
): TemplateResult {
  const hops = Array.from({ length: ranks }, (_, hop) => hop);
  const flights = journeys.flat();
  const came = (rank: number, hop: number) => {
    const bytes = flights.find((flight) => flight.to === rank && flight.hop === hop - 1)?.bytes;
    return bytes === undefined ? nothing : html`<small>${formatBytes(bytes)}</small>`;
  };
  return html`
    <ringside-scroll label="Who attends to what${of}">
      <table class="hops">
        <caption>Who attends to what${of} <small>the owner of the visiting ${variant === "pass-q"
          ? "queries"
          : "keys and values"}, the time of attention, and the message’s bytes; –: no query sees a key</small></caption>
        <thead>
          <tr><th scope="col">Hop</th>${hops.map((rank) => html`<th scope="col">Rank ${rank}</th>`)}</tr>
        </thead>
        <tbody>
          ${hops.map((hop) => {
            const row = linked(selection, { hop });
            return html`<tr>
              <th scope="row" class=${row.lit} @pointerenter=${row.enter} @pointerleave=${row.leave}>
                <button class="go" @click=${() => go(hop)}>${hop}</button>
              </th>${
              devices.map((spans, rank) => {
                const span = spans.find((one) => one.kind === "attend" && one.hop === hop);
                if (span === undefined) return html`<td>– ${came(rank, hop)}</td>`;
                const { lit, enter, leave, choose } = linked(selection, { rank, hop, owner: span.peer });
                return html`
                  <td class=${lit} @pointerenter=${enter} @pointerleave=${leave}
                    @click=${choose}>${disc(span.peer!, ranks)} ${formatTime(span.duration)} ${came(rank, hop)}</td>
                `;
              })
            }</tr>`;
          })}
        </tbody>
      </table>
    </ringside-scroll>
  `;
}

/** The sums of a report in which the variants differ: attention and waiting. */
const compared = sums.filter(({ kind }) => kind === "attend" || timeKinds[kind].leans !== undefined);

/** Both variants on the same input: the cost of each, and their ratio. */
export function comparisonTable(kv: Outcome, q: Outcome, errors: readonly [string, string]): TemplateResult {
  const rows: (readonly [string, (of: Outcome) => number, (value: number) => string])[] = [
    ["Ring, first span to last", ({ ring }) => ring, formatTime],
    ...compared.map(({ key, name }) =>
      [`${name}, slowest rank`, ({ times }: Outcome) => times[key], formatTime] as const
    ),
    ["Sent round the ring, all ranks", ({ ringBytes }) => ringBytes, formatBytes],
    ["Sent in the All2All, all ranks", ({ all2allBytes }) => all2allBytes, formatBytes],
    ["Sent, all ranks", ({ ringBytes, all2allBytes }) => ringBytes + all2allBytes, formatBytes],
    ["Messages", ({ messages }) => messages, formatCount],
  ];
  return html`
    <ringside-scroll label="Both variants compared">
      <table class="compare">
        <caption>Both variants compared <small>the same input, one run of each on the same ranks</small></caption>
        <thead>
          <tr>
            <th scope="col">Figure</th>
            <th scope="col">pass-KV</th>
            <th scope="col">pass-Q</th>
            <th scope="col">pass-Q / pass-KV</th>
          </tr>
        </thead>
        <tbody>
          ${rows.map(([name, of, say]) =>
            html`
              <tr>
                <th scope="row">${name}</th>
                <td>${say(of(kv))}</td>
                <td>${say(of(q))}</td>
                <td>${of(kv) > 0 ? sayTimes(of(q) / of(kv)) : "–"}</td>
              </tr>
            `
          )}
          <tr><th scope="row">Largest error of O</th><td>${errors[0]}</td><td>${errors[1]}</td><td></td></tr>
        </tbody>
      </table>
    </ringside-scroll>
  `;
}
