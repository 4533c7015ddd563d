/** A worker's address and token, checked before anything is sent. */
import { InputError } from "../../engine/errors.ts";
import type { RemoteOptions } from "./types.ts";

const EXAMPLE = "ws://127.0.0.1:8787";

/** The address to open and to name in errors. Never repeats what may be a secret. Errors: InputError. */
export function readAddress(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new InputError(
      `remote address: found ${JSON.stringify(text.slice(0, 100))}, expected one such as ${EXAMPLE}`,
    );
  }
  if (url.protocol !== "ws:" && url.protocol !== "wss:") {
    throw new InputError(
      `remote address: found ${
        JSON.stringify(url.protocol)
      }, expected ws: (or wss:, where the worker has a certificate), such as ${EXAMPLE}`,
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new InputError(
      `remote address: found a user, a query or a fragment behind ${url.protocol}//${url.host}, expected none: a token does not belong in an address`,
    );
  }
  return `${url.protocol}//${url.host}${url.pathname === "/" ? "" : url.pathname}`;
}

/** Checks the rest of the options. Errors: InputError, which never holds the token. */
export function checkOptions({ token, connectSeconds, idleSeconds, retrySeconds }: RemoteOptions): void {
  if (typeof token !== "string" || token === "") {
    throw new InputError("token: found none, expected the one that the worker printed when it started");
  }
  if (token.length > 256 || /[^\x21-\x7e]/.test(token)) {
    throw new InputError(
      "token: found a blank, a control character, a letter beyond ASCII, or more than 256 characters; expected what the worker printed, and no more",
    );
  }
  for (
    const [name, value, least] of [["connectSeconds", connectSeconds, 0.01], ["idleSeconds", idleSeconds, 0.1], [
      "retrySeconds",
      retrySeconds,
      0,
    ]] as const
  ) {
    if (value !== undefined && !(value >= least && Number.isFinite(value))) {
      throw new InputError(`${name}: found ${value}, expected at least ${least}`);
    }
  }
}
