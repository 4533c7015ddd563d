/** The ring of a step on a layout: rows, messages and attention costs of one layer, for the simulated cluster. */
import type { Variant } from "../ring/contract.ts";
import { attentionTime, mergeTime } from "./attention-time.ts";
import { type Calls, callsOf, type DealtStep } from "./calls.ts";
import { all2allTime, type Parcels, parcelsTime } from "./collectives.ts";
import { attentionFlops } from "./flops.ts";
import { elementsPerGpu, type GpuHeads } from "./heads.ts";
import type { Model } from "./models.ts";
import type { GpuRates, Wire } from "./rates.ts";
import type { RingWork } from "./simulate.ts";
import { parcel } from "./traffic.ts";

/** Bytes of an element of Q and O on the wire. */
const ACTIVATION_BYTES = 2;

/** Up to this many ranks, the planner simulates each. Beyond it, one stands for all if they are alike. */
export const EVERY_RANK_UP_TO = 256;

/** A step placed on a layout. */
export interface PlacedStep extends DealtStep {
  readonly model: Model;
  readonly rates: GpuRates;
  readonly tp: number;
  readonly heads: GpuHeads;
  readonly kvBytes: number;
}

/** What the ranks of a ring send and skip, counted over one GPU of each. */
export interface Sent {
  /** Bytes of all messages and parcels. */
  readonly bytes: number;
  /** What the mask made needless: hops of a rank (of N x N) without an attention, messages, and bytes of all messages. */
  readonly skipped: { readonly hops: number; readonly messages: number; readonly bytes: number };
  /** Query-key pairs of the busiest rank over the mean: 1 if all ranks have equal work. */
  readonly balance: number;
}

/** The ring of one layer, without overheads and starting times. */
export interface RingShape
  extends Pick<RingWork, "attend" | "message" | "parcel" | "wire" | "exchange" | "merge" | "overlap"> {
  readonly flops: (queries: number, keys: number) => number;
  /** Query rows of a rank, with padding. */
  readonly rows: number;
  /** Bytes of the largest message, and of all parcels of the rank that sends most. */
  readonly largest: number;
  readonly parcels: number;
  /** Whether all ranks have the same wire, so that one rank stands for all exactly. */
  readonly evenWires: boolean;
  readonly sent: Sent;
}

/** The ring of one layer of a step. With `everyRank`, each rank has its own attention cost; else all have the mean. */
export function ringShape(step: PlacedStep, variant: Variant, everyRank: boolean): RingShape {
  const { cp, heads, kvBytes, rates, model } = step;
  const { headDim, valueDim = headDim, valuesInKeys } = model;
  const calls = callsOf(step, variant, everyRank);
  const { rows, keys, route } = calls;
  const place = placement(step);
  const elements = elementsPerGpu(model, heads);
  const message = (n: number) => variant === "pass-kv" ? n * elements.kv * kvBytes : n * elements.q * ACTIVATION_BYTES;
  const home = (n: number) => parcel(n, heads.queries, valueDim, ACTIVATION_BYTES);
  const whole = message(variant === "pass-kv" ? keys : rows);
  const wholeParcel = home(rows);
  const some = (bytes: number) => bytes === 0 ? undefined : bytes;
  const messageOf = (rank: number, hop: number) => route === undefined ? whole : some(message(route.sent(rank, hop)));
  const parcelOf = (rank: number, owner: number) =>
    route === undefined ? wholeParcel : some(home(route.parcel(rank, owner)));
  const others = (rank: number) => Array.from({ length: cp }, (_, k) => k).filter((k) => k !== rank);
  const exchange = (rank: number) => {
    if (route === undefined) {
      return all2allTime(wholeParcel, place.near(rank), cp - 1 - place.near(rank), rates, step.decode);
    }
    const [near, far] = [true, false].map((inside): Parcels => {
      const sizes = others(rank).filter((k) => place.together(rank, k) === inside).flatMap((k) =>
        parcelOf(rank, k) ?? []
      );
      return { count: sizes.length, bytes: sizes.reduce((sum, size) => sum + size, 0), largest: Math.max(0, ...sizes) };
    });
    return parcelsTime(near, far, rates, step.decode);
  };
  const seconds = (q: number, k: number, pairs: number) =>
    attentionTime({
      pairs,
      queryRows: rows,
      keyRows: calls.read(q, k),
      heads: heads.queries,
      kvHeads: heads.kv,
      headDim,
      valueDim,
      ...(valuesInKeys === undefined ? {} : { valuesInKeys }),
      kvBytes,
    }, rates);
  const pairs = everyRank ? known(calls.pairs, cp) : calls.pairs;
  const every = cp * (cp - 1);
  const parcels = variant === "pass-q" ? every : 0;
  const all = { messages: every + parcels, bytes: every * whole + parcels * wholeParcel };
  const sizes = route === undefined ? undefined : sizesOf(messageOf, variant === "pass-q" ? parcelOf : undefined, cp);
  const sent = sizes ?? all;
  return {
    attend: (q, k) => {
      const seen = pairs(q, k);
      return route !== undefined && seen === 0 ? undefined : seconds(q, k, seen);
    },
    flops: (q, k) => attentionFlops(pairs(q, k), heads.queries, headDim, valueDim),
    message: messageOf,
    parcel: parcelOf,
    wire: place.wire,
    exchange,
    merge: (rank) => {
      const arrived = route === undefined ? cp - 1 : others(rank).filter((k) => parcelOf(k, rank) !== undefined).length;
      return mergeTime(arrived + 1, rows, heads.queries, valueDim, rates);
    },
    overlap: !step.decode,
    rows,
    largest: sizes?.largest ?? (cp === 1 ? 0 : whole),
    parcels: variant === "pass-q" ? sizes?.parcels ?? wholeParcel * (cp - 1) : 0,
    evenWires: place.even,
    sent: {
      bytes: sent.bytes,
      skipped: {
        hops: route === undefined ? 0 : idleHops(pairs, cp),
        messages: all.messages - sent.messages,
        bytes: all.bytes - sent.bytes,
      },
      balance: everyRank ? balanceOf(pairs, variant, cp) : 1,
    },
  };
}

