/** The messages between a cluster and its ranks: setup, jobs, outcomes and signs of life. */
import type { AdapterFacts, DeviceLimits } from "../gpu/facts.ts";
import type { Variant } from "../ring/contract.ts";
import type { Shards } from "../ring/route.ts";
import type { KernelTexts } from "../gpu/shaders.ts";
import type { Kind, Span } from "../trace/span.ts";
import type { DType } from "../tensor/dtype.ts";
import type { Run } from "../layout/shards.ts";
import type { CachedRows } from "./cache.ts";
import type { RankChunk, Shape } from "../ring/chunk.ts";

/** What computes the partial attentions: WGSL on one WebGPU device per rank, or plain TypeScript. */
export type Backend = "webgpu" | "cpu";

/** A model of a real link: each rank's outgoing messages queue for `bandwidth`, then take `latency` more. */
export interface Link {
  /** Bytes per second. */
  readonly bandwidth: number;
  /** Seconds. */
  readonly latency: number;
}

/** What one rank sent and received. Each message carries one chunk or one parcel. */
export interface RankTraffic {
  /** The rank. */
  readonly rank: number;
  /** Bytes of all messages that it sent. */
  readonly bytesSent: number;
  /** Bytes of all messages that it received. */
  readonly bytesReceived: number;
  /** Messages sent: N-1 ring transfers, and in pass-Q N-1 parcels of the All2All. */
  readonly messages: number;
  /** What it sent in ring transfers. */
  readonly ring: { readonly messages: number; readonly bytes: number };
  /** What it sent in the All2All. */
  readonly all2all: { readonly messages: number; readonly bytes: number };
  /** Bytes of padding in the ring's messages. */
  readonly paddingBytes: number;
  /** What it did not send because the mask made it needless: whole messages, and bytes of all messages. */
  readonly skipped: { readonly messages: number; readonly bytes: number };
}

/** A fault on purpose, to show that Ringside notices it: this rank fails when it would send at `hop`. */
export interface Fault {
  /** The rank to strike. */
  readonly rank: number;
  /** The hop at which it strikes. */
  readonly hop: number;
  /** The worker ends, its chunk is dropped, or its GPU device is lost. */
  readonly kind: "exit" | "drop" | "lose-device";
  /** In a session: the step that it strikes, from 0. */
  readonly step?: number;
}

/** A rank's place and means. `ports[s]` leads to rank s (undefined at its own place), `pulse` to the monitor. @internal */
export interface RankSetup {
  readonly rank: number;
  readonly size: number;
  readonly backend: Backend;
  readonly shaders: KernelTexts;
  /** Whether to time kernels on the work itself; default: on hardware only. */
  readonly tune?: boolean;
  readonly link: Link | undefined;
  readonly ports: readonly (MessagePort | undefined)[];
  readonly pulse: MessagePort;
  /** A Web Lock to hold as long as this worker lives, so that the cluster notices its end. */
  readonly lock?: string;
}

/** The fields of every job. */
export interface Job {
  readonly id: number;
  /** Seconds on the shared clock from which spans count. */
  readonly origin: number;
  readonly variant: Variant;
  readonly shape: Shape;
  /** This rank's new queries. */
  readonly q: RankChunk;
  /** Every rank's rows, if the mask may make some messages needless (see Route). */
  readonly shards?: Shards;
  /** A learned logit for each head, which enters each row once, f32 `[H]`. */
  readonly sinks?: Float32Array;
  readonly fault?: Fault;
}

/** One attention on this rank's shard. @internal */
export interface AttendJob extends Job {
  readonly kv: RankChunk;
  /** If given, the rank halts (see halt.ts) and waits at this port for leave. */
  readonly halt?: { readonly port: MessagePort; readonly watch: WatchedTokens };
}

/** The tokens whose partial results a halted rank hands out; undefined: all. */
export type WatchedTokens = readonly Omit<Run, "row">[] | undefined;

/**
 * One step of a session: appends rows to this rank's cache, then attends the new queries to all cached rows.
 */
