/** A rank's worker thread in Node, with Dawn as its WebGPU. */
import * as Comlink from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { parentPort } from "node:worker_threads";
import { create } from "webgpu";
import { doze } from "./doze.ts";
import { RankService } from "./service.ts";
import "./transfer-errors.ts";

// Kept as long as the worker lives: the process aborts when it is collected while a device lives.
let dawn: GPU | undefined;

Comlink.expose(
  new RankService({ gpu: () => (dawn ??= create([])), wait: doze, blockingCompile: true, exit: () => process.exit(1) }),
  nodeEndpoint(parentPort!),
);
