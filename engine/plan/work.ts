/** The ring of a step on a layout: rows, messages and attention costs of one layer, for the simulated cluster. */
import type { Variant } from "../ring/contract.ts";
import { block, count, headTail, type Sequence, tokens } from "../layout/shards.ts";
import { attentionTime, mergeTime } from "./attention-time.ts";
import { all2allTime } from "./collectives.ts";
import { attentionFlops, causalPairs } from "./flops.ts";
import type { GpuHeads } from "./heads.ts";
import type { Model } from "./models.ts";
import { pairsBetween } from "../layout/pairs.ts";
import type { GpuRates, Wire } from "./rates.ts";
import type { RingWork } from "./simulate.ts";
import { kvMessage, parcel, qMessage } from "./traffic.ts";

/** Bytes of an element of Q and O on the wire. */
const ACTIVATION_BYTES = 2;

/** Up to this many ranks, the planner simulates each. Beyond it, one stands for all if they are alike. */
export const EVERY_RANK_UP_TO = 256;

/** A step placed on a layout. */
export interface PlacedStep {
  readonly model: Model;
  readonly rates: GpuRates;
  readonly cp: number;
  readonly tp: number;
  readonly heads: GpuHeads;
  readonly kvBytes: number;
  /** Each sequence of the batch. */
  readonly sequence: Sequence;
  /** B. */
  readonly batch: number;
  /** Cached tokens of a sequence on each rank, if they are not dealt head-tail (after many turns and decodes). */
  readonly held?: readonly number[];
  /** One new token for each sequence, in a CUDA graph, by pass-Q (Algorithm 4) or pass-KV. */
  readonly decode: boolean;
}

/** The ring of one layer, without overheads and starting times. */
export interface RingShape
  extends Pick<RingWork, "attend" | "message" | "parcel" | "wire" | "exchange" | "merge" | "overlap"> {
  readonly flops: (queries: number, keys: number) => number;
  /** Query rows of a rank, with padding. */
  readonly rows: number;
  /** Whether all ranks have the same wire, so that one rank stands for all exactly. */
  readonly evenWires: boolean;
}

/** The ring of one layer of a step. With `everyRank`, each rank has its own attention cost; else all have the mean. */
export function ringShape(step: PlacedStep, variant: Variant, everyRank: boolean): RingShape {
  const { cp, heads, kvBytes, rates, model } = step;
  const calls = step.decode ? decodeCalls(step, variant) : prefillCalls(step, everyRank);
  const { rows, keys } = calls;
  const place = placement(step);
  const message = variant === "pass-kv"
    ? kvMessage(keys, heads.kv, model.headDim, kvBytes)
    : qMessage(rows, heads.queries, model.headDim, ACTIVATION_BYTES);
  const bytes = parcel(rows, heads.queries, model.headDim, ACTIVATION_BYTES);
  const seconds = (pairs: number) =>
    attentionTime({
      pairs,
      queryRows: rows,
      keyRows: calls.read,
      heads: heads.queries,
      kvHeads: heads.kv,
      headDim: model.headDim,
      kvBytes,
    }, rates);
  const flops = (pairs: number) => attentionFlops(pairs, heads.queries, model.headDim);
  return {
    attend: (q, k) => seconds(calls.pairs(q, k)),
    flops: (q, k) => flops(calls.pairs(q, k)),
    message,
    parcel: bytes,
    wire: place.wire,
    exchange: (rank) => all2allTime(bytes, place.near(rank), cp - 1 - place.near(rank), rates, step.decode),
    merge: mergeTime(cp, rows, heads.queries, model.headDim, rates),
    overlap: !step.decode,
    rows,
    evenWires: place.even,
  };
}

interface Calls {
  /** Query rows and KV rows of a rank, with padding. */
  readonly rows: number;
  readonly keys: number;
  /** KV rows that a call reads. */
  readonly read: number;
  readonly pairs: (queries: number, keys: number) => number;
}

/**
 * Prefill: new tokens lie in head-tail shards (engine/layout), and each rank's KV is padded to `max P_k + ceil(T/N)`
 * rows (section 4). A new token sees all cached ones. So on rank k, rank q's queries see `T_q P_k` cached pairs, plus
 * the causal pairs among new tokens. Without `everyRank`, all ranks have the mean: they differ by a row at most.
 */
function prefillCalls({ sequence, batch, held, cp }: PlacedStep, everyRank: boolean): Calls {
  const cached = held ??
    Array.from({ length: everyRank ? cp : 1 }, (_, k) => count(headTail(sequence.cached, everyRank ? cp : 1, k)));
  const rows = batch * Math.ceil(sequence.new / cp);
  const keys = rows + batch * (everyRank ? Math.max(...cached) : Math.ceil(sequence.cached / cp));
  if (!everyRank) {
    const mean = (batch * causalPairs(sequence)) / cp ** 2;
    return { rows, keys, read: keys, pairs: () => mean };
  }
  const fresh = Array.from({ length: cp }, (_, k) => block([headTail(sequence.new, cp, k)]));
  const own = fresh.map(tokens);
  return { rows, keys, read: keys, pairs: (q, k) => batch * (own[q] * cached[k] + pairsBetween(fresh[q], fresh[k])) };
}

/**
 * Decode (Algorithm 4): the batch is dealt round-robin and padded to a multiple of N. So each visiting chunk has
 * ceil(B/N) queries; padding costs as much as a query. Each query reads its own sequence's rows on this rank.
 */
function decodeCalls({ sequence, batch, held, cp }: PlacedStep, variant: Variant): Calls {
  const rows = Math.ceil(batch / cp);
  const local = held === undefined ? Math.ceil((sequence.cached + 1) / cp) : Math.max(...held) + 1;
  const read = rows * local;
  return { rows, keys: variant === "pass-kv" ? batch * local : read, read, pairs: () => read };
}

interface Placement {
  readonly wire: (from: number) => Wire;
  /** Other ranks in the same host. */
  readonly near: (rank: number) => number;
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
    even: perHost === 1 || cp <= perHost,
  };
}