export interface StepJob extends Job {
  readonly session: number;
  readonly appends: readonly CachedRows[];
  /** The sequences of the batch, and the rows to which a KV message pads each (L_i). */
  readonly sequences: readonly number[];
  readonly lengths: readonly number[];
}

/** The size of a session's cache on a rank. */
export interface CacheSetup {
  readonly session: number;
  readonly pages: number;
  /** Elements of one row of K, Hkv D, and of V, Hkv Dv, if it isn't part of K. */
  readonly widths: readonly number[];
  readonly dtype: DType;
}

/** O and LSE of this rank's query rows as one buffer (see RankChunk), and the facts of the job. */
export interface AttendOutcome {
  readonly data: ArrayBuffer;
  readonly spans: readonly Span[];
  readonly traffic: RankTraffic;
  readonly compileSeconds: number;
  /** Attention kernels that ran. */
  readonly kernels: readonly string[];
}

/** The device that a rank opened. */
export interface Opened {
  readonly adapter: AdapterFacts;
  readonly timestamps: boolean;
  /** The GPU device's; undefined on the CPU back-end. */
  readonly limits: DeviceLimits | undefined;
}

/** How far a job has come on this rank, to find out why a message doesn't come. */
export interface JobProgress extends MailState {
  /** "ahead": this rank hasn't got the job yet. */
  readonly state: "ahead" | "running" | "ended";
}

/** A message awaited or delivered. */
export interface Mail {
  /** A ring transfer, or a parcel of the All2All. */
  readonly kind: "ring" | "all2all";
  /** The hop it belongs to. */
  readonly hop: number;
  /** The rank at the other end. */
  readonly peer: number;
}

/** A message with its content. */
export interface Message extends Mail {
  /** The rank that first held the chunk, or whose queries a parcel answers. */
  readonly owner: number;
  /** Its size. */
  readonly bytes: number;
}

/** The messages that a rank has sent, has received, and awaits in one job. */
export interface MailState {
  /** `delivered`: the message has left this rank's link. */
  readonly sent: readonly (Message & { readonly delivered: boolean })[];
  /** Messages that came, in order. */
  readonly received: readonly Message[];
  /** Messages that have not come. */
  readonly awaiting: readonly Mail[];
}

/** Rows that an attention reads: the rank that first held them, and their tokens. */
export interface Held {
  /** The rank whose rows they are. */
  readonly owner: number;
  /** Which rows. */
  readonly runs: readonly Run[];
}

/** A halted rank's state. */
export interface HaltState {
  /** What it does once it has leave: the attention of `hop`, pass-Q's All2All, its merge, or ("end") nothing. */
  readonly next: "attend" | "all2all" | "merge" | "end";
  /** The hop at which it halts. */
  readonly hop: number;
  /** The operands of the attention of `hop`. */
  readonly queries?: Held;
  /** What the attention of `hop` attends to. */
  readonly keys?: Held;
  /**
   * The result of the last attention or merge: O `[rows, H, D]`, then LSE `[rows, H]`, f32, of the watched tokens in
   * `runs`.
   */
  readonly made?: {
    readonly kind: "attend" | "merge";
    readonly hop: number;
    readonly queries: Held;
    readonly keys?: Held;
    readonly runs: readonly Run[];
    readonly data: ArrayBuffer;
  };
  /** Its messages. */
  readonly mail: MailState;
}

/** A rank's sign of life, sent at each change of its state and twice a second. */
export interface Pulse {
  readonly rank: number;
  /** Seconds on the shared clock. */
  readonly at: number;
  readonly job: number | undefined;
  /** "barrier": compiled, and waiting for leave to begin. */
  readonly phase: Kind | "idle" | "halt";
  readonly hop: number;
  /** Hops whose attention is done. */
  readonly done: number;
  readonly awaiting: readonly (Mail & { readonly since: number })[];
  /** Messages still on this rank's link. */
  readonly sending: number;
  /** Why this rank can't work any more, if so. */
  readonly lost?: string;
}

/** What a rank in this phase awaits, for an error. */
export function endOf(phase: Pulse["phase"]): string {
  return phase === "halt" ? "leave to go on" : `the end of ${phase}`;
}
