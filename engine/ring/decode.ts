/**
 * Batched ring pass-Q decode: Algorithm 4. It is Algorithm 3 on one-token queries. A chunk's block names the sequence
 * of each of its rows (the paper's batch ids, which travel with Q). Each row attends to its own sequence's local keys,
 * and every rank's queries are padded to the same number.
 */
export { passQ as decode } from "./pass-q.ts";
