/**
 * Batched ring pass-Q decode: Algorithm 4. It is Algorithm 3 on one-token queries: a chunk's block names the sequence
 * of each of its rows (the paper's batch ids, travelling with Q), each row attends to its own sequence's local keys,
 * and the queries are padded to the same number on every rank.
 */
export { passQ as decode } from "./pass-q.ts";
