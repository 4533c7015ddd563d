/** `ringside attend` on bad input: one clear line before any rank starts, and no file. */
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import test from "node:test";
import { attend } from "../../../engine/cli/attend.ts";
import { toBytes } from "../../../engine/tensor/dtype.ts";
import { writeSafetensors } from "../../../engine/tensor/safetensors.ts";
import { call, inFolder, joined, npyBytes } from "./command.ts";
import { type Case, F, GOOD, located, npy, npyWith, ones, OUTPUTS, qkv, refuses, tensor } from "./refusals.ts";

/** A .npy file with this header, and zeros. */
function header(descr: string, order: string, shape: string, bytes: number): Uint8Array {
  return npyBytes(`{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`, new Uint8Array(bytes));
}

/** A safetensors file with this header, and zeros. Its header length can be wrong. */
function safetensors(head: unknown, bytes: number, length?: bigint): Uint8Array {
  const text = new TextEncoder().encode(JSON.stringify(head));
  const out = new Uint8Array(8 + text.length + bytes);
  new DataView(out.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
  out.set(text, 8);
  return out;
}

const entry = (shape: number[], begin: number, end: number, dtype = "F32") => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});
const Q_SIZE = 5 * 4 * 16 * 4;
const K_SIZE = 8 * 2 * 16 * 4;

const SHAPES: Case[] = [
  {
    name: "k with another D",
    files: { "k.npy": npy(8, 2, 20), "v.npy": npy(8, 2, 20) },
    says: /^k\.npy: found D = 20, expected D = 16 as in q\.npy$/,
  },
  {
    name: "v with other rows than k",
    files: { "v.npy": npy(9, 2, 16) },
    says: /^v\.npy: found shape \[9, 2, 16\], expected \[8, 2, Dv\] for the \[8, 2, 16\] of k\.npy$/,
  },
  {
    name: "v with other heads than k",
    files: { "v.npy": npy(8, 1, 16) },
    says: /^v\.npy: found shape \[8, 1, 16\], expected \[8, 2, Dv\] for the \[8, 2, 16\] of k\.npy$/,
  },
  {
    name: "v with a head size that no kernel computes",
    files: { "v.npy": npy(8, 2, 18) },
    says: /^v\.npy: value head dimension: found Dv = 18, expected a multiple of 4 from 16 to 576$/,
  },
  {
    name: "two axes",
    files: { "q.npy": npy(5, 64) },
    says: /^q\.npy: found shape \[5, 64\], expected three axes \[rows, heads, D\]$/,
  },
  {
    name: "four axes",
    files: { "k.npy": npy(1, 8, 2, 16) },
    says: /^k\.npy: found shape \[1, 8, 2, 16\], expected three axes/,
  },
  {
    name: "no new token",
    files: { "q.npy": npy(0, 4, 16) },
    says: /^q\.npy: found no row, expected at least one new token$/,
  },
  {
    name: "no head",
    files: { "q.npy": npy(5, 0, 16) },
    says: /^q\.npy and k\.npy: heads \(H\): found 0, expected a whole number of at least 1$/,
  },
  {
    name: "H not a multiple of Hkv",
    files: { "q.npy": npy(5, 3, 16) },
    says: /^q\.npy and k\.npy: heads: found H = 3 query heads and Hkv = 2 KV heads, expected H a multiple of Hkv$/,
  },
  {
    name: "fewer heads than KV heads",
    files: { "q.npy": npy(5, 1, 16) },
    says: /^q\.npy and k\.npy: heads: found H = 1 .* Hkv = 2/,
  },
  {
    name: "fewer rows in k than in q",
    files: { "k.npy": npy(4, 2, 16), "v.npy": npy(4, 2, 16) },
    says: /^k\.npy: found 4 rows, expected at least the 5 rows of q\.npy/,
  },
  {
    name: "fewer rows in k than in q in one file",
    all: F,
    files: { "f.safetensors": writeSafetensors({ ...qkv, q: tensor(9, 4, 16) }) },
    says: /^f\.safetensors, tensor k: found 8 rows, expected at least the 9 rows of f\.safetensors, tensor q/,
  },
  ...[10, 12, 18, 580].map((D): Case => ({
    name: `D = ${D}`,
    files: { "q.npy": npy(5, 4, D), "k.npy": npy(8, 2, D), "v.npy": npy(8, 2, D) },
    says: new RegExp(`^q\\.npy and k\\.npy: head dimension: found D = ${D}, expected a multiple of 4 from 16 to 576$`),
  })),
];

