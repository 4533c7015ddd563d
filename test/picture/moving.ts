/**
 * The README's moving picture: a recorded run of the Lab as an animated SVG, with the page's own geometry, kinds of
 * time and tokens. The picture carries the spans from which it is drawn, so that a test can draw it again.
 */
import type { Lane, Span } from "../../web/engine/run.ts";
import { formatCount, formatRate, formatSeconds } from "../../web/lib/format/format.ts";
import { type Motion, motionOf } from "../../web/lib/stage/motion.ts";
import { Keyframes } from "./keyframes.ts";
import { hatchings } from "./marks.ts";
import { maskPicture, ringPicture } from "./stage.ts";
import { timelinePicture } from "./timeline.ts";

/** A run of pass-KV, as the page's report has it, with what the picture says of it. */
export interface Recorded {
  readonly adapter: string;
  readonly ranks: number;
  readonly new: number;
  readonly cached: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly wire: string;
  readonly link: { readonly bandwidth: number; readonly latency: number };
  /** Without the host's lane; seconds to the microsecond. */
  readonly spans: readonly Span[];
}

const WIDTH = 880, HEIGHT = 660;
/** Where the ring's centre is and how large it is drawn, and where the mask begins. */
const RING = "translate(188 222) scale(0.82)", MASK = "translate(430 104)";

/** The picture. `tokens` is the text of web/styles/tokens.css. */
export function movingPicture(run: Recorded, tokens: string): string {
  const motion = motionOf(run);
  const hop = motion.moments.find((moment) => moment.hop === 1)!;
  const frames = new Keyframes(motion.from, motion.end, hop.at);
  const body = [
    `<rect width="${WIDTH}" height="${HEIGHT}" rx="8" fill="var(--paper)" stroke="var(--rule)"/>`,
    heading(run, motion, frames),
    `<g transform="${RING}">${ringPicture(motion, frames)}</g>`,
    `<g transform="${MASK}">${maskPicture(run, motion, frames)}</g>`,
    timelinePicture(run, motion, frames),
  ].join("\n");
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img">
<title>A run of pass-KV on ${run.ranks} ranks, as it was recorded</title>
<metadata>${escape(JSON.stringify(run))}</metadata>
<style>
${colours(tokens)}
text{font:12px system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;fill:var(--ink-2)}
.c{text-anchor:middle}
.b{font-weight:700}
.h{font-size:15px;fill:var(--ink)}
.n{font-size:13px}
.t{font-size:9px;font-weight:600}
${frames.css()}
</style>
<defs>${hatchings()}</defs>
${body}
</svg>
`;
}

/** The run that a picture was drawn from. */
export function recordedIn(picture: string): Recorded {
  const [, text] = /<metadata>(.*)<\/metadata>/.exec(picture)!;
  return JSON.parse(text.replaceAll("&lt;", "<").replaceAll("&amp;", "&")) as Recorded;
}

/** The page's tokens for both schemes. */
function colours(tokens: string): string {
  const of = (dark: boolean) =>
    [...tokens.matchAll(/^ +(--[\w-]+): (?:light-dark\((#\w+), (#\w+)\)|(#\w+));$/gm)].map((
      [, name, light, night, both],
    ) => `${name}:${both ?? (dark ? night : light)}`).join(";");
  return `:root{${of(false)}}\n@media (prefers-color-scheme:dark){:root{${of(true)}}}`;
}

function heading(run: Recorded, { end }: Motion, frames: Keyframes): string {
  const { ranks, cached, heads, kvHeads, headDim, wire, link, adapter } = run;
  return `<text x="16" y="30" class="h"><tspan class="b">${ranks} ranks, pass-KV</tspan>: ${
    formatCount(run.new)
  } new and ${formatCount(cached)} cached tokens, ${heads}/${kvHeads} heads of ${headDim}, causal, wire ${wire}, ${
    formatRate(link.bandwidth)
  } link, ${formatSeconds(link.latency)} latency</text>
<text x="16" y="48">recorded on ${escape(adapter)}, slowed down</text>
<g ${
    frames.shown(end)
  }><text x="864" y="48" text-anchor="end" style="fill:var(--good)" class="b">✓ agrees with float64</text></g>`;
}

/** Text between tags. */
function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** What of a page's report the picture needs; `lane` by lane, times to the microsecond. */
export function recorded(report: {
  readonly adapter: { readonly name: string };
  readonly ranks: number;
  readonly shape: {
    readonly heads: number;
    readonly kvHeads: number;
    readonly headDim: number;
    readonly sequences: readonly { readonly new: number; readonly cached: number }[];
  };
  readonly wireDtype: string;
  readonly link: { readonly bandwidth: number; readonly latency: number };
  readonly spans: readonly Span[];
}): Recorded {
  const { adapter, ranks, shape: { heads, kvHeads, headDim, sequences }, wireDtype: wire, link, spans } = report;
  const round = (seconds: number) => Number(seconds.toFixed(6));
  const drawn: readonly Lane[] = ["device", "send", "receive"];
  return {
    adapter: adapter.name,
    ranks,
    ...sequences[0],
    heads,
    kvHeads,
    headDim,
    wire,
    link,
    spans: spans.filter(({ lane }) => drawn.includes(lane)).map((span) => ({
      ...span,
      start: round(span.start),
      duration: round(span.duration),
    })),
  };
}
