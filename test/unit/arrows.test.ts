/** Imports run along the arrows of CONTRIBUTING.md's picture and in no circle; each of its arrows is used. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import test from "node:test";
import { repository } from "../repository.ts";

const read = (file: string) => readFileSync(repository(file), "utf8");
const files = ["engine", "web", "cuda-bridge/client"].flatMap((folder) =>
  readdirSync(repository(folder), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"))
    .map((name) => `${folder}/${name.replaceAll("\\", "/")}`)
);
/** What each file imports of the others: values and types, static and dynamic. */
const imports = new Map(files.map((file) => {
  const found = read(file).matchAll(/\b(?:from|import)\s*\(?\s*["'](\.[^"'?]+)/g);
  const targets = [...found].map(([, name]) => path.posix.join(path.posix.dirname(file), name));
  return [file, new Set(targets.filter((name) => files.includes(name)))] as const;
}));

/** A line `room -> room, room` draws arrows; `room = file, file` gathers files. Short names lie in engine/. */
const [, picture] = /^```arrows\n([^]*?)^```/m.exec(read("CONTRIBUTING.md"))!;
const lines = picture.trim().split("\n").map((line) => /^(\S+) +(->|=) (.*)$/.exec(line)!.slice(1));
const drawn = new Set(
  lines.flatMap(([room, sign, others]) => sign === "=" ? [] : others.split(", ").map((other) => `${room} -> ${other}`)),
);
/** Rooms by the paths that their files begin with. */
const rooms = new Map<string, string>();
for (const room of [...drawn].flatMap((arrow) => arrow.split(" -> "))) rooms.set(room, room);
for (const [room, sign, parts] of lines) {
  if (sign === "=") {
    for (const part of parts.split(", ")) rooms.set(part, room);
  }
}

/** The room whose path is the longest that a file begins with. */
function roomOf(file: string): string {
  const short = file.replace(/^engine\/|\.ts$/g, "");
  const fits = [...rooms.keys()].filter((name) => short === name || short.startsWith(`${name}/`));
  assert.ok(fits.length > 0, `${file}: found in no room of CONTRIBUTING.md's picture, expected it in one`);
  return rooms.get(fits.reduce((a, b) => (b.length > a.length ? b : a)))!;
}

test("no import leads back to its own file", () => {
  const done = new Set<string>();
  const walk = (file: string, trail: readonly string[]): void => {
    assert.ok(!trail.includes(file), `found a circle: ${[...trail.slice(trail.indexOf(file)), file].join(" -> ")}`);
    if (!done.has(file)) { for (const next of imports.get(file)!) walk(next, [...trail, file]); }
    done.add(file);
  };
  for (const file of files) walk(file, []);
});

test("rooms import what the picture says, all of it and nothing else", () => {
  const unused = new Set(drawn);
  for (const [file, targets] of imports) {
    for (const target of targets) {
      const arrow = `${roomOf(file)} -> ${roomOf(target)}`;
      unused.delete(arrow);
      const known = drawn.has(arrow) || roomOf(file) === roomOf(target);
      assert.ok(known, `${file} imports ${target}: the picture has no arrow ${arrow}`);
    }
  }
  assert.deepEqual([...unused], [], "arrows of the picture that no import uses");
});
