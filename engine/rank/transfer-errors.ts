/** Lets Ringside's own errors cross Comlink with their class and fields. Both sides import it. */
import * as Comlink from "comlink";
import { InputError, LimitError, NoAdapterError, RankError } from "../errors.ts";

interface Thrown {
  readonly value: unknown;
}

const KINDS: Readonly<Record<string, { readonly prototype: Error }>> = {
  InputError,
  LimitError,
  RankError,
  NoAdapterError,
};

const plain = Comlink.transferHandlers.get("throw") as Comlink.TransferHandler<Thrown, unknown>;

Comlink.transferHandlers.set("throw", {
  canHandle: plain.canHandle,
  serialize({ value }: Thrown): [unknown, Transferable[]] {
    if (!(value instanceof Error)) return [{ value }, []];
    const { name, message, stack } = value;
    return [{ ...value, isError: true, name, message, stack }, []];
  },
  /** Rebuilds the error with its class and fields, and throws it. */
  deserialize(sent: { isError?: boolean; name: string; message: string; stack?: string } & Thrown): never {
    if (!sent.isError) throw sent.value;
    if (sent.name === "AbortError") throw new DOMException(sent.message, "AbortError");
    const { isError: _, ...fields } = sent;
    throw Object.setPrototypeOf(Object.assign(new Error(sent.message), fields), (KINDS[sent.name] ?? Error).prototype);
  },
} as Comlink.TransferHandler<Thrown, unknown>);