const VALUES: Case[] = [
  {
    name: "NaN in q",
    files: { "q.npy": npyWith(NaN, 2 * 64 + 3 * 16 + 1, 5, 4, 16) },
    says: /^q\.npy: found NaN at \[2, 3, 1\] of shape \[5, 4, 16\], expected finite values only$/,
  },
  {
    name: "infinity in k",
    files: { "k.npy": npyWith(Infinity, 7 * 32 + 31, 8, 2, 16) },
    says: /^k\.npy: found Infinity at \[7, 1, 15\] of shape \[8, 2, 16\], expected finite/,
  },
  {
    name: "-infinity in v",
    files: { "v.npy": npyWith(-Infinity, 0, 8, 2, 16) },
    says: /^v\.npy: found -Infinity at \[0, 0, 0\] of shape \[8, 2, 16\], expected finite/,
  },
  {
    name: "infinity in halves",
    files: {
      "k.npy": npyBytes(
        "{'descr': '<f2', 'fortran_order': False, 'shape': (8, 2, 16), }",
        new Uint8Array(toBytes(ones(8, 2, 16).fill(1e9, 33, 34), "f16")),
      ),
    },
    says: /^k\.npy: found Infinity at \[1, 0, 1\]/,
  },
  {
    name: "NaN in a safetensors file",
    all: F,
    files: {
      "f.safetensors": writeSafetensors({
        ...qkv,
        v: { shape: [8, 2, 16], dtype: "bf16", data: ones(8, 2, 16).fill(NaN, 16, 17) },
      }),
    },
    says: /^f\.safetensors, tensor v: found NaN at \[0, 1, 0\] of shape \[8, 2, 16\], expected finite/,
  },
  {
    name: "k above f16 on the wire",
    files: { "k.npy": npyWith(-65505, 3, 8, 2, 16) },
    options: ["--wire-dtype", "f16"],
    says:
      /^k\.npy: found a value of magnitude 65505, which f16 on the wire cannot hold \(at most 65504\); use bf16 or f32$/,
  },
  {
    name: "v above f16 on the wire",
    files: { "v.npy": npyWith(7e4, 3, 8, 2, 16) },
    options: ["--wire-dtype", "f16"],
    says: /^v\.npy: found a value of magnitude 70000, which f16 on the wire/,
  },
  {
    name: "q above f16 on the wire",
    files: { "q.npy": npyWith(7e4, 3, 5, 4, 16) },
    options: ["--wire-dtype", "f16", "--variant", "pass-q"],
    says: /^q\.npy: found a value of magnitude 70000, which f16 on the wire/,
  },
  {
    name: "scores that overflow f32",
    files: { "q.npy": npyWith(1e20, 0, 5, 4, 16), "k.npy": npyWith(-1e19, 0, 8, 2, 16) },
    says:
      /^q\.npy and k\.npy: found values up to 100000002004087730000 and 9999999980506448000, whose scores may overflow f32; expected /,
  },
  {
    name: "sums of v that overflow f32",
    files: { "v.npy": npyWith(3e38, 0, 8, 2, 16) },
    says: /^v\.npy: found values up to 3\.0\d*e\+38, whose sums may overflow f32; expected /,
  },
];

