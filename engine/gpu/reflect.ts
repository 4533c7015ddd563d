/**
 * What a WGSL text declares, read from the text itself. A text that doesn't compile is read as far as possible, so that
 * an editor can show it.
 */

/** A resource that the host binds. */
export interface Binding {
  readonly group: number;
  readonly binding: number;
  readonly name: string;
  /**
   * Address space and access: "uniform", "storage, read", "storage, read_write"; "handle" for textures and samplers.
   */
  readonly kind: string;
  readonly type: string;
  /**
   * The comment on its line; without one, its shape from the header's "Shapes:"; without that, what another text says
   * of a binding of that name.
   */
  readonly what: string;
  /** From 1. */
  readonly line: number;
}

/** A constant, an override or an alias of the module. */
export interface Constant {
  readonly kind: "const" | "override" | "alias";
  readonly name: string;
  readonly value: string;
  /** Whether the host rewrites its line (see specialise.ts). */
  readonly specialised: boolean;
  readonly what: string;
  readonly line: number;
}

/** An array or value that a workgroup shares. */
export interface WorkgroupMemory {
  readonly name: string;
  readonly type: string;
  readonly what: string;
  readonly line: number;
}

/** A struct with its members in order. */
export interface Struct {
  readonly name: string;
  readonly members: readonly { readonly name: string; readonly type: string }[];
  readonly line: number;
}

/** A compute entry point; the sizes are expressions as written, x first. */
export interface EntryPoint {
  readonly name: string;
  readonly workgroupSize: readonly string[];
  readonly line: number;
}

/** Everything a text declares that its host needs to know. */
export interface Declarations {
  readonly enables: readonly string[];
  /** By group and binding. */
  readonly bindings: readonly Binding[];
  readonly constants: readonly Constant[];
  readonly memory: readonly WorkgroupMemory[];
  readonly structs: readonly Struct[];
  readonly entries: readonly EntryPoint[];
}

/** Attributes before a declaration, such as `@group(0) @binding(1)`; an argument may hold one pair of parentheses. */
const ATTRIBUTES = String.raw`((?:@\w+\s*(?:\((?:[^()]|\([^()]*\))*\)\s*)?)+)`;

/** Marks a line that the host rewrites. */
export const SPECIALISED = /\/\/\s*specialise(?::|\s*$)/;

/**
 * Reads a text. `like` describes bindings that this text has no comment or shape for: a kernel's header may refer to
 * another's.
 */
