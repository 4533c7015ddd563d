/** The timeline of the moving picture: the lanes of each rank, which fill as the run goes on. */
import type { Span } from "../../web/engine/run.ts";
import { hatched, type TimeKind, timeKind, timeKinds } from "../../web/lib/format/kinds.ts";
import { onRankColour, rankColour } from "../../web/lib/format/palette.ts";
import type { Motion } from "../../web/lib/stage/motion.ts";
import { layOut } from "../../web/lib/timeline/layout.ts";
import { ticks, toX } from "../../web/lib/timeline/scale.ts";
import type { Frame, Keyframes } from "./keyframes.ts";
import { fillOf } from "./marks.ts";

/** Where the lanes begin and end, and where the first one is. */
const left = 96, right = 864, top = 420;

/** The lanes of each rank, pale to the right of the moment. */
export function timelinePicture(
  run: { readonly spans: readonly Span[] },
  { from, end, ranks }: Motion,
  frames: Keyframes,
): string {
  const { ranks: places, spans, height } = layOut(run.spans, ranks, top);
  const scale = { from: 0, to: end, left, width: right - left };
  const x = (seconds: number) => Number(toX(scale, seconds).toFixed(1));
  const out: string[] = [];
  const named: readonly TimeKind[] = [
    ...new Set(
      run.spans.map(timeKind).filter((kind) => ["attend", "transfer"].includes(kind) || hatched.includes(kind)),
    ),
  ].sort((a, b) => order(a) - order(b));
  let at = left;
  for (const kind of named) {
    const { label, colour, leans } = timeKinds[kind];
    const line = leans === undefined ? "" : ` stroke="var(${colour})"`;
    out.push(
      `<rect x="${at}" y="${top - 25}" width="11" height="11" rx="2" fill="${fillOf(kind)}"${line}/><text x="${
        at + 17
      }" y="${top - 15}">${label}</text>`,
    );
    at += 40 + 6.2 * label.length;
  }
  for (const { rank, y, lanes } of places) {
    out.push(
      `<circle cx="26" cy="${y + 10}" r="9" fill="${rankColour(rank, ranks)}"/><text class="c b" x="26" y="${
        y + 14
      }" style="fill:${onRankColour(rank, ranks)}">${rank}</text>`,
    );
    for (const { lane, y: row, height: tall } of lanes) {
      out.push(
        `<text x="${left - 8}" y="${row + tall / 2 + 4}" text-anchor="end" style="font-size:11px">${lane}</text>`,
        `<rect x="${left}" y="${row}" width="${right - left}" height="${tall}" fill="var(--ink)" fill-opacity=".045"/>`,
      );
    }
  }
  for (const { span, y, height: tall } of spans) {
    const [begin, over] = [x(span.start), x(span.start + span.duration)];
    const box = (fill: string, from: number, height: number) =>
      `<rect x="${begin}" y="${from}" width="${
        Math.max(0.5, over - begin).toFixed(1)
      }" height="${height}" rx="2" fill="${fill}"/>`;
    out.push(box(fillOf(timeKind(span)), y, tall));
    if (span.kind === "attend" && over - begin > 14) {
      out.push(
        box(rankColour(span.peer ?? span.rank, ranks), y + tall - 5, 5),
        `<text class="b" x="${begin + 5}" y="${y + 11}" style="fill:var(--paper);font-size:10px">${span.peer}</text>`,
      );
    }
  }
  const axis = ticks(0, end, 8);
  for (const { at: time, label } of axis.ticks) {
    out.push(`<text class="c" x="${x(time)}" y="${height + 16}">${label}${time === 0 ? ` ${axis.unit}` : ""}</text>`);
  }
  const way = (time: number) => Math.min(1, Math.max(0, (time - from) / (end - from)));
  const place = (time: number) => x(from) + way(time) * (x(end) - x(from));
  const line: Frame[] = [[from, `translateX(${x(from)}px)`], [end, `translateX(${x(end)}px)`]];
  out.push(
    `<g transform="translate(${right + 1} 0)"><rect x="${x(from) - right - 1}" y="${top - 2}" width="${
      right + 1 - x(from)
    }" height="${height - top + 4}" fill="var(--paper)" fill-opacity=".8" ${
      frames.moves("transform", [[from, "scaleX(1)"], [end, "scaleX(0)"]], (t) => `scale(${(1 - way(t)).toFixed(4)} 1)`)
    }/></g>`,
    `<path d="M0 ${top - 6}V${height + 2}" stroke="var(--ink)" stroke-width="2" ${
      frames.moves("transform", line, (t) => `translate(${place(t).toFixed(1)} 0)`)
    }/>`,
  );
  return out.join("\n");
}

const order = (kind: TimeKind) => Object.keys(timeKinds).indexOf(kind);
