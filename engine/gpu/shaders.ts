/** Where the WGSL texts lie. Reading them differs by platform (a file, or a fetch), so each platform brings its own reader. */

/** The kernels by name. */
export const shaderUrls = {
  attend: new URL("../../shaders/attend.wgsl", import.meta.url),
  "attend-subgroup4": new URL("../../shaders/attend-subgroup4.wgsl", import.meta.url),
  decode: new URL("../../shaders/decode.wgsl", import.meta.url),
  merge: new URL("../../shaders/merge.wgsl", import.meta.url),
  seeded: new URL("../../shaders/seeded.wgsl", import.meta.url),
};

/** WGSL texts by kernel name. */
export type Shaders = Readonly<Record<keyof typeof shaderUrls, string>>;

/** Reads every kernel's text. */
export async function readShaders(read: (url: URL) => Promise<string>): Promise<Shaders> {
  const texts = await Promise.all(Object.entries(shaderUrls).map(async ([name, url]) => [name, await read(url)] as const));
  return Object.fromEntries(texts) as Shaders;
}