const NPY: Case[] = [
  {
    name: "Fortran order",
    files: { "q.npy": header("<f4", "True", "(5, 4, 16)", Q_SIZE) },
    says: /^q\.npy: found Fortran order, expected C order; save np\.ascontiguousarray\(x\)$/,
  },
  {
    name: "big-endian",
    files: { "k.npy": header(">f4", "False", "(8, 2, 16)", K_SIZE) },
    says: /^k\.npy: found dtype '>f4', expected '<f4', '<f2' or '<f8'; big-endian: save x\.astype\('<f4'\)$/,
  },
  {
    name: "float64",
    files: { "v.npy": header("<i8", "False", "(8, 2, 16)", 2 * K_SIZE) },
    says: /^v\.npy: found dtype '<i8', expected '<f4', '<f2' or '<f8'/,
  },
  {
    name: "truncated data",
    files: { "q.npy": npy(5, 4, 16).slice(0, -1) },
    says: /^q\.npy: found 1279 bytes of data, expected 1280 for shape \[5, 4, 16\] of '<f4'; the file is truncated$/,
  },
  {
    name: "truncated header",
    files: { "q.npy": npy(5, 4, 16).slice(0, 40) },
    says: /^q\.npy: truncated \.npy header: found a file of 40 bytes, expected 128$/,
  },
  {
    name: "empty file",
    files: { "q.npy": new Uint8Array() },
    says: /^q\.npy: truncated \.npy header: found a file of 0 bytes, expected at least 8$/,
  },
  {
    name: "trailing bytes",
    files: { "v.npy": Uint8Array.from([...npy(8, 2, 16), 0, 0, 0]) },
    says: /^v\.npy: found 1027 bytes of data, expected 1024 .*there are 3 trailing bytes$/,
  },
  {
    name: "a text file",
    files: { "q.npy": new TextEncoder().encode("1, 2, 3\n") },
    says: /^q\.npy: found a file that starts with 31 2c 20 32 2c 20, expected the \.npy magic/,
  },
  {
    name: "a header that is code",
    files: { "q.npy": header("<f4", "False", "(5, __import__('os'), 16)", Q_SIZE) },
    says: /^q\.npy: \.npy header: found .* expected /,
  },
  {
    name: "a shape beyond any memory",
    files: { "q.npy": header("<f4", "False", "(4503599627370496, 4, 16)", 64) },
    says: /^q\.npy: found shape \[4503599627370496, 4, 16\], expected fewer than 2\^53 elements$/,
  },
];

const SAFETENSORS: Case[] = [
  {
    name: "a missing tensor",
    all: F,
    files: { "f.safetensors": writeSafetensors({ q: qkv.q, key: qkv.k, v: qkv.v }) },
    says: /^f\.safetensors: found no tensor "k"; the file holds "key", "q", "v"$/,
  },
  {
    name: "offsets beyond the data",
    all: F,
    files: { "f.safetensors": safetensors({ q: entry([5, 4, 16], 0, Q_SIZE) }, Q_SIZE - 4) },
    says: /^f\.safetensors: tensor "q": found data_offsets \[0, 1280\], expected an end within the 1276 bytes of data/,
  },
  {
    name: "offsets that overlap",
    all: F,
    files: { "f.safetensors": safetensors({ q: entry([4], 0, 16), k: entry([4], 8, 24) }, 24) },
    says:
      /^f\.safetensors: tensor "k": found data_offsets \[8, 24\], expected a begin of 16: it overlaps the tensor before$/,
  },
  {
    name: "offsets with a hole",
    all: F,
    files: { "f.safetensors": safetensors({ q: entry([4], 8, 24) }, 24) },
    says: /^f\.safetensors: tensor "q": found data_offsets \[8, 24\], expected a begin of 0: there is a hole/,
  },
  {
    name: "offsets backwards",
    all: F,
    files: { "f.safetensors": safetensors({ q: entry([4], 16, 0) }, 16) },
    says: /^f\.safetensors: tensor "q": found data_offsets \[16, 0\], expected a begin that is not after the end$/,
  },
  {
    name: "offsets that are not the shape's",
    all: F,
    files: { "f.safetensors": safetensors({ q: entry([5], 0, 16) }, 16) },
    says:
      /^f\.safetensors: tensor "q": found data_offsets \[0, 16\], 16 bytes, expected 20 bytes for shape \[5\] of F32$/,
  },
  {
    name: "a huge header",
    all: F,
    files: { "f.safetensors": safetensors({}, 0, 2n ** 63n) },
    says: /^f\.safetensors: found a header length of 9223372036854775808 bytes, expected at most 100000000/,
  },
  {
    name: "a header longer than the file",
    all: F,
    files: { "f.safetensors": safetensors({}, 0, 99999999n) },
    says: /^f\.safetensors: found a header length of 99999999 bytes, expected at most the 2 that follow/,
  },
  {
    name: "a header that is not JSON",
    all: F,
    files: { "f.safetensors": Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 123, 123) },
    says: /^f\.safetensors: found a header that is no JSON in UTF-8 \(.*\), expected a JSON object$/,
  },
  {
    name: "another dtype",
    all: F,
    files: {
      "f.safetensors": safetensors({ q: entry([2], 0, 16, "I64"), k: entry([0], 16, 16), v: entry([0], 16, 16) }, 16),
    },
    says: /^f\.safetensors: tensor "q": found dtype I64, expected F32, F16, BF16, F64/,
  },
  {
    name: "an .npy file for --tensors",
    all: ["--tensors", "q.npy"],
    says:
      /^--tensors q\.npy: found a \.npy file, which holds one tensor, expected \.safetensors or \.npz with q, k, v$/,
  },
];

