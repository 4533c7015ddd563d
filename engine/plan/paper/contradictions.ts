/**
 * Where the paper contradicts itself: cells that no model can match together, and statements that its own tables
 * refute.
 */

/** One contradiction. */
export interface Contradiction {
  /** Ids of the cells that contradict each other. */
  readonly cells: readonly string[];
  /** The contradiction in one sentence. */
  readonly what: string;
}

/** The known contradictions. */
export const CONTRADICTIONS: readonly Contradiction[] = [
  {
    cells: ["headline.128k.cp1", "t6.128.cp1.ttft", "t7.cp1.ttft"],
    what: "128K on one host takes about 60 s (introduction) or 42.010 s (Tables 6 and 7)",
  },
  {
    cells: ["headline.tp16.gap", "t7.tp16.ttft", "t7.cp2.ttft"],
    what: "TP16 is 15 % slower than CP2 (prose) or 42 % (Table 7: 29.917 s against 21.042 s)",
  },
  {
    cells: ["t6.128.cp2.ttit", "t7.cp2.ttit"],
    what: "TTIT of CP2 at 128K is 66.63 ms (Table 6) or 60.23 ms (Table 7); Table 8's parts fit the latter",
  },
  {
    cells: ["t4.128000.kv", "t7.cp4.ttft"],
    what: "a full prefill of 128,000 tokens on CP4 takes 11.462 s (Table 4) or 10.950 s (Table 7)",
  },
  { cells: ["t2.cp.total", "t3.full.kv"], what: "Table 2 counts K or V once, Table 3 both" },
  { cells: ["t8.32.cp2.op", "t8.32.cp2.ring"], what: "two attention ops of 13.9 µs make a ring of only 24.5 µs" },
  {
    cells: ["t8.128.cp4.whole", "t8.32.cp4.whole"],
    what:
      "CP4's parts sum to more than the whole (246.4 against 238.6 µs; 218.4 against 180.6 µs) and CP2's to less: " +
      "the parts and the whole are not from one run",
  },
  {
    cells: ["t8.128.cp1.op", "t8.32.cp1.op"],
    what: "TP8 reads the same 65.5 MB of KV in 38.9 µs for one sequence and 60.1 µs for four",
  },
  {
    cells: ["t4.4160.kv", "t4.6400.kv", "t4.4160.q", "t4.6400.q"],
    what: "2,240 more tokens (54 % more work) take only 0.5 % more time in pass-KV and 1.7 % in pass-Q, " +
      "although the rows around them follow the work: run-to-run noise of about 10 %",
  },
  { cells: [], what: "Appendix A's printed attention FLOPs omit the factor 4 that its result has" },
  {
    cells: [],
    what: "Appendix D's constants choose pass-Q for every row of Table 4 (natural logarithm), " +
      "or pass-KV for every row (base 10)",
  },
  {
    cells: ["t4.6400.kv", "t4.6400.q"],
    what: "the prose says that pass-Q wins below a miss rate of 5 %; in Table 4 it also wins at 5 %, by 0.3 %",
  },
];

/** The contradictions that a cell is part of. */
export function contradictionsOf(id: string): readonly Contradiction[] {
  return CONTRADICTIONS.filter((c) => c.cells.includes(id));
}
