/** Builds `--help` texts. If several commands have an option, its text is here, once. */

/** An option as users write it, and what it does. */
export type OptionText = readonly [option: string, does: string];

const COLUMN = 24, WIDTH = 100;

/** The texts that commands share. */
export const OPTION = {
  npy: ["--q, --k, --v F.npy", "one .npy file for each tensor: little-endian f4 or f2, C order"],
  tensors: ["--tensors F", "one .safetensors file with the tensors q, k and v (and sinks, if any): F32, F16 or BF16"],
  dims: [
    "--dims D",
    "the axes of q, k and v: thd (default, [tokens, heads, D]), htd, bhtd or bthd; a batch's sequences follow one another",
  ],
  names: [
    "--names K=NAME,...",
    "what tensors are called in the files: q, k, v, sinks, o, lse; {layer} in a name stands for --layer",
  ],
  layer: ["--layer N", "the layer whose tensors are compared"],
  prefix: [
    "--v-prefix DV",
    "V is the first DV elements of each row of K, as in MLA: give no v; ranks hold and send one row a token",
  ],
  sinks: [
    "--sinks S.npy",
    "f4 [H]: a learned logit for each query head, once in each row's denominator; LSE then includes it",
  ],
  sequences: [
    "--sequences T:P,...",
    "new and cached tokens of each sequence (default: one, with P = K rows - Q rows)",
  ],
  ranks: ["--ranks N", "context-parallel ranks"],
  wireDtype: [
    "--wire-dtype E",
    "type in which the travelling tensors are stored and sent, KV in pass-kv and Q in pass-q: f32 (default), f16 or bf16",
  ],
  scale: ["--scale X", "scale of the scores (default 1/sqrt(D))"],
  mask: [
    "--mask M",
    "what a query sees: causal (default), full (its whole sequence), window:W (the last W positions, its own among " +
    "them) or chunk:C (its chunk of C positions, up to its own)",
  ],
  sinkTokens: ["--sink-tokens S", "with a window or chunk: each query also sees the first S positions"],
  dealing: [
    "--dealing D",
    "how ranks get tokens: head-tail (default; balances a causal mask) or contiguous (neighbours hold what a window sees)",
  ],
  link: [
    "--link B,L",
    "give each rank a link of B bytes/s and L seconds latency, such as 5e7,0.001 or 1Gbps,1e-6 (default: no limit)",
  ],
  rates: ["--rates C,BW", "FLOP/s and bytes/s of a rank, such as 500T,25GB/s, for --variant auto"],
  backend: ["--backend B", "webgpu (default), or cpu: plain TypeScript, which needs no adapter"],
  timeout: [
    "--timeout S",
    "seconds from a fault to its error on a quiet machine (default 5); on a slow machine it takes longer, and the " +
    "report says how long",
  ],
  out: ["--out O.npy", "write O, f4 [sum T, H, Dv]"],
  lse: ["--lse L.npy", "write LSE, f4 [sum T, H]"],
  trace: ["--trace T.json", "write the timeline as Chrome-trace JSON, for ui.perfetto.dev"],
  check: ["--check", "compare the result with float64; exit with status 1 if it is off"],
  json: ["--json", "print one JSON document"],
  runtime: ["--runtime R", "node (default) or deno"],
} as const satisfies Readonly<Record<string, OptionText>>;

/** The options that give Q, K, V and sinks. */
export const INPUTS: readonly OptionText[] = [
  OPTION.npy,
  OPTION.tensors,
  OPTION.dims,
  OPTION.names,
  OPTION.layer,
  OPTION.prefix,
  OPTION.sinks,
];

/** The text of --fault, which is written with a step in a session. */
export const FAULT = "make a rank fail on purpose; the kind is exit (default), drop or lose-device";

/** A shared text with this command's default, or another remark. */
export function withRemark([option, does]: OptionText, remark: string): OptionText {
  return [option, `${does} (${remark})`];
}

/** Lines for options: the option on the left, its text on the right, wrapped. */
export function optionLines(...options: readonly OptionText[]): string {
  return options.map(([option, does]) => {
    const lines = wrapped(does);
    const left = `  ${option}`;
    // A long option has its line to itself.
    if (left.length + 2 > COLUMN) return [left, ...lines.map((line) => " ".repeat(COLUMN) + line)].join("\n");
    return lines.map((line, i) => (i === 0 ? left : "").padEnd(COLUMN) + line).join("\n");
  }).join("\n");
}

function wrapped(text: string): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > WIDTH - COLUMN) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines;
}
