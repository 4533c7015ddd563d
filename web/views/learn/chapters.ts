/** The chapters in their order. */
import type { Chapter } from "./chapter.ts";
import { blockwise } from "./chapters/blockwise.ts";
import { decoding } from "./chapters/decoding.ts";
import { merge } from "./chapters/merge.ts";
import { passKv } from "./chapters/pass-kv.ts";
import { passQ } from "./chapters/pass-q.ts";
import { shards } from "./chapters/shards.ts";
import { softmax } from "./chapters/softmax.ts";

/** Numbered from 1 on the page. */
export const chapters: readonly Chapter[] = [softmax, blockwise, merge, shards, passKv, passQ, decoding];
