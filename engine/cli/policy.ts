/** `ringside policy`: the variant that a rule chooses for a step, and the rule's terms. */
import { InputError } from "../errors.ts";
import { type Choice, choose, RULES } from "../policy/choose.ts";
import { readCount } from "../quantity.ts";
import { bytesText, countText, digits, percentText, secondsText } from "../policy/units.ts";
import { OPTION, optionLines } from "./help.ts";
import type { Io } from "./io.ts";
import {
  choiceOption,
  dealingOption,
  MASK_OPTIONS,
  maskOption,
  numberOption,
  parseOptions,
  rateOption,
  wholeOption,
} from "./options.ts";
import { table } from "./table.ts";
import { prefixOption } from "./tensors.ts";

const HELP = `ringside policy: chooses pass-KV or pass-Q for one step, and says why

  ringside policy --new 3200 --cached 124800 --ranks 4 --heads 128 --kv-heads 8

${
  optionLines(
    ["--new T", "new tokens"],
    ["--cached P", "cached tokens (default 0)"],
    OPTION.ranks,
    ["--heads H", "query heads"],
    ["--kv-heads Hkv", "KV heads"],
    ["--head-dim D", "head dimension (default 128)"],
    OPTION.prefix,
    OPTION.mask,
    OPTION.sinkTokens,
    OPTION.dealing,
    ["--bytes E", "bytes of an element (default 2)"],
    ["--flops C", "compute in FLOP/s, such as 8e14 or 800T (default: the paper's H100 at its peak)"],
    ["--bandwidth BW", "link in bytes/s, such as 5e10 or 400Gbps (default: the paper's GTT at line rate)"],
    ["--rule R", "alg1, alg5 (default), fitted (Appendix D's printed constants) or refitted (to Table 4)"],
    OPTION.json,
    OPTION.runtime,
  )
}

A rule assumes that a query sees all keys before it. Under a window or chunk mask, policy counts
what all ranks send, and chooses the variant that sends less.

For the bytes and times of one GPU, give its C and BW, and divide H and Hkv by TP. The choice stays
the same.
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
    "v-prefix": { type: "string" },
    ...MASK_OPTIONS,
    dealing: { type: "string" },
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
    if (value === undefined) throw new InputError(`--${name}: not given, expected a whole number of at least 1`);
    return value;
  };
  const headDim = wholeOption("--head-dim", o["head-dim"], 1);
  const prefix = prefixOption(o["v-prefix"], headDim ?? 128);
  const dealing = dealingOption(o);
  const rule = choiceOption("--rule", o.rule, RULES);
  const choice = choose({
    new: needed("new"),
    cached: wholeOption("--cached", o.cached, 0) ?? 0,
    ranks: needed("ranks"),
    heads: needed("heads"),
    kvHeads: needed("kv-heads"),
    ...(headDim === undefined ? {} : { headDim }),
    ...(prefix === undefined ? {} : { valueDim: prefix.prefixOfK, valuesInKeys: true }),
    mask: maskOption(o),
    ...(dealing === undefined ? {} : { dealing }),
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
    ["Eq. 1: Q message smaller up to a miss rate of", percentText(t.missEq1)],
    ["Eq. 2: attention hides pass-KV's ring from T =", countText(t.newEq2)],
    ["Eq. 3: attention hides pass-Q's ring from T+P =", countText(t.contextEq3)],
    ["Eq. 5: pass-Q with its All2All wins up to a miss rate of", t.missEq5 > 0 ? percentText(t.missEq5) : "none"],
    ...(t.h === undefined
      ? []
      : ([["h(T, P)", digits(t.h)], ["h = 0 at a miss rate of", percentText(t.missFitted!)]] as [string, string][])),
    ["elements of a token, KV and Q", `${countText(t.kvElements)}, ${countText(t.qElements)}`],
    ["KV message", bytesText(t.kvBytes)],
    ["Q message", bytesText(t.qBytes)],
    ["attention of one hop", secondsText(t.attend)],
    ["transfer of one hop, KV and Q", `${secondsText(t.sendKv)}, ${secondsText(t.sendQ)}`],
    ["All2All", `${bytesText(t.all2allBytes)}, ${secondsText(t.all2all)}`],
    [
      "exposed communication of one layer, pass-KV and pass-Q",
      `${secondsText(t.exposedKv)}, ${secondsText(t.exposedQ)}`,
    ],
  ];
  for (const [variant, sent] of Object.entries(t.sent ?? {})) {
    rows.push(
      [`sent by all ranks in ${variant}`, bytesText(sent.bytes)],
      [`needless under the mask in ${variant}`, `${bytesText(sent.skippedBytes)}, ${sent.skippedHops} hops`],
    );
  }
  return `${choice.variant} by ${t.sent === undefined ? choice.rule : "bytes sent"}${
    choice.closeness === "clear" ? "" : ` (${choice.closeness})`
  }\n${choice.reason}\n\n${table(["term", "value"], rows)}\n`;
}
