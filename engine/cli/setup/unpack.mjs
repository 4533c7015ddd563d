// Unpacks SwiftShader and Chromium from the npm package @sparticuz/chromium, once, into a cache folder.
//
// That package holds brotli archives for cloud functions. Its own unpacker writes to fixed names in the temp folder,
// where two users or two versions collide. Here the folder's name has the version. We fill it under another name and
// then rename it, so it is never half-made, even if two processes unpack at once.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  accessSync,
  chmodSync,
  constants,
  createReadStream,
  createWriteStream,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import os from "node:os";
import path from "node:path";
import process from "node:process";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";
import { isClone, root, SetupError } from "./common.mjs";

/** The npm package, or undefined if it is not installed (it is a development dependency). */
export function sparticuz() {
  for (let folder = root;; folder = path.dirname(folder)) {
    const home = path.join(folder, "node_modules", "@sparticuz", "chromium");
    if (existsSync(path.join(home, "bin"))) {
      return {
        bin: path.join(home, "bin"),
        version: JSON.parse(readFileSync(path.join(home, "package.json"), "utf8")).version,
      };
    }
    if (folder === path.dirname(folder)) return undefined;
  }
}

/** Folders that may hold the cache, the preferred one first. */
function cacheRoots() {
  const home = process.env.XDG_CACHE_HOME || (os.homedir() && path.join(os.homedir(), ".cache"));
  return [
    // npm would remove what an installed package writes into its own folder.
    ...(isClone ? [path.join(root, "node_modules", ".cache", "ringside")] : []),
    ...(home ? [path.join(home, "ringside")] : []),
    path.join(os.tmpdir(), `ringside-${process.getuid?.() ?? os.userInfo().username}`),
  ];
}

/** Makes the folder if needed; true if we may write to it. In the shared temp folder, it must also belong to us. */
function writable(folder) {
  try {
    const shared = folder.startsWith(os.tmpdir() + path.sep) && !folder.startsWith(root + path.sep);
    mkdirSync(folder, { recursive: true, ...(shared ? { mode: 0o700 } : {}) });
    accessSync(folder, constants.W_OK | constants.X_OK);
    const stat = lstatSync(folder);
    return stat.isDirectory() && (!shared || stat.uid === process.getuid?.());
  } catch {
    return false;
  }
}

/** Removes folders that killed processes left behind. After an hour, nobody is still unpacking. */
function sweep(cache) {
  for (const name of readdirSync(cache).filter((name) => name.startsWith("tmp-"))) {
    const folder = path.join(cache, name);
    try {
      if (Date.now() - statSync(folder).mtimeMs > 3_600_000) rmSync(folder, { recursive: true, force: true });
    } catch {
      // Another process swept it.
    }
  }
}

/**
 * The cached folder `name`. If it is missing, `make(folder)` makes it.
 * @param {string} name the content and its version
 * @param {(folder: string) => void | Promise<void>} make fills an empty folder
 * @returns {Promise<string>} its path
 */
export async function cached(name, make) {
  const roots = cacheRoots();
  for (const cache of roots) {
    if (existsSync(path.join(cache, name)) && (cache.startsWith(root + path.sep) || writable(cache))) {
      return path.join(cache, name);
    }
  }
  const cache = roots.find(writable);
  if (!cache) throw new SetupError(`no cache folder is writable; tried ${roots.join(", ")}`);
  sweep(cache);
  const folder = path.join(cache, name);
  const made = mkdtempSync(path.join(cache, "tmp-"));
  try {
    await make(made);
    chmodSync(made, 0o755);
    renameSync(made, folder);
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    // If another process was first, its folder is there: a rename cannot replace a folder that has files.
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

const brotli = (from, to) => pipeline(createReadStream(from), createBrotliDecompress(), to);

async function untar(archive, folder) {
  // As root, tar would otherwise keep the user ids of whoever made the archive.
  const tar = spawn("tar", ["-x", "-f", "-", "--no-same-owner", "-C", folder], { stdio: ["pipe", "ignore", "pipe"] });
  let said = "";
  tar.stderr.setEncoding("utf8").on("data", (text) => said += text);
  const ended = new Promise((resolve, reject) => {
    tar.on(
      "error",
      (error) => reject(new SetupError(`tar could not be started (${error.message}); install the package tar`)),
    );
    tar.on(
      "close",
      (code) => code === 0 ? resolve() : reject(new SetupError(`tar failed on ${archive}: ${said.trim()}`)),
    );
  });
  await Promise.all([ended, brotli(archive, tar.stdin).catch(() => ended)]);
}

/** SwiftShader (18 MB): the Vulkan loader `libvulkan.so.1`, `libvk_swiftshader.so` and `vk_swiftshader_icd.json`. */
export function unpackSwiftShader({ bin, version }) {
  return cached(`swiftshader-${version}`, (folder) => untar(path.join(bin, "swiftshader.tar.br"), folder));
}

/** Chromium (220 MB) with SwiftShader beside it, the libraries it needs in lib/, and a font in fonts/. */
export function unpackChromium({ bin, version }) {
  return cached(`chromium-${version}`, async (folder) => {
    const program = path.join(folder, "chromium");
    await brotli(path.join(bin, "chromium.br"), createWriteStream(program));
    chmodSync(program, 0o755);
    for (const archive of ["swiftshader.tar.br", "al2023.tar.br", "fonts.tar.br"]) {
      await untar(path.join(bin, archive), folder);
    }
    // The archive's own fonts.conf names folders of a cloud function.
    writeFileSync(
      path.join(folder, "fonts.conf"),
      `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
`,
    );
  });
}

/**
 * A Vulkan loader for a Chrome that ships SwiftShader without one: a folder in which `libvulkan.so.1` links to that
 * SwiftShader, which exports the loader's entry points.
 * @param {string} library the path of libvk_swiftshader.so
 */
export function linkAsLoader(library) {
  return cached(
    `loader-${createHash("sha256").update(library).digest("hex").slice(0, 16)}`,
    (folder) => symlinkSync(library, path.join(folder, "libvulkan.so.1")),
  );
}