/** Remembers the pairs of every call. */
function known(pairs: Calls["pairs"], cp: number): Calls["pairs"] {
  const table = new Float64Array(cp * cp).fill(-1);
  return (q, k) => {
    const at = q * cp + k;
    if (table[at] < 0) table[at] = pairs(q, k);
    return table[at];
  };
}

/** Messages and bytes of a ring under a local mask, its largest message, and the most bytes of parcels of a rank. */
function sizesOf(message: RingWork["message"], parcel: RingWork["parcel"] | undefined, cp: number) {
  let [messages, bytes, largest] = [0, 0, 0];
  const parcels = new Array<number>(cp).fill(0);
  for (let rank = 0; rank < cp; rank++) {
    for (let i = 0; i < cp; i++) {
      const size = i < cp - 1 ? message(rank, i) : undefined;
      const home = i === rank ? undefined : parcel?.(rank, i);
      messages += Number(size !== undefined) + Number(home !== undefined);
      bytes += (size ?? 0) + (home ?? 0);
      largest = Math.max(largest, size ?? 0);
      parcels[rank] += home ?? 0;
    }
  }
  return { messages, bytes, largest, parcels: Math.max(...parcels) };
}

function idleHops(pairs: Calls["pairs"], cp: number): number {
  let idle = 0;
  for (let q = 0; q < cp; q++) for (let k = 0; k < cp; k++) idle += Number(pairs(q, k) === 0);
  return idle;
}

/** Pairs of the busiest rank over the mean. In pass-KV a rank computes its queries' pairs, in pass-Q its keys'. */
function balanceOf(pairs: Calls["pairs"], variant: Variant, cp: number): number {
  const ranks = Array.from({ length: cp }, (_, k) => k);
  const sums = ranks.map((rank) =>
    ranks.reduce((sum, other) => sum + (variant === "pass-kv" ? pairs(rank, other) : pairs(other, rank)), 0)
  );
  const total = sums.reduce((sum, n) => sum + n, 0);
  return total === 0 ? 1 : (Math.max(...sums) * cp) / total;
}

interface Placement {
  readonly wire: (from: number) => Wire;
  /** Other ranks in the same host. */
  readonly near: (rank: number) => number;
  /** Whether two ranks are in one host. */
  readonly together: (a: number, b: number) => boolean;
  readonly even: boolean;
}

/**
 * Ranks fill hosts in order, and a host holds gpusPerHost / TP ranks. With TP8 every hop leaves the host; with a
 * smaller TP some hops stay inside.
 */
function placement({ cp, tp, rates }: PlacedStep): Placement {
  const perHost = Math.max(1, Math.floor(rates.gpusPerHost / tp));
  const host = (rank: number) => Math.floor(rank / perHost);
  return {
    wire: (from) => (host(from) === host((from + 1) % cp) ? rates.host : rates.flow),
    near: (rank) => Math.min(cp, (host(rank) + 1) * perHost) - host(rank) * perHost - 1,
    together: (a, b) => host(a) === host(b),
    even: perHost === 1 || cp <= perHost,
  };
}
