/** The ports over which the ranks of one run ask for leave. Translates their states to the caller's tensors. */
import { offsets } from "../layout/shards.ts";
import type { Fault, HaltState, WatchedTokens } from "../rank/job.ts";
import type { HaltPost, Leave } from "../rank/leave.ts";
import { outcomeOf, publicLse } from "../ring/chunk.ts";
import { valueHead } from "../tensor/heads.ts";
import type { AttendInput, Halt, Made } from "./types.ts";

/** The ports of one run, and the tokens to watch. */
export interface Halts {
  readonly ports: readonly MessagePort[];
  readonly watch: WatchedTokens;
  close(): void;
}

/** Makes ports for `size` ranks. If `onHalt` throws, calls `fail`. */
export function haltPorts(
  size: number,
  input: AttendInput,
  onHalt: (halt: Halt) => void,
  fail: (reason: unknown) => void,
): Halts {
  const { sequences } = input;
  const starts = offsets(sequences.map((s) => s.new));
  const channels = Array.from({ length: size }, () => new MessageChannel());
  channels.forEach(({ port1 }, rank) => {
    let last: Halt | undefined;
    port1.onmessage = ({ data }: MessageEvent<HaltPost>) => {
      const answer = (strike?: Fault["kind"]) => port1.postMessage({ halt: data.halt, strike } satisfies Leave);
      try {
        last = "mail" in data ? { ...last!, mail: data.mail } : {
          ...data.state,
          rank,
          made: data.state.made && madeOf(data.state.made, input, starts),
          leave: () => answer(),
          strike: answer,
        };
        onHalt(last);
        if (last.next === "end") answer();
      } catch (error) {
        fail(error);
      }
    };
  });
  return {
    ports: channels.map(({ port2 }) => port2),
    watch: input.watch && tokensOf(input.watch, input, starts),
    close: () => channels.forEach(({ port1 }) => port1.close()),
  };
}

/** Rows of Q as tokens of their sequences. */
function tokensOf(rows: readonly number[], { sequences }: AttendInput, starts: readonly number[]): WatchedTokens {
  return [...new Set(rows)].sort((a, b) => a - b).map((row) => {
    const sequence = starts.findLastIndex((start, i) => start <= row && sequences[i].new > 0);
    return { sequence, start: sequences[sequence].cached + row - starts[sequence], length: 1 };
  });
}

function madeOf(
  { runs, data, ...made }: NonNullable<HaltState["made"]>,
  input: AttendInput,
  starts: readonly number[],
): Made {
  const { sequences, heads } = input;
  const rows = runs.flatMap(({ sequence, start, length }) =>
    Array.from({ length }, (_, i) => starts[sequence] + start - sequences[sequence].cached + i)
  );
  const { o: out, lse } = outcomeOf(data, { heads, ...valueHead(input) });
  return { ...made, rows, out, lse: publicLse(lse) };
}
