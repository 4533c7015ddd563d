/** Where the kernels' WGSL texts are. Each platform brings its own reader: a file, or a fetch. */
import { InputError } from "../errors.ts";
import { didYouMean } from "../options.ts";

/** Names of the kernels. */
export type KernelFile =
  | "attend"
  | "attend-subgroup4"
  | "attend-subgroup4-rows8"
  | "attend-lanes"
  | "attend-shared"
  | "attend-matrix"
  | "decode"
  | "decode-subgroup4"
  | "decode-subgroups"
  | "merge"
  | "merge-parts"
  | "seeded";

/** Addresses of the texts, by kernel name. */
export const shaderUrls: Readonly<Record<KernelFile, URL>> = {
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

/** The WGSL text of every kernel, by name. */
export type KernelTexts = Readonly<Record<keyof typeof shaderUrls, string>>;

/** The same, with the names of the kernels whose text the caller gave in place of the shipped one. */
export type GivenTexts = KernelTexts & { readonly given?: readonly (keyof KernelTexts)[] };

/** A text in place of a shipped one, with the name that reports give it. */
export interface NamedText {
  /** What reports call it. */
  readonly name: string;
  /** WGSL. */
  readonly text: string;
}

/** Texts in place of shipped ones, by kernel name. */
export type Replacements = Readonly<Record<string, string | NamedText>>;

/** The shipped texts with those that replace them. Errors: InputError for a name that no kernel has. */
export function replaced(shipped: KernelTexts, by: Replacements = {}): GivenTexts {
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
  const given = Object.keys(by) as NonNullable<GivenTexts["given"]>;
  return {
    ...shipped,
    ...(given.length === 0 ? {} : { given }),
    ...Object.fromEntries(
      Object.entries(by).map(([kernel, given]) => [kernel, typeof given === "string" ? given : given.text]),
    ),
  };
}

/**
 * The line that reports show for the kernels that ran (`used`, as kernelName names them). It marks those whose text was
 * replaced. `merged`: merge.wgsl ran.
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
export async function readShaders(read: (url: URL) => Promise<string>): Promise<KernelTexts> {
  const texts = await Promise.all(
    Object.entries(shaderUrls).map(async ([name, url]) => [name, await read(url)] as const),
  );
  return Object.fromEntries(texts) as KernelTexts;
}
