/** Reads the messages' schema, and validates messages by it. */
import { dereference, type Schema, validate } from "@cfworker/json-schema";

const url = new URL("../protocol/messages.schema.json", import.meta.url);

/** The side that sends a message. */
export type Side = "clientMessage" | "serverMessage";

/** Says why the schema doesn't allow a message; undefined if it does. */
export type Complaint = (side: Side, message: unknown) => string | undefined;

/** Reads the schema with a platform's reader. */
export async function readSchema(read: (url: URL) => Promise<string>): Promise<Complaint> {
  const root = JSON.parse(await read(url)) as Schema & { readonly $defs: Record<string, Schema> };
  const lookup = dereference(root);
  const named = { clientMessage: new Map<string, Schema>(), serverMessage: new Map<string, Schema>() };
  for (const side of ["clientMessage", "serverMessage"] as const) {
    for (const { $ref } of root.$defs[side].oneOf!) {
      const name = $ref!.replace("#/$defs/", "");
      named[side].set(name, root.$defs[name]);
    }
  }
  // A message's type, and a call's method, name its schema: so a complaint is about that one, not about all others.
  return (side, message) => {
    const { type, method } = (message ?? {}) as { type?: unknown; method?: unknown };
    const of = typeof type === "string" ? named[side].get(type) : undefined;
    if (of === undefined) return `type: found ${show(type)}, expected ${[...named[side].keys()].join(", ")}`;
    const methods = of.oneOf?.map((call) => (call.properties!.method as Schema).const as string);
    const schema = methods === undefined ? of : of.oneOf![methods.indexOf(method as string)];
    if (schema === undefined) return `${type}/method: found ${show(method)}, expected ${methods!.join(", ")}`;
    const { valid, errors } = validate(message, schema, "2020-12", lookup);
    if (valid) return undefined;
    const { instanceLocation, error } = errors.at(-1)!;
    return `${type}${instanceLocation.slice(1)}: ${error}`;
  };
}

function show(value: unknown): string {
  return (JSON.stringify(value) ?? "nothing").slice(0, 60);
}
