/** What a command is given besides its arguments, and how its files are read and written. */
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

/** Where a command prints, and what runs its ranks. */
export interface Io {
  readonly stdout: (text: string) => void;
  readonly stderr: (text: string) => void;
  /** Whether a person watches stderr, so that progress is worth showing. */
  readonly watched: boolean;
  readonly platform: Platform;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
}

/** A command: exit status 0 done, 1 a check or a run failed; it throws InputError for bad input (status 2). */
export type Command = (argv: readonly string[], io: Io) => Promise<number>;

/** Files above this are not read: a tensor of that size does not fit a typed array. */
const LARGEST_FILE = 2 ** 31 - 1;

/** A file's bytes. Errors name the option, the file, and what was found. */
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
 * Checks that outputs can be written, before anything is read: each option's folder exists, and none names another
 * output or an input, by whatever link.
 */
export async function checkOutputs(
  outputs: Readonly<Record<string, string | undefined>>,
  inputs: Readonly<Record<string, string | undefined>> = {},
): Promise<void> {
  // By place, and by device and inode: hard links have places of their own.
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
    // A device such as /dev/null too: moving a file to its place would replace it.
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
        `${option} ${path}: the folder ${dirname(place)} may not be written to, expected one that may`,
      );
    });
    await removeStale(dirname(place));
  }
}

/** Where a file is or would be, and which one it is if it exists. */
async function namesOf(path: string): Promise<string[]> {
  const found = await stat(path, { bigint: true }).catch(() => undefined);
  return [await placeOf(path), ...(found === undefined || found.ino === 0n ? [] : [`inode ${found.dev} ${found.ino}`])];
}

/**
 * Where a file is or would be, links followed: two names of one file have one place, and a link is not replaced by a
 * file.
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
 * Writes all files or none: each beside its place first, then moved into it; what stood there is put back if one cannot
 * be moved.
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
      // A link keeps the old file whole until all are in their places.
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
      }), so none was; expected room for them, and places that may be written to`,
    );
  } finally {
    await Promise.all(
      pending.flatMap(({ partial, kept }) => [rm(partial, { force: true }), rm(kept, { force: true })]),
    );
  }
}

/** A name beside a file's that says who is at work on it. */
function besideOf(path: string): string {
  return join(
    dirname(path),
    `.${basename(path)}.${hostname()}.${process.pid}.${randomBytes(6).toString("hex")}.partial`,
  );
}

/** Removes what commands on this machine that were killed left in a folder. */
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
