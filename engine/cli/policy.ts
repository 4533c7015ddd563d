/** `ringside policy`: which variant a rule names for a step, and its terms. */
import { InputError } from "../errors.ts";
import { type Choice, choose, RULES } from "../policy/choose.ts";
import { readCount } from "../quantity.ts";
import { bytesText, countText, digits, percentText, secondsText } from "../policy/units.ts";
import type { Io } from "./io.ts";
import { choiceOption, numberOption, parseOptions, rateOption, wholeOption } from "./options.ts";
import { table } from "./table.ts";

const HELP = `ringside policy: pass-KV or pass-Q, and why

  ringside policy --new 3200 --cached 124800 --ranks 4 --heads 128 --kv-heads 8

  --new T --cached P --ranks N --heads H --kv-heads Hkv
  --flops C        compute, FLOP/s, such as 800T (8e14: the paper's H100 at its peak)
  --bandwidth BW   link, bytes/s, or 400Gbps (5e10: the paper's GTT at line rate)
  --bytes E        bytes an element (2)
  --head-dim D     (128)
  --rule R         alg1, alg5 (default), fitted (Appendix D's printed constants) or refitted (to Table 4)
  --json           one JSON document

  H and Hkv over TP, with one GPU's C and BW, give one GPU's bytes and times; the choice is the same either way.
`;

/** The command. */
export function policy(argv: readonly string[], io: Pick<Io, "stdout" | "stderr">): Promise<number> {
  return new Promise((resolve) => resolve(run(argv, io)));
}

function run(argv: readonly string[], io: Pick<Io, "stdout" | "stderr">): number {
  const o = parseOptions(argv, {
    new: { type: "string" },
    cached: { type: "string" },
    ranks: { type: "string" },
    heads: { type: "string" },
    "kv-heads": { type: "string" },
    "head-dim": { type: "string" },
    flops: { type: "string" },
    bandwidth: { type: "string" },
    bytes: { type: "string" },
    rule: { type: "string" },
    json: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  });
  if (o.help) {
    io.stdout(HELP);
    return 0;
  }
  const needed = (name: "new" | "ranks" | "heads" | "kv-heads") => {
    const value = wholeOption(`--${name}`, o[name], 1);
    if (value === undefined) throw new InputError(`--${name}: found none, expected a whole number of at least 1`);
    return value;
  };
  const headDim = wholeOption("--head-dim", o["head-dim"], 1);
  const rule = choiceOption("--rule", o.rule, RULES);
  const choice = choose({
    new: needed("new"),
    cached: wholeOption("--cached", o.cached, 0) ?? 0,
    ranks: needed("ranks"),
    heads: needed("heads"),
    kvHeads: needed("kv-heads"),
    ...(headDim === undefined ? {} : { headDim }),
    bytes: numberOption("--bytes", o.bytes) ?? 2,
    flops: rateOption("--flops", o.flops, readCount) ?? 8e14,
    bandwidth: rateOption("--bandwidth", o.bandwidth) ?? 5e10,
    ...(rule === undefined ? {} : { rule }),
  });
  io.stdout(o.json ? `${JSON.stringify(choice)}\n` : choiceText(choice));
  return 0;
}

function choiceText(choice: Choice): string {
  const t = choice.terms;
  const rows: [string, string][] = [
    ["miss rate T/(T+P)", percentText(t.missRate)],
    ["Eq. 1: Q message the smaller up to a miss rate of", percentText(t.missEq1)],
    ["Eq. 2: pass-KV hidden from T =", countText(t.newEq2)],
    ["Eq. 3: pass-Q's ring hidden from T+P =", countText(t.contextEq3)],
    ["Eq. 5: pass-Q with All2All up to a miss rate of", t.missEq5 > 0 ? percentText(t.missEq5) : "none"],
    ...(t.h === undefined
      ? []
      : ([["h(T, P)", digits(t.h)], ["h = 0 at a miss rate of", percentText(t.missFitted!)]] as [string, string][])),
    ["KV message", bytesText(t.kvBytes)],
    ["Q message", bytesText(t.qBytes)],
    ["attention a hop", secondsText(t.attend)],
    ["transfer a hop, KV and Q", `${secondsText(t.sendKv)}, ${secondsText(t.sendQ)}`],
    ["All2All", `${bytesText(t.all2allBytes)}, ${secondsText(t.all2all)}`],
    ["exposed a layer, pass-KV and pass-Q", `${secondsText(t.exposedKv)}, ${secondsText(t.exposedQ)}`],
  ];
  return `${choice.variant} by ${choice.rule}${
    choice.closeness === "clear" ? "" : ` (${choice.closeness})`
  }\n${choice.reason}\n\n${table(["term", "value"], rows)}\n`;
}