const FILES: Case[] = [
  {
    name: "--q with --tensors",
    options: ["--tensors", "f.safetensors"],
    says: /^--tensors: found beside --q, --k or --v, expected one or the other$/,
  },
  {
    name: "no input at all",
    all: [],
    says: /^--q: not given, expected --q, --k and --v \(\.npy\), or --tensors \(\.safetensors\)$/,
  },
  { name: "no --v", all: GOOD.slice(0, 4), says: /^--v: not given, expected --q, --k and --v/ },
  {
    name: "a missing file",
    options: ["--k", "none.npy"],
    says: /^--k none\.npy: cannot be read \(ENOENT\), expected a file$/,
  },
  {
    name: "a folder for a file",
    options: ["--v", "sub"],
    says: /^--v sub: found no file but a folder or device, expected a file$/,
  },
  {
    name: "a device for a file",
    options: ["--v", "/dev/null"],
    says: /^--v \/dev\/null: found no file but a folder or device, expected a file$/,
  },
  {
    name: "a missing tensors file",
    all: ["--tensors", "none.safetensors"],
    says: /^--tensors none\.safetensors: cannot be read \(ENOENT\), expected a file$/,
  },
  {
    name: "a missing output folder",
    options: ["--out", "none/o.npy"],
    says: /^--out none\/o\.npy: found no folder none, expected one that exists$/,
  },
  {
    name: "an output folder that is a file",
    options: ["--lse", "q.npy/l.npy"],
    says: /^--lse q\.npy\/l\.npy: found no folder q\.npy, expected one that exists$/,
  },
  {
    name: "an output that is a folder",
    options: ["--trace", "sub"],
    says: /^--trace sub: found a folder, expected a file name$/,
  },
  {
    name: "an output that ends like a folder",
    options: ["--trace", "t/"],
    says: /^--trace t\/: found no file name at its end, expected one$/,
  },
  {
    name: "an output without a name",
    options: ["--out", ""],
    says: /^--out : found no file name at its end, expected one$/,
  },
  // Even as root, Ringside must not put a file in its place.
  {
    name: "an output that is a device",
    options: ["--out", "sub/zero"],
    says: /^--out sub\/zero: found a device, expected a file name$/,
  },
  {
    name: "an output to stdout",
    options: ["--out", "-"],
    says: /^--out -: found no file, expected one: stdout carries the report\. Write \.\/- for a file of that name$/,
  },
  {
    name: "an output that is an input",
    options: ["--lse", "v.npy"],
    says: /^--lse v\.npy: --v names the same file, expected different ones$/,
  },
  {
    name: "an output that is an input by another path",
    options: ["--trace", "sub/../k.npy"],
    says: /^--trace sub\/\.\.\/k\.npy: --k names the same file/,
  },
  {
    name: "an output that is an input by a link",
    options: ["--trace", "link/q.npy"],
    says: /^--trace link\/q\.npy: --q names the same file/,
  },
  {
    name: "an output that is an input by a hard link",
    options: ["--trace", "hard.npy"],
    says: /^--trace hard\.npy: --q names the same file/,
  },
  {
    name: "an output that is the tensors' file, which is invalid",
    all: ["--tensors", "f.safetensors"],
    files: { "f.safetensors": Uint8Array.of(1) },
    options: ["--lse", "f.safetensors"],
    says: /^--lse f\.safetensors: --tensors names the same file/,
  },
  {
    name: "two outputs of one name",
    options: ["--lse", "o.npy"],
    says: /^--lse o\.npy: --out names the same file, expected different ones$/,
  },
  {
    name: "two outputs to one file by another path",
    options: ["--trace", "sub/../o.npy"],
    says: /^--trace sub\/\.\.\/o\.npy: --out names the same file, expected different ones$/,
  },
  {
    name: "two outputs to one file by a link",
    options: ["--trace", "link/o.npy"],
    says: /^--trace link\/o\.npy: --out names the same file, expected different ones$/,
  },
];

