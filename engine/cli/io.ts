/** A command's surroundings: where it prints, how it reads its files, and how it writes them, all or none. */
import { randomBytes } from "node:crypto";
import { fstatSync } from "node:fs";
import {
  access,
  constants,
  link,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import process from "node:process";
import { InputError } from "../errors.ts";
import type { Platform } from "../platform.ts";

/** Where a command prints, and the platform that runs its ranks. */
export interface Io {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Whether a person watches stderr, so that it makes sense to show progress. */
  readonly watched: boolean;
  readonly platform: Platform;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
}

/** A command. It resolves to exit status 0 (done) or 1 (a check failed), and throws InputError for bad input (2). */
export type Command = (argv: readonly string[], io: Io) => Promise<number>;

/** The largest file to read: a larger tensor does not fit a typed array. */
const LARGEST_FILE = 2 ** 31 - 1;

/** A file's bytes. Errors: InputError with the option, the file, and what was found. */
export async function readInput(option: string, path: string): Promise<Uint8Array> {
  let size: number;
  try {
    const found = await stat(path);
    if (!found.isFile()) {
      throw new InputError(`${option} ${path}: found no file but a folder or device, expected a file`);
    }
    size = found.size;
  } catch (error) {
    if (error instanceof InputError) throw error;
    throw new InputError(
      `${option} ${path}: cannot be read (${(error as { code?: string }).code ?? error}), expected a file`,
    );
  }
  if (size > LARGEST_FILE) {
    throw new InputError(`${option} ${path}: found ${size} bytes, expected at most ${LARGEST_FILE}`);
  }
  try {
    return await readFile(path);
  } catch (error) {
    throw new InputError(`${option} ${path}: cannot be read (${(error as { code?: string }).code ?? error})`);
  }
}

/**
 * Checks that outputs can be written, before anything is read. Each option's folder must exist, and no output may be
 * another output or an input, even through a link.
 */
export async function checkOutputs(
  outputs: Readonly<Record<string, string | undefined>>,
  inputs: Readonly<Record<string, string | undefined>> = {},
): Promise<void> {
  // We know files by place, and by device and inode: hard links of one file have different places.
  const taken = new Map<string, string>();
  for (const [fd, stream] of [[1, "standard output"], [2, "standard error"]] as const) {
    try {
      const { dev, ino } = fstatSync(fd, { bigint: true });
      if (ino !== 0n) taken.set(`inode ${dev} ${ino}`, stream);
    } catch {
      // It is closed.
    }
  }
  for (const [option, path] of Object.entries(inputs)) {
    if (path !== undefined) {
      for (const name of await namesOf(path).catch(() => [])) taken.set(name, option);
    }
  }
  for (const [option, path] of Object.entries(outputs)) {
    if (path === undefined) continue;
    if (path === "-") {
      throw new InputError(
        `${option} -: found no file, expected one: stdout carries the report. Write ./- for a file of that name`,
      );
    }
    if (path === "" || /[/\\]$/.test(path)) {
      throw new InputError(`${option} ${path}: found no file name at its end, expected one`);
    }
    const folder = await stat(dirname(path)).catch(() => undefined);
    if (!folder?.isDirectory()) {
      throw new InputError(`${option} ${path}: found no folder ${dirname(path)}, expected one that exists`);
    }
    const target = await stat(path).catch(() => undefined);
    // We also refuse a device such as /dev/null, because moving a file to its place would replace it.
    if (target !== undefined && !target.isFile()) {
      throw new InputError(
        `${option} ${path}: found a ${target.isDirectory() ? "folder" : "device"}, expected a file name`,
      );
    }
    const names = await namesOf(path);
    for (const name of names) {
      const other = taken.get(name);
      if (other !== undefined) {
        throw new InputError(`${option} ${path}: ${other} names the same file, expected different ones`);
      }
      taken.set(name, option);
    }
    const [place] = names;
    await access(dirname(place), constants.W_OK).catch(() => {
      throw new InputError(
        `${option} ${path}: the folder ${dirname(place)} is not writable, expected a writable one`,
      );
    });
    await removeStale(dirname(place));
  }
}

/** The place of a file, and its device and inode if it exists. */
async function namesOf(path: string): Promise<string[]> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return [await placeOf(path), ...(found === undefined || found.ino === 0n ? [] : [`inode ${found.dev} ${found.ino}`])];
}

/**
 * The place of a file, whether it exists or not. It follows links, so two names of one file have one place, and we
 * never replace a link by a file.
 */
async function placeOf(path: string, links = 40): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    const place = join(await realpath(dirname(path)), basename(path));
    const to = await readlink(place).catch(() => undefined);
    if (to === undefined) return place;
    if (links === 0) {
      throw new InputError(`${path}: found a link that leads to itself, expected one that leads to a file`);
    }
    return await placeOf(resolve(dirname(place), to), links - 1);
  }
}

/**
 * Writes all files or none. It writes each file beside its place and then moves it there. If a move fails, it puts the
 * old files back.
 */
export async function writeOutputs(
  files: readonly (readonly [path: string, data: Uint8Array | string])[],
): Promise<void> {
  const pending: { path: string; partial: string; kept: string; moved: boolean; old: boolean }[] = [];
  try {
    for (const [name, data] of files) {
      const path = await placeOf(name);
      const partial = besideOf(path);
      pending.push({ path, partial, kept: besideOf(path), moved: false, old: false });
      await writeFile(partial, data);
    }
    for (const file of pending) {
      const { path, partial, kept } = file;
      // A link keeps the old file until all new ones are in place.
      file.old = await link(path, kept).then(() => true, () => false);
      await rename(partial, path);
      file.moved = true;
    }
  } catch (error) {
    for (const { path, kept, moved, old } of pending) {
      if (old && moved) await rename(kept, path);
      else if (moved) await rm(path, { force: true });
    }
    const { code, message } = error as NodeJS.ErrnoException;
    throw new Error(
      `${files.map(([name]) => name).join(", ")}: cannot be written (${
        code ?? message
      }), so none was; expected room for them, and writable places`,
    );
  } finally {
    await Promise.all(
      pending.flatMap(({ partial, kept }) => [rm(partial, { force: true }), rm(kept, { force: true })]),
    );
  }
}

/** A name beside a file. It has the host and the process that write it. */
function besideOf(path: string): string {
  return join(
    dirname(path),
    `.${basename(path)}.${hostname()}.${process.pid}.${randomBytes(6).toString("hex")}.partial`,
  );
}

/** Removes files that killed commands of this machine left in a folder. */
async function removeStale(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const [, host, pid] = /^\..+?\.([^/]+)\.(\d+)\.[0-9a-f]{12}\.partial$/.exec(name) ?? [];
    if (host !== undefined && name.includes(`.${hostname()}.${pid}.`) && !lives(Number(pid))) {
      await rm(join(folder, name), { force: true });
    }
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}
