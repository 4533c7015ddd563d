/** A rank's worker thread in Node, with Dawn as its WebGPU. */
import * as Comlink from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { parentPort } from "node:worker_threads";
import { openDawn } from "./dawn.ts";
import { doze } from "./doze.ts";
import { RankService } from "./service.ts";
import "./transfer-errors.ts";

Comlink.expose(
  new RankService({ gpu: openDawn, wait: doze, blockingCompile: true, exit: () => process.exit(1) }),
  nodeEndpoint(parentPort!),
);
