/**
 * Where the WGSL texts lie. Reading them differs by platform (a file, or a fetch), so each platform brings its own
 * reader.
 */
import { InputError } from "../errors.ts";
import { didYouMean } from "../options.ts";

/** The kernels by name. */
export const shaderUrls = {
  attend: new URL("../../shaders/attend.wgsl", import.meta.url),
  "attend-subgroup4": new URL("../../shaders/attend-subgroup4.wgsl", import.meta.url),
  "attend-subgroup4-rows8": new URL("../../shaders/attend-subgroup4-rows8.wgsl", import.meta.url),
  "attend-lanes": new URL("../../shaders/attend-lanes.wgsl", import.meta.url),
  "attend-shared": new URL("../../shaders/attend-shared.wgsl", import.meta.url),
  "attend-matrix": new URL("../../shaders/attend-matrix.wgsl", import.meta.url),
  decode: new URL("../../shaders/decode.wgsl", import.meta.url),
  "decode-subgroup4": new URL("../../shaders/decode-subgroup4.wgsl", import.meta.url),
  "decode-subgroups": new URL("../../shaders/decode-subgroups.wgsl", import.meta.url),
  merge: new URL("../../shaders/merge.wgsl", import.meta.url),
  "merge-parts": new URL("../../shaders/merge-parts.wgsl", import.meta.url),
  seeded: new URL("../../shaders/seeded.wgsl", import.meta.url),
};

/** Every kernel's name. */
export const kernelNames: readonly string[] = Object.keys(shaderUrls);

/** WGSL texts by kernel name. */
export type Shaders = Readonly<Record<keyof typeof shaderUrls, string>>;

/** The same, with the names of those that were given in place of shipped ones. */
export type GivenShaders = Shaders & { readonly given?: readonly (keyof Shaders)[] };

/** A text in place of a shipped one, with what reports call it. */
export interface NamedText {
  readonly name: string;
  readonly text: string;
}

/** Texts in place of shipped ones, by kernel name. */
export type Replacements = Readonly<Record<string, string | NamedText>>;

/** The shipped texts with those that replace them. Errors: InputError for a name that no kernel has. */
export function replaced(shipped: Shaders, by: Replacements = {}): GivenShaders {
  for (const kernel of Object.keys(by)) {
    if (!Object.hasOwn(shaderUrls, kernel)) {
      throw new InputError(
        `shaders: found a text for "${kernel}", expected one of ${kernelNames.join(", ")}${
          didYouMean(kernel, kernelNames)
        }`,
      );
    }
  }
  if (Object.hasOwn(by, "seeded")) {
    throw new InputError(
      'shaders: found a text for "seeded", which no attention runs; expected texts of kernels that attend or merge',
    );
  }
  const given = Object.keys(by) as NonNullable<GivenShaders["given"]>;
  return {
    ...shipped,
    ...(given.length === 0 ? {} : { given }),
    ...Object.fromEntries(
      Object.entries(by).map(([kernel, given]) => [kernel, typeof given === "string" ? given : given.text]),
    ),
  };
}

/**
 * What reports call the kernels that ran (`used`, as kernelName gives them): one whose text was replaced says so.
 * `merged`: merge.wgsl ran.
 */
export function sayKernels(used: readonly string[], merged: boolean, by: Replacements = {}): string {
  const note = (
    kernel: string,
  ) => (Object.hasOwn(by, kernel)
    ? ` · ${typeof by[kernel] === "string" ? "a text given in place of the shipped one" : by[kernel].name}`
    : "");
  const all = [...new Set(used)].map((name) => `${name}${note(name.split(":")[0])}`);
  const merges = merged
    ? ["merge", "merge-parts"].filter((kernel) => note(kernel) !== "").map((kernel) => `${kernel}${note(kernel)}`)
    : [];
  return [...all, ...merges].join(" + ");
}

/** Reads every kernel's text. */
export async function readShaders(read: (url: URL) => Promise<string>): Promise<Shaders> {
  const texts = await Promise.all(
    Object.entries(shaderUrls).map(async ([name, url]) => [name, await read(url)] as const),
  );
  return Object.fromEntries(texts) as Shaders;
}
