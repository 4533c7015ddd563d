/** Starts, connects and ends one rank's worker. */
import * as Comlink from "comlink";
import type { Opened, Pulse, RankSetup } from "../rank/job.ts";
import type { RankService } from "../rank/service.ts";
import "../rank/transfer-errors.ts";
import type { ClusterPlatform, RankWorker } from "./platform.ts";

/** A worker, and the service in it. */
export interface WorkerRank {
  readonly worker: RankWorker;
  readonly service: Comlink.Remote<RankService>;
  readonly opened: Promise<Opened>;
  /** Resolves if the worker ends unasked, with what is known of why. */
  readonly died: Promise<string>;
  /** Ignores its signs of life from now on. */
  mute(): void;
}

/** Starts a worker and opens its rank; `onPulse` gets its signs of life. */
export function startRank(
  platform: ClusterPlatform,
  setup: Omit<RankSetup, "pulse" | "lock">,
  onPulse: (pulse: Pulse) => void,
): WorkerRank {
  const worker = platform.startWorker();
  const { port1: pulse, port2 } = new MessageChannel();
  const service = Comlink.wrap<RankService>(worker.endpoint);
  pulse.onmessage = ({ data }: MessageEvent<Pulse>) => {
    worker.heard?.();
    onPulse(data);
  };
  // In Node, an idle cluster must not keep the process alive.
  (pulse as { unref?: () => void }).unref?.();
  const given = [...setup.ports.filter((p) => p !== undefined), port2];
  const opened = service.open(Comlink.transfer({ ...setup, lock: worker.lock, pulse: port2 }, given));
  opened.catch(() => {});
  return {
    worker,
    service,
    opened,
    died: new Promise((resolve) => worker.onDeath(resolve)),
    mute: () => pulse.close(),
  };
}

/**
 * Closes a rank, then ends its worker, however long that takes: if a worker thread in Node ends while Dawn compiles for
 * it, the process crashes. A worker that died has nothing left to close.
 */
export async function endRank({ service, worker, died, mute }: WorkerRank): Promise<void> {
  mute();
  await Promise.race([service.close().catch(() => {}), died]);
  service[Comlink.releaseProxy]();
  await worker.terminate();
}

/** Resolves after some seconds, without keeping a process alive. */
export function seconds(n: number): Promise<void> {
  return new Promise((resolve) => {
    const timer: unknown = setTimeout(resolve, n * 1000);
    (timer as { unref?: () => void }).unref?.();
  });
}

/** Channels between all pairs of ranks: `result[a][b]` is a's end of the channel to b. */
export function meshPorts(size: number): (MessagePort | undefined)[][] {
  const ports = Array.from({ length: size }, () => new Array<MessagePort | undefined>(size).fill(undefined));
  for (let a = 0; a < size; a++) {
    for (let b = a + 1; b < size; b++) {
      const { port1, port2 } = new MessageChannel();
      ports[a][b] = port1;
      ports[b][a] = port2;
    }
  }
  return ports;
}
