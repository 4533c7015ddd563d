/** A rank's worker in a browser and in Deno. */
import * as Comlink from "comlink";
import { RankService } from "./service.ts";
import "./transfer-errors.ts";

Comlink.expose(
  new RankService({
    gpu: () => navigator.gpu,
    blockingCompile: false,
    exit: () => self.close(),
    hold: (lock) => new Promise((held) => void navigator.locks.request(lock, () => new Promise(() => held()))),
  }),
);
