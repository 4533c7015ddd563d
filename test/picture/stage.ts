/** The stage of the moving picture: ranks and chunks on their ring, and the mask that fills block by block. */
import { maskOf } from "../../web/engine/run.ts";
import { timeKind, timeKinds } from "../../web/lib/format/kinds.ts";
import { onRankColour, rankColour } from "../../web/lib/format/palette.ts";
import { onRing, orbitPath, SIZE, sizes } from "../../web/lib/stage/geometry.ts";
import type { Motion } from "../../web/lib/stage/motion.ts";
import type { Frame, Keyframes } from "./keyframes.ts";
import { fillOf } from "./marks.ts";

/** Side of a block of the mask. */
const cell = 26;

/** The ring about the point 0 0: links, ranks and what they do, chunks on their way. */
export function ringPicture(motion: Motion, frames: Keyframes): string {
  const { ranks } = motion;
  const { ring, orbit, rank: radius, chunk } = sizes(ranks);
  const out: string[] = [`<g transform="translate(${-SIZE / 2} ${-SIZE / 2})">`];
  for (let rank = 0; rank < ranks; rank++) {
    const way = orbitPath(rank, ranks);
    out.push(`<path d="${way}" fill="none" stroke="var(--rule-strong)" stroke-opacity=".6"/>`);
    for (const flight of motion.journeys.flat().filter(({ from }) => from === rank)) {
      const colour = rankColour(flight.owner, ranks);
      out.push(
        `<path d="${way}" fill="none" stroke="${colour}" stroke-width="4" ${frames.shown(flight.start, flight.end)}/>`,
      );
    }
  }
  for (let rank = 0; rank < ranks; rank++) {
    const { x, y } = onRing(rank, ranks, ring);
    out.push(`<g transform="translate(${x.toFixed(1)} ${y.toFixed(1)})">${disc(rank, radius, motion, frames)}</g>`);
  }
  const middle = SIZE / 2;
  out.push(
    `<text class="c" x="${middle}" y="${middle - 2}">KV travels</text>`,
    `<text class="c" x="${middle}" y="${middle + 14}">Q stays</text></g>`,
  );
  motion.journeys.forEach((journey, owner) => {
    const turns: Frame[] = [[motion.from, `rotate(${angle(owner, ranks)}deg)`]];
    for (const { from, start, end } of journey) {
      // A chunk that goes on from the rank where its owner's neighbour is at 0 turns on, and not back.
      const before = from < owner ? from + ranks : from;
      turns.push([start, `rotate(${angle(before, ranks)}deg)`], [end, `rotate(${angle(before + 1, ranks)}deg)`]);
    }
    const at = (time: number) => {
      const flight = journey.findLast(({ start }) => start <= time);
      if (flight === undefined) return owner;
      const before = flight.from < owner ? flight.from + ranks : flight.from;
      return before + Math.min(1, (time - flight.start) / (flight.end - flight.start));
    };
    const back = turns.map(([time, turn]): Frame => [time, turn.replace("(", "(-").replace("--", "")]);
    out.push(
      `<g ${frames.moves("transform", turns, (t) => `rotate(${angle(at(t), ranks)}deg)`)}><g transform="translate(0 ${
        (-orbit).toFixed(1)
      })"><g ${frames.moves("transform", back, (t) => `rotate(${-angle(at(t), ranks)}deg)`)}>`,
      `<rect x="${-chunk / 2}" y="${-chunk / 2}" width="${chunk}" height="${chunk}" rx="${chunk / 5}" fill="${
        rankColour(owner, ranks)
      }" stroke="var(--paper)" stroke-width="1.5"/>`,
      `<text class="c b n" y="4.5" style="fill:${onRankColour(owner, ranks)}">${owner}</text></g></g></g>`,
    );
  });
  return out.join("\n");
}

const angle = (position: number, ranks: number) => Number(((360 * position) / ranks).toFixed(1));

