/** `ringside layout`: who holds which token, in Ringside and in other frameworks. */
import { InputError } from "../errors.ts";
import { LAYOUT_NAMES, layoutOf } from "../layout/catalog.ts";
import { factsOf, imbalanceOf, type RankFacts, shardsOf, wholeShards } from "../layout/facts.ts";
import { type TokenRun, type Transfer, transfersBetween } from "../layout/transfers.ts";
import { bytesPer } from "../tensor/dtype.ts";
import { validateHeads } from "../tensor/heads.ts";
import { writeNpyInts } from "../tensor/npy.ts";
import { OPTION, optionLines } from "./help.ts";
import { checkOutputs, type Command, writeOutputs } from "./io.ts";
import { choiceOption, MASK_OPTIONS, maskOption, parseOptions, readTokens, wholeOption } from "./options.ts";
import { table } from "./table.ts";

/** Runs of tokens that the text shows for a rank or a transfer. */
const SHOWN = 4;

/** Runs that `--json` lists in all, unless `--runs` says how many for each rank and transfer. */
const LISTED = 20_000;

/** Tokens of a batch: what fits into memory, and ends within some seconds. */
const MOST_TOKENS = 2 ** 24;

/** Shares of sequences, and pairs of ranks that may send to each other, for the same reasons. */
const [MOST_SHARES, MOST_PAIRS] = [2 ** 20, 2 ** 16];

const HELP = `ringside layout: shows who holds which token

  ringside layout --layout te --sequences 4096,300 --ranks 8
  ringside layout --layout vllm-pcp --to vllm-dcp:16 --sequences 128k --ranks 8

${
  optionLines(
    ["--layout L", LAYOUT_NAMES.join(", ")],
    ["--sequences T,...", "new tokens of each sequence"],
    ["--cached P,...", "cached tokens of each sequence (default: none), dealt as if they were another sequence"],
    OPTION.ranks,
    ["--to L", "a second layout: shows what has to move, from prefill to decode, say"],
    ["--to-ranks N", "the ranks of the second layout (default: the same)"],
    OPTION.mask,
    OPTION.sinkTokens,
    ["--shape H,Hkv,D", "query heads, KV heads and head dimension, for bytes a hop"],
    ["--dtype E", "type of what travels, for bytes a hop: f32, f16 or bf16 (default)"],
    ["--out PERM.npy", "write the order of the ranks' shards, i8: the new token at each place, -1 for padding"],
    OPTION.json,
    [
      "--runs N",
      `runs that --json lists of each rank and transfer (default: ${
        LISTED.toLocaleString("en-US")
      } in all); contiguousRuns counts every one`,
    ],
    OPTION.runtime,
  )
}

Exit status: 0 done, 2 bad input or usage.
`;

/** The command. */
export const layout: Command = async (argv, io) => {
  const o = parseOptions(argv, {
    layout: { type: "string" },
    sequences: { type: "string" },
    cached: { type: "string" },
    ranks: { type: "string" },
    to: { type: "string" },
    "to-ranks": { type: "string" },
    ...MASK_OPTIONS,
    "no-causal": { type: "boolean" },
    shape: { type: "string" },
    dtype: { type: "string" },
    out: { type: "string" },
    json: { type: "boolean" },
    runs: { type: "string" },
    help: { type: "boolean", short: "h" },
  });
  if (o.help) {
    io.stdout(HELP);
    return 0;
  }
  for (const name of ["layout", "sequences", "ranks"] as const) {
    if (o[name] === undefined) {
      throw new InputError(`--${name}: not given, expected --layout L --sequences T,... --ranks N`);
    }
  }
  const own = layoutOf(o.layout!, "--layout");
  const ranks = wholeOption("--ranks", o.ranks, 1, 4096)!;
  const fresh = lengths("--sequences", o.sequences!, 1);
  const cached = o.cached === undefined ? fresh.map(() => 0) : lengths("--cached", o.cached, 0);
  if (cached.length !== fresh.length) {
    throw new InputError(
      `--cached: found ${cached.length} number${cached.length === 1 ? "" : "s"}, expected ${fresh.length}, one for ` +
        "each of --sequences; write 0 if a sequence has none",
    );
  }
  const total = [...fresh, ...cached].reduce((sum, length) => sum + length, 0);
  if (total > MOST_TOKENS) {
    throw new InputError(
      `--sequences: found ${count(total)} tokens in all, expected at most ${count(MOST_TOKENS)}; show a part of them`,
    );
  }
  const mask = maskOption(o);
  const heads = shapeOption(o.shape);
  const wire = choiceOption("--dtype", o.dtype, ["f32", "f16", "bf16"]) ?? "bf16";
  await checkOutputs({ "--out": o.out });
  const second = o.to === undefined ? undefined : layoutOf(o.to, "--to");
  const toRanks = wholeOption("--to-ranks", o["to-ranks"], 1, 4096) ?? ranks;
  if (second === undefined && o["to-ranks"] !== undefined) {
    throw new InputError("--to-ranks: found without --to, expected a second layout: add --to L");
  }
  if (o.runs !== undefined && !o.json) throw new InputError("--runs: found without --json, expected both: add --json");
  if (Math.max(ranks, second === undefined ? 0 : toRanks) * fresh.length > MOST_SHARES) {
    throw new InputError(
      `--ranks: found ${count(Math.max(ranks, toRanks))} ranks for ${
        count(fresh.length)
      } sequences, expected at most ` +
        `${count(MOST_SHARES)} shares in all; show fewer sequences`,
    );
  }
  if (second !== undefined && ranks * toRanks > MOST_PAIRS) {
    throw new InputError(
      `--to-ranks: found ${count(ranks)} times ${count(toRanks)} pairs of ranks, expected at most ${
        count(MOST_PAIRS)
      }; ` +
        "show fewer ranks",
    );
  }
  const lists = ranks + (second === undefined ? 0 : ranks * toRanks);
  const limit = o.json ? wholeOption("--runs", o.runs, 0) ?? Math.max(1, Math.floor(LISTED / lists)) : SHOWN;
  const dealt = shardsOf(own, fresh, ranks);
  const held = shardsOf(own, cached, ranks);
  const perRank = dealt.map((tokens, rank) => factsOf(rank, tokens, fresh, cached, mask, limit));
  const keyRows = dealt.map((tokens, rank) => tokens.length + held[rank].length);
  const hop = heads && {
    passKv: Math.max(...keyRows) * 2 * heads.kvHeads * heads.headDim * bytesPer(wire),
    passQ: Math.max(...dealt.map(({ length }) => length)) * heads.heads * heads.headDim * bytesPer(wire),
  };
  const transfers = second && transfersBetween(
    wholeShards(own, fresh, cached, ranks),
    shardsOf(second, fresh.map((T, i) => T + cached[i]), toRanks),
    limit,
  );
  if (o.out !== undefined) {
    const order = BigInt64Array.from(dealt.flatMap((tokens) => Array.from(tokens, BigInt)));
    await writeOutputs([[o.out, writeNpyInts([order.length], order)]]);
  }
  const facts = {
    layout: own.name,
    what: own.what,
    padding: own.padding,
    source: own.source,
    ranks,
    sequences: fresh.map((T, i) => ({ new: T, cached: cached[i] })),
    mask,
    perRank,
    imbalance: imbalanceOf(perRank),
    hopBytes: hop ?? null,
    transfers: transfers === undefined ? null : { to: second!.name, ranks: toRanks, list: transfers },
  };
  io.stdout(o.json ? json(facts) : text(facts));
  return 0;
};