const OPTIONS: Case[] = [
  ...["0", "-1", "2.5", "65", "1e30"].map((n): Case => ({
    name: `--ranks ${n}`,
    options: [`--ranks=${n}`],
    says: /^--ranks: found "[^"]+", expected a whole number from 1 to 64$/,
  })),
  ...["four", "", "NaN", "Infinity", "2x"].map((n): Case => ({
    name: `--ranks "${n}"`,
    options: [`--ranks=${n}`],
    says: /^--ranks: found "[^"]*", expected a number$/,
  })),
  {
    name: "--ranks -1 in two words",
    options: ["--ranks", "-1"],
    says: /^Option '--ranks' argument is ambiguous\. .*'--ranks=-XYZ'$/,
  },
  { name: "--ranks without a number", options: ["--ranks"], says: /^Option '--ranks <value>' argument missing$/ },
  {
    name: "an unknown option",
    options: ["--rank", "3"],
    says: /^Unknown option '--rank'.*known options: --q, .*--ranks, .*; did you mean --ranks\?$/,
  },
  {
    name: "an option in camel case",
    options: ["--wireDtype", "f16"],
    says: /^Unknown option '--wireDtype'; known options: .*; did you mean --wire-dtype\?$/,
  },
  { name: "an option unlike any", options: ["--zebra"], says: /^Unknown option '--zebra'; known options: [^;]*$/ },
  {
    name: "a link that never ends",
    options: ["--link", "1e-3,0"],
    says: joined(
      /^--link: found 0\.001 bytes\/s and 0 s, on which a rank's 1024 bytes in 1 messages take 1\.02e\+6 s, /,
      /expected at most 3600 \(an hour\)/,
    ),
  },
  {
    name: "a latency that never ends",
    options: ["--link", "1e9,3e6"],
    says: /^--link: found a latency of 3000000 s, expected at most 3600: each message takes that long$/,
  },
  {
    name: "a scale beyond f32",
    options: ["--scale", "1e39"],
    says: /^--scale: found 1e\+39, which may overflow f32; expected a magnitude of at most 1e\+38$/,
  },
  {
    name: "a scale of scores beyond f32",
    options: ["--scale=-1e38"],
    says: /^q\.npy and k\.npy: found values .*, whose scores may overflow f32/,
  },
  {
    name: "70,000 KV heads",
    options: ["--seed", "1", "--shape", "2,70000,70000,16"],
    all: [],
    says: /^heads \(H\): found 70000, expected at most 65535: as many workgroups fit one axis of a WebGPU grid$/,
  },
  {
    name: "an argument that is not an option",
    options: ["q.npy"],
    says: /^Unexpected argument 'q\.npy'\. This command does not take positional arguments$/,
  },
  { name: "a value for a flag", options: ["--check=yes"], says: /^Option '--check' does not take an argument$/ },
  {
    name: "an unknown variant",
    options: ["--variant", "pass-v"],
    says: /^--variant: found "pass-v", expected pass-kv or pass-q/,
  },
  {
    name: "an unknown wire dtype",
    options: ["--wire-dtype", "fp8"],
    says: /^--wire-dtype: found "fp8", expected f32 or f16 or bf16$/,
  },
  {
    name: "an unknown backend",
    options: ["--backend", "cuda"],
    says: /^--backend: found "cuda", expected webgpu or cpu$/,
  },
  {
    name: "a scale that is not a number",
    options: ["--scale", "1/8"],
    says: /^--scale: found "1\/8", expected a number$/,
  },
  { name: "an infinite scale", options: ["--scale", "1e999"], says: /^--scale: found "1e999", expected a number$/ },
  {
    name: "a timeout that is not a number",
    options: ["--timeout", "soon"],
    says: /^--timeout: found "soon", expected a number$/,
  },
  {
    name: "a timeout of 0",
    options: ["--timeout", "0"],
    says: /^timeout: found 0, expected seconds above 0, at most 86400$/,
  },
  ...["fast", "1e9", "0,0", "-5,0", "1e9,-1", "1e9,", ",0.1", "1e9,0,0", "1e9,Infinity", "NaN,0"].map((link): Case => ({
    name: `--link ${link}`,
    options: [`--link=${link}`],
    says: /^--link: found "[^"]+", expected BYTES_PER_S,LATENCY_S such as /,
  })),
  ...["", "5", "5:", ":3", "5:3,", "5;3", "a:b", "-5:13", "2.5:3", "5:3:1"].map((s): Case => ({
    name: `--sequences "${s}"`,
    options: [`--sequences=${s}`],
    says: /^--sequences: found "[^"]*", expected T:P for each sequence, such as /,
  })),
  {
    name: "--sequences with other new tokens",
    options: ["--sequences", "3:0,1:4"],
    says: /^--sequences: found 4 new tokens in all, expected the 5 rows of q\.npy$/,
  },
  {
    name: "--sequences with other cached tokens",
    options: ["--sequences", "3:1,2:1"],
    says: /^--sequences: found 7 new and cached tokens in all, expected the 8 rows of k\.npy$/,
  },
  {
    name: "--sequences beyond whole numbers",
    options: ["--sequences", "99999999999999999999:0"],
    says: /^--sequences: found "99999999999999999999:0", expected T:P for each sequence, such as /,
  },
  {
    name: "--fault without a rank",
    options: ["--fault", "kind=drop"],
    says: /^--fault rank: found "", expected a number$/,
  },
  {
    name: "--fault with an unknown kind",
    options: ["--fault", "rank=1,kind=melt"],
    says: /^--fault kind: found "melt", expected exit or drop or lose-device$/,
  },
  {
    name: "--fault with an unknown field",
    options: ["--fault", "rank=1,hops=0"],
    says: /^--fault: found "hops", expected rank=R,/,
  },
  {
    name: "--fault on a missing rank",
    options: ["--fault", "rank=2"],
    says: /^--fault rank: found 2, expected a rank from 0 to 1$/,
  },
  {
    name: "--fault at a hop that sends nothing",
    options: ["--fault", "rank=1,hop=1"],
    says: /^--fault hop: found 1, expected a hop at which pass-kv on 2 ranks sends, 0 to 0$/,
  },
  {
    name: "--fault that loses a missing device",
    options: ["--backend", "cpu", "--fault", "rank=1,kind=lose-device"],
    says: /^--fault kind: found lose-device with --backend cpu, which has no device; expected exit or drop$/,
  },
];

for (
  const [subject, cases] of Object.entries({
    shapes: SHAPES,
    values: VALUES,
    ".npy files": NPY,
    ".safetensors files": SAFETENSORS,
    "files and folders": FILES,
    options: OPTIONS,
  })
) {
  test(`refuses ${subject}`, async (t) => {
    for (const c of cases) await t.test(c.name, () => refuses(c));
  });
}

test("the good files of the cases are accepted", () =>
  inFolder(async (folder) => {
    for (
      const [name, bytes] of Object.entries({
        "q.npy": npy(5, 4, 16),
        "k.npy": npy(8, 2, 16),
        "v.npy": npy(8, 2, 16),
        "f.safetensors": writeSafetensors(qkv),
      })
    ) await writeFile(path.join(folder, name), bytes);
    for (const options of [GOOD, F]) {
      const { status } = await call(
        attend,
        located([...OUTPUTS, ...options, "--backend", "cpu", "--check", "--sequences", "3:1,2:2"], folder),
      );
      assert.equal(status, 0);
      assert.equal((await readFile(path.join(folder, "l.npy"))).length, 128 + 5 * 4 * 4);
    }
  }));