/** A rank about the point 0 0: what stays there on its left, what it attends to or waits for on its right. */
function disc(rank: number, radius: number, { devices, ranks }: Motion, frames: Keyframes): string {
  const inner = radius - 5;
  const half = (side: 0 | 1) => `M0 ${-inner}A${inner} ${inner} 0 0 ${side} 0 ${inner}Z`;
  const label = (value: number, what: string, x: number, of: number) =>
    `<text class="c b n" x="${x}" style="fill:${
      onRankColour(of, ranks)
    }">${value}</text><text class="c t" x="${x}" y="12" style="fill:${onRankColour(of, ranks)}">${what}</text>`;
  const out = [
    `<circle r="${radius}" fill="var(--paper)" stroke="var(--rule-strong)" stroke-opacity=".5" stroke-width="2"/>`,
    `<path d="${half(0)}" fill="${rankColour(rank, ranks)}"/>${label(rank, "Q", -inner / 2, rank)}`,
  ];
  for (const span of devices[rank]) {
    const { start, duration, peer: owner = rank } = span;
    const end = start + duration;
    const kind = timeKind(span);
    if (kind !== "attend") {
      if (timeKinds[kind].leans !== undefined) {
        out.push(`<path d="${half(1)}" fill="${fillOf(kind)}" ${frames.shown(start, end)}/>`);
      }
      continue;
    }
    const done = (time: number) => `${(100 * (1 - Math.min(1, Math.max(0, (time - start) / duration)))).toFixed(1)}`;
    const arc = frames.moves("stroke-dashoffset", [[start, "100"], [end, "0"]], done);
    out.push(
      `<g ${frames.shown(start, end)}><path d="${half(1)}" fill="${rankColour(owner, ranks)}"/>`,
      `${label(owner, "KV", inner / 2, owner)}<circle r="${radius}" fill="none" stroke="var(--attend)"`,
      ` stroke-width="5" pathLength="100" stroke-dasharray="100" transform="rotate(-90)" ${arc}/></g>`,
    );
  }
  return out.join("");
}

/** The mask: a block is pale until the rank that computes it reaches its hop, and framed while it computes. */
export function maskPicture(
  run: { readonly new: number; readonly cached: number },
  { devices, ranks }: Motion,
  frames: Keyframes,
): string {
  const { queries, keys, blocks } = maskOf([run], ranks, "pass-kv", true);
  const mark = (owner: number, x: number, y: number) =>
    `<rect x="${x - 8}" y="${y - 8}" width="16" height="16" rx="4" fill="${
      rankColour(owner, ranks)
    }"/><text class="c t" x="${x}" y="${y + 3.5}" style="fill:${onRankColour(owner, ranks)}">${owner}</text>`;
  const fresh = keys.findIndex(({ cached }) => !cached);
  const [right, bottom] = [keys.length * cell, queries.length * cell];
  const out = [
    `<text y="-26">cached keys</text><text x="${fresh * cell}" y="-26">new keys</text>`,
    ...keys.map(({ owner }, i) => mark(owner, (i + 0.5) * cell, -12)),
    ...queries.map(({ owner }, i) => mark(owner, -12, (i + 0.5) * cell)),
    `<rect width="${right}" height="${bottom}" fill="var(--ink)" fill-opacity=".045"/>`,
  ];
  for (const [rank, spans] of devices.entries()) {
    for (const { kind, hop, start, duration } of spans) {
      if (kind !== "attend") continue;
      const own = blocks.filter((block) => block.rank === rank && block.hop === hop && block.pairs > 0);
      const path = own.map(({ query, key, full }) => {
        const at = `M${key * cell} ${query * cell}`;
        return full ? `${at}h${cell}v${cell}h${-cell}z` : `${at}l${cell} ${cell}h${-cell}z`;
      }).join("");
      // One text for all blocks: each digit has its own place.
      const xs = own.map(({ key, full }) => Number(((key + (full ? 0.5 : 0.33)) * cell).toFixed(1)));
      const ys = own.map(({ query, full }) => Number(((query + (full ? 0.5 : 0.72)) * cell + 3.5).toFixed(1)));
      const numbers = `class="c t" x="${xs.join(" ")}" y="${ys.join(" ")}"`;
      const digits = String(hop).repeat(own.length);
      const colour = rankColour(rank, ranks);
      out.push(
        `<path d="${path}" fill="${colour}" fill-opacity=".28"/><text ${numbers}>${digits}</text>`,
        `<g ${frames.shown(start)}><path d="${path}" fill="${colour}"/>`,
        `<text ${numbers} style="fill:${onRankColour(rank, ranks)}">${digits}</text></g>`,
        `<path d="${path}" fill="none" stroke="var(--ink)" stroke-width="2" ${frames.shown(start, start + duration)}/>`,
      );
    }
  }
  const lines = [
    ...keys.slice(1).map((_, i) => `M${(i + 1) * cell} 0V${bottom}`),
    ...queries.slice(1).map((_, i) => `M0 ${(i + 1) * cell}H${right}`),
  ].join("");
  const say = (line: number, text: string) => `<text y="${bottom + 24 + 16 * line}">${text}</text>`;
  out.push(
    `<path d="${lines}" stroke="var(--paper)"/>`,
    `<path d="M0 0H${right}V${bottom}H0ZM${fresh * cell} 0V${bottom}" fill="none" stroke="var(--rule-strong)"/>`,
    say(0, "Block: its colour is the rank that computes it, its number the hop."),
    say(1, "Disc: left, the rank's own queries; right, whose K and V it attends to."),
    say(2, "Square: K and V on their way round, numbered by their first owner."),
  );
  return out.join("\n");
}
