/** The thread that verifies, in a browser and in Deno. */
import { type Request, serve } from "./thread.ts";

addEventListener("message", ({ data }: MessageEvent<Request>) => serve(data, (answer) => postMessage(answer)));
