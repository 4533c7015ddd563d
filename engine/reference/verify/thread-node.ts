/** The thread that verifies, in Node. */
import { parentPort } from "node:worker_threads";
import { type Request, serve } from "./thread.ts";

parentPort!.once("message", (request: Request) => serve(request, (answer) => parentPort!.postMessage(answer)));
