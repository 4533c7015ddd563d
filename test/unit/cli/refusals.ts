/** What tests of bad input share: good files to spoil, and a call that must be refused. */
import assert from "node:assert/strict";
import { link, mkdir, symlink, writeFile } from "node:fs/promises";
import path from "node:path";
import { attend } from "../../../engine/cli/attend.ts";
import { InputError } from "../../../engine/errors.ts";
import type { Platform } from "../../../engine/platform.ts";
import { writeNpy } from "../../../engine/tensor/npy.ts";
import type { Tensor } from "../../../engine/tensor/tensor.ts";
import { call, contents, inFolder, platform } from "./command.ts";

/** A call of `attend` that must be refused. */
export interface Case {
  readonly name: string;
  /** Files beside or in place of the good q.npy [5, 4, 16], k.npy and v.npy [8, 2, 16]. null is a folder. */
  readonly files?: Readonly<Record<string, Uint8Array | null>>;
  /** Options after the good ones, or all options. */
  readonly options?: readonly string[];
  readonly all?: readonly string[];
  readonly says: RegExp;
}

/** Options that name the good files. */
export const GOOD = ["--q", "q.npy", "--k", "k.npy", "--v", "v.npy", "--ranks", "2"];
/** Options that name outputs. */
export const OUTPUTS = ["--out", "o.npy", "--lse", "l.npy", "--trace", "t.json"];

/** Ones for a tensor of this shape. */
export function ones(...shape: number[]): Float32Array {
  return new Float32Array(shape.reduce((n, length) => n * length, 1)).fill(1);
}

/** A file of ones. */
export function npy(...shape: number[]): Uint8Array {
  return writeNpy(shape, ones(...shape));
}

/** A good tensor's file with one changed value. */
export function npyWith(value: number, at: number, ...shape: number[]): Uint8Array {
  return writeNpy(shape, ones(...shape).fill(value, at, at + 1));
}

/** A tensor of ones for a .safetensors file. */
export function tensor(...shape: number[]): Tensor {
  return { shape, dtype: "f32", data: ones(...shape) };
}

/** Options that name one .safetensors file, and its good tensors. */
export const F = ["--tensors", "f.safetensors", "--ranks", "2"];
export const qkv = { q: tensor(5, 4, 16), k: tensor(8, 2, 16), v: tensor(8, 2, 16) };

/** No bad input may start a rank. */
const noRanks: Platform = {
  ...platform,
  startWorker() {
    throw new Error("a rank was started");
  },
};

/** Options that name a file. */
const PATHS = new Set(["--q", "--k", "--v", "--tensors", "--out", "--lse", "--trace", "--sinks"]);

/** The options with file names as paths in the folder. */
export function located(argv: readonly string[], folder: string): string[] {
  return argv.map((
    word,
    i,
  ) => (PATHS.has(argv[i - 1]) && word !== "" && word !== "-" && !word.startsWith("/") ? `${folder}/${word}` : word));
}

/** Expects an InputError whose message `says` so: one line before any rank starts, and no file. */
export async function refuses({ files = {}, options = [], all, says }: Case): Promise<void> {
  await inFolder(async (folder) => {
    const good = { "q.npy": npy(5, 4, 16), "k.npy": npy(8, 2, 16), "v.npy": npy(8, 2, 16), sub: null };
    for (const [name, bytes] of Object.entries({ ...good, ...files })) {
      if (bytes === null) await mkdir(path.join(folder, name));
      else await writeFile(path.join(folder, name), bytes);
    }
    await symlink(".", path.join(folder, "link"));
    await symlink("/dev/zero", path.join(folder, "sub", "zero"));
    await link(path.join(folder, "q.npy"), path.join(folder, "hard.npy"));
    const before = await contents(folder);
    const argv = located([...OUTPUTS, ...(all ?? GOOD), ...options], folder);
    await assert.rejects(call(attend, argv, { platform: noRanks }), (error) => {
      assert.ok(error instanceof InputError, `${error}`);
      const message = error.message.replaceAll(`${folder}/`, "");
      assert.match(message, says);
      assert.doesNotMatch(message, /\n/);
      return true;
    });
    assert.deepEqual(await contents(folder), before, "nothing is written");
  });
}
