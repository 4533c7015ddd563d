/** One rank's worker as the cluster holds it: started, connected, ended. */
import * as Comlink from "comlink";
import { RankError } from "../errors.ts";
import type { Opened, Pulse, RankSetup } from "../rank/job.ts";
import type { RankService } from "../rank/service.ts";
import "../rank/transfer-errors.ts";
import type { Monitor } from "./monitor.ts";
import type { Platform, RankWorker } from "./platform.ts";

/** The most seconds a rank may take to open its device. */
const OPEN_SECONDS = 60;
/** Seconds that ranks are given to stop or to end. */
export const STOP_SECONDS = 1;

/** A worker with the service in it. */
export interface WorkerRank {
  readonly worker: RankWorker;
  readonly service: Comlink.Remote<RankService>;
  readonly pulse: MessagePort;
  readonly opened: Promise<Opened>;
}

/** Starts a worker and opens its rank; `opened` rejects when it dies, takes too long, or `signal` aborts. */
export function startRank(platform: Platform, setup: Omit<RankSetup, "pulse">, monitor: Monitor, signal: AbortSignal | undefined): WorkerRank {
  const worker = platform.startWorker();
  const { port1: pulse, port2 } = new MessageChannel();
  const service = Comlink.wrap<RankService>(worker.endpoint);
  pulse.onmessage = ({ data }: MessageEvent<Pulse>) => monitor.put(data);
  const given = [...setup.ports.filter((p) => p !== undefined), port2];
  const opened = new Promise<Opened>((resolve, reject) => {
    const abort = () => reject(signal!.reason);
    const timer = setTimeout(() => reject(new RankError(setup.rank, undefined, "its GPU device", `did not open within ${OPEN_SECONDS} s`)), OPEN_SECONDS * 1000);
    signal?.addEventListener("abort", abort);
    worker.onDeath((how) => reject(monitor.dead(setup.rank, how)));
    service.open(Comlink.transfer({ ...setup, pulse: port2 }, given)).then(resolve, reject).finally(() => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    });
  });
  opened.catch(() => {});
  return { worker, service, pulse, opened };
}

/** Closes ranks, then ends their workers: a worker thread that ends while Dawn still owes it an answer takes the process down. */
export async function endRanks(ranks: readonly WorkerRank[]): Promise<void> {
  const closing = ranks.map(({ service }) => service.close());
  await Promise.race([Promise.allSettled(closing), seconds(STOP_SECONDS)]);
  for (const { worker, service, pulse } of ranks) {
    pulse.close();
    service[Comlink.releaseProxy]();
    worker.terminate();
  }
}

/** Resolves after some seconds, without keeping a process alive. */
export function seconds(n: number): Promise<void> {
  return new Promise((resolve) => {
    const timer: unknown = setTimeout(resolve, n * 1000);
    (timer as { unref?: () => void }).unref?.();
  });
}

/** A channel between each two ranks: `result[a][b]` is a's end of the one to b. */
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