export function declarationsOf(text: string, like?: Declarations): Declarations {
  const bare = withoutComments(text);
  const lines = text.split("\n");
  const lineAt = (at: number) => text.slice(0, at).split("\n").length;
  /** The comment that ends the line on which a declaration ends. */
  const said = (end: number) => {
    const comment = /\/\/\s*(.*)$/.exec(lines[lineAt(end - 1) - 1])?.[1].trim() ?? "";
    return comment.replace(/^specialise(?:: |$)/, "");
  };
  const shapes = shapesOf(text);
  const found = (pattern: string) =>
    [...bare.matchAll(new RegExp(pattern, "g"))].map((match) => {
      const end = match.index + match[0].length;
      return { parts: match, start: lineAt(match.index), line: lineAt(end - 1), what: said(end) };
    });

  const bindings = found(`${ATTRIBUTES}var\\s*(?:<([^>]*)>)?\\s*(\\w+)\\s*:\\s*([^;=]+);`).flatMap(
    ({ parts: [, attributes, space = "handle", name, type], line, what }): Binding[] => {
      const [group, binding] = ["group", "binding"].map((attribute) =>
        Number(new RegExp(`@${attribute}\\s*\\(\\s*(\\d+)`).exec(attributes)?.[1] ?? NaN)
      );
      if (Number.isNaN(group) || Number.isNaN(binding)) return [];
      return [{
        group,
        binding,
        name,
        kind: spaced(space),
        type: spaced(type),
        what: what || (shapes.get(name) ?? like?.bindings.find((b) => b.name === name)?.what ?? ""),
        line,
      }];
    },
  );
  const constants = found(String.raw`(?<![\w.])(const|override|alias)\s+(\w+)\s*(?::\s*[^=;]+)?(?:=\s*([^;]+))?;`)
    .flatMap(({ parts: [, kind, name, value = ""], start, line, what }): Constant[] =>
      // Leaves out those within functions.
      /^\s/.test(lines[start - 1]) ? [] : [{
        kind: kind as Constant["kind"],
        name,
        value: spaced(value),
        specialised: SPECIALISED.test(lines[line - 1]),
        what,
        line,
      }]
    );
  const memory = found(String.raw`var\s*<\s*workgroup\s*>\s*(\w+)\s*:\s*([^;=]+);`).map((
    { parts: [, name, type], line, what },
  ) => ({ name, type: spaced(type), what, line }));
  const structs = [...bare.matchAll(/(?<!\w)struct\s+(\w+)\s*\{([^}]*)\}/g)].map((
    { 1: name, 2: body, index },
  ): Struct => ({
    name,
    line: lineAt(index),
    members: [...body.matchAll(/(\w+)\s*:\s*([^,]+?)\s*(?:,|$)/g)].map(([, member, type]) => ({
      name: member,
      type: spaced(type),
    })),
  }));
  const entries = found(`${ATTRIBUTES}fn\\s+(\\w+)`).flatMap(({ parts: [, attributes, name], line }): EntryPoint[] =>
    /@compute\b/.test(attributes) ? [{ name, workgroupSize: argumentsOf(attributes, "workgroup_size"), line }] : []
  );
  const enables = found(String.raw`(?<!\w)enable\s+([^;]+);`).flatMap(({ parts: [, names] }) =>
    names.split(",").map((name) => name.trim())
  );
  return {
    enables,
    bindings: bindings.sort((a, b) => a.group - b.group || a.binding - b.binding),
    constants,
    memory,
    structs,
    entries,
  };
}

/** The text with spaces in place of comments, so that every character keeps its place. */
export function withoutComments(text: string): string {
  let bare = "";
  for (let at = 0; at < text.length;) {
    const end = text.startsWith("//", at) ? endOfLine(text, at) : text.startsWith("/*", at) ? endOfBlock(text, at) : at;
    if (end === at) bare += text[at++];
    else {
      bare += text.slice(at, end).replace(/[^\n]/g, " ");
      at = end;
    }
  }
  return bare;
}

function endOfLine(text: string, at: number): number {
  const end = text.indexOf("\n", at);
  return end < 0 ? text.length : end;
}

/** The end of a block comment. They nest. */
function endOfBlock(text: string, at: number): number {
  let depth = 0;
  for (let i = at; i < text.length - 1; i++) {
    if (text.startsWith("/*", i)) depth++, i++;
    else if (text.startsWith("*/", i) && (i++, --depth === 0)) return i + 1;
  }
  return text.length;
}

/** Shapes by name, from the header's "Shapes: q [rows, H, D]; k, v [rows, Hkv, D]". */
function shapesOf(text: string): Map<string, string> {
  const header = /^(?:\s*\/\/.*\n)*/.exec(text)![0].replace(/^\s*\/\/ ?/gm, "");
  const part = /Shapes: ([\s\S]*?)(?:\n\s*\n|\n[A-Z]\w+:|$)/.exec(header)?.[1] ?? "";
  return new Map(
    [...part.matchAll(/(\w+(?:, \w+)*) (\[[^\]]*\])/g)].flatMap(([, names, shape]) =>
      names.split(", ").map((name) => [name, shape] as const)
    ),
  );
}

function argumentsOf(attributes: string, name: string): string[] {
  const list = new RegExp(`@${name}\\s*\\(((?:[^()]|\\([^()]*\\))*)\\)`).exec(attributes)?.[1] ?? "";
  return list.split(",").map((part) => part.trim()).filter((part) => part !== "");
}

const spaced = (text: string): string => text.trim().replace(/\s+/g, " ").replace(/\s*,\s*/g, ", ");