function lengths(name: string, text: string, least: number): number[] {
  return text.split(",").map((part) => {
    const value = readTokens(part);
    if (value === undefined || value < least) {
      throw new InputError(
        `${name}: found ${JSON.stringify(part)}, expected a whole number of tokens of at least ${least} for each ` +
          `sequence, such as 4096,300${/^\d+m$/.test(part) ? `; did you mean ${part.toUpperCase()}?` : ""}`,
      );
    }
    return value;
  });
}

function shapeOption(text: string | undefined): { heads: number; kvHeads: number; headDim: number } | undefined {
  if (text === undefined) return undefined;
  const [heads, kvHeads, headDim, ...rest] = text.split(",").map((part) => readTokens(part) ?? NaN);
  if (rest.length > 0 || ![heads, kvHeads, headDim].every(Number.isSafeInteger)) {
    throw new InputError(`--shape: found ${JSON.stringify(text)}, expected H,Hkv,D such as 32,8,128`);
  }
  validateHeads(heads, kvHeads, headDim);
  return { heads, kvHeads, headDim };
}

const count = (n: number) => n.toLocaleString("en-US");

/** JSON with a run on each line. */
function json(facts: unknown): string {
  const run = /\{\s+"start": (\d+),\s+"length": (\d+)\s+\}/g;
  return `${JSON.stringify(facts, null, 2).replace(run, '{ "start": $1, "length": $2 }')}\n`;
}

function text(facts: {
  readonly layout: string;
  readonly what: string;
  readonly padding: string;
  readonly source: string;
  readonly perRank: readonly RankFacts[];
  readonly imbalance: number;
  readonly hopBytes: { readonly passKv: number; readonly passQ: number } | null;
  readonly transfers: { readonly to: string; readonly ranks: number; readonly list: readonly Transfer[] } | null;
}): string {
  const { perRank, hopBytes, transfers } = facts;
  const say = ({ start, length }: TokenRun) => length === 1 ? `${start}` : `${start}-${start + length - 1}`;
  const runs = ({ runs: first, contiguousRuns }: RankFacts | Transfer) =>
    first.map(say).join(", ") + (contiguousRuns > first.length ? `, ... (${count(contiguousRuns)} runs)` : "");
  const lines = [
    `layout    ${facts.layout}: ${facts.what}`,
    `padding   ${facts.padding}`,
    `source    ${facts.source}`,
    "",
    table(
      ["rank", "tokens", "padding", "query-key pairs", "new tokens, in order"],
      perRank.map((own) => [
        String(own.rank),
        count(own.tokens),
        count(own.padding),
        count(own.pairs),
        runs(own),
      ]),
    ),
    "",
    `work      the busiest rank has ${facts.imbalance.toFixed(3)} times the mean`,
  ];
  if (hopBytes !== null) {
    lines.push(`a hop     ${count(hopBytes.passKv)} bytes in pass-KV, ${count(hopBytes.passQ)} bytes in pass-Q`);
  }
  if (transfers !== null) {
    const moved = transfers.list.filter(({ from, to }) => from !== to);
    const sum = (list: readonly Transfer[]) => list.reduce((all, { tokens }) => all + tokens, 0);
    lines.push(
      "",
      `to ${transfers.to} on ${transfers.ranks} ranks: ${count(sum(moved))} of ${
        count(sum(transfers.list))
      } tokens move, in ` +
        `${count(moved.reduce((all, { contiguousRuns: own }) => all + own, 0))} contiguous runs`,
      table(
        ["from rank", "to rank", "tokens", "contiguous runs", "tokens, in order"],
        transfers.list.map((own) => [
          String(own.from),
          String(own.to),
          count(own.tokens),
          count(own.contiguousRuns),
          runs(own),
        ]),
      ),
    );
  }
  return `${lines.join("\n")}\n`;
}
