/** The script of `ringside session`: its sequences, and the rows that each step appends to them. */
import type { Backend, Variant } from "../cluster/types.ts";
import { InputError } from "../errors.ts";
import type { Fault } from "../rank/job.ts";
import { requireFault } from "./fault.ts";

/** A checked script. */
export interface Script {
  /** Rows of each sequence. */
  readonly rows: readonly number[];
  /** Rows that each step appends, by sequence. */
  readonly steps: readonly ReadonlyMap<number, number>[];
}

/** Reads and checks a script. Errors: InputError with the file, the step, what was found and what was expected. */
export function readScript(text: string, name: string): Script {
  const bad = (what: string): never => {
    throw new InputError(`${name}: ${what}`);
  };
  let json: { sequences?: unknown; steps?: unknown };
  try {
    json = JSON.parse(text);
  } catch (error) {
    return bad(`found no JSON (${(error as Error).message}), expected {"sequences": [...], "steps": [...]}`);
  }
  const twice = doubledKey(text);
  if (twice !== undefined) {
    return bad(
      `line ${twice.line}, column ${twice.column}: found the key ${twice.key} twice in one object, expected it once`,
    );
  }
  if (!Array.isArray(json?.sequences) || json.sequences.length === 0) {
    return bad('found no "sequences", expected a list such as [{"rows": 200}]');
  }
  if (!Array.isArray(json.steps) || json.steps.length === 0) {
    return bad('found no "steps", expected a list such as [{"0": 128}, {"0": 1}]');
  }
  const rows = json.sequences.map((sequence: { rows?: unknown } | null, i): number => {
    const found = sequence?.rows;
    return Number.isSafeInteger(found) && (found as number) >= 0
      ? found as number
      : bad(`sequence ${i}: found ${JSON.stringify(sequence)}, expected {"rows": a whole number}`);
  });
  const left = [...rows];
  const steps = json.steps.map((step: unknown, number) => {
    if (typeof step !== "object" || step === null || Array.isArray(step) || Object.keys(step).length === 0) {
      return bad(`step ${number}: found ${JSON.stringify(step)}, expected {"sequence": rows} with at least one`);
    }
    return new Map(
      Object.entries(step).map(([key, n]): [number, number] => {
        // "00" would be sequence 0 again.
        const sequence = /^(0|[1-9]\d*)$/.test(key) ? Number(key) : NaN;
        if (!(sequence < rows.length)) {
          return bad(`step ${number}: found sequence ${JSON.stringify(key)}, expected 0 to ${rows.length - 1}`);
        }
        if (!Number.isSafeInteger(n) || (n as number) < 1) {
          return bad(
            `step ${number}, sequence ${key}: found ${JSON.stringify(n)} rows, expected a whole number of at least 1`,
          );
        }
        if ((n as number) > left[sequence]) {
          return bad(
            `step ${number}, sequence ${key}: found ${n} rows, expected at most the ${
              left[sequence]
            } that are left of ${rows[sequence]}`,
          );
        }
        left[sequence] -= n as number;
        return [sequence, n as number];
      }),
    );
  });
  return { rows, steps };
}

/** Whether a step is a decode: each of its sequences gets one row and has rows already. */
export function isDecode(step: ReadonlyMap<number, number>, held: readonly number[]): boolean {
  return [...step].every(([sequence, n]) => n === 1 && held[sequence] > 0);
}

/** Rows of each sequence that the first `steps` steps consume; all steps if not given. */
export function consumedRows(script: Script, steps = script.steps.length): number[] {
  return script.rows.map((_, i) => script.steps.slice(0, steps).reduce((sum, step) => sum + (step.get(i) ?? 0), 0));
}

/** Refuses a fault that cannot strike: the session would pass although a step should fail. Errors: InputError. */
export function requireSessionFault(
  fault: Fault,
  script: Script,
  ranks: number,
  variant: Variant | "auto",
  backend: Backend,
): void {
  const number = fault.step!;
  const { steps } = script;
  if (number >= steps.length) {
    throw new InputError(`--fault step: found ${number}, expected a step of the script, 0 to ${steps.length - 1}`);
  }
  const decode = isDecode(steps[number], consumedRows(script, number));
  requireFault(fault, ranks, decode ? "pass-q" : variant, backend);
}

/**
 * The first key that an object of a valid JSON text has twice, and its position. JSON.parse would keep the last one.
 */
function doubledKey(text: string): { key: string; line: number; column: number } | undefined {
  // The keys of each open object; a list has none.
  const open: Set<string>[] = [];
  for (const { 0: token, 1: string, 2: colon, index } of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[{}[\]]/g)) {
    if (token === "{" || token === "[") open.push(new Set());
    else if (token === "}" || token === "]") open.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(string) as string;
      const keys = open.at(-1)!;
      if (keys.has(key)) {
        const before = text.slice(0, index).split("\n");
        return { key: JSON.stringify(key), line: before.length, column: before.at(-1)!.length + 1 };
      }
      keys.add(key);
    }
  }
  return undefined;
}
