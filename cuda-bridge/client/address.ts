/** Checks a worker's address and the options before anything is sent. */
import { refuseUnknown, validateLink } from "../../engine/cluster/index.ts";
import { InputError } from "../../engine/index.ts";
import type { RemoteOptions } from "./types.ts";

const EXAMPLE = "ws://127.0.0.1:8787";

/** The address to open and to name in errors. Errors: InputError, which repeats nothing that may be a secret. */
export function readAddress(text: string): string {
  if (typeof text !== "string") throw new InputError(`remote address: found no text, expected one such as ${EXAMPLE}`);
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
      }, expected ws: (or wss: if the worker has a certificate), ` +
        `such as ${EXAMPLE}`,
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw new InputError(
      `remote address: found a user, a query or a fragment behind ${url.protocol}//${url.host}, expected none: ` +
        "a token does not belong in an address",
    );
  }
  return `${url.protocol}//${url.host}${url.pathname === "/" ? "" : url.pathname}`;
}

const OPTIONS: Readonly<Record<keyof RemoteOptions, 1>> = {
  token: 1,
  ranks: 1,
  link: 1,
  connectSeconds: 1,
  idleSeconds: 1,
  retrySeconds: 1,
  onState: 1,
  signal: 1,
};

/** Checks the rest of the options. Errors: InputError, which never holds the token. */
export function checkOptions(options: RemoteOptions): void {
  // Somebody may pass the token in place of the options: don't repeat it.
  if (typeof options !== "object" || options === null) {
    throw new InputError(`remote: found no options, expected an object such as { token }`);
  }
  refuseUnknown("remote", options, Object.keys(OPTIONS));
  const { token, ranks, link, connectSeconds, idleSeconds, retrySeconds } = options;
  if (typeof token !== "string" || token === "") {
    throw new InputError("token: found none, expected the one that the worker printed when it started");
  }
  if (token.length > 256 || /[^\x21-\x7e]/.test(token)) {
    throw new InputError(
      "token: found a blank, a control character, a letter beyond ASCII, or more than 256 characters; " +
        "expected what the worker printed, and no more",
    );
  }
  if (ranks !== undefined && !(Number.isSafeInteger(ranks) && ranks >= 1)) {
    throw new InputError(`ranks: found ${ranks}, expected a whole number of at least 1`);
  }
  if (link !== undefined) validateLink(link);
  const times = [["connectSeconds", connectSeconds, 0.01], ["idleSeconds", idleSeconds, 0.1], [
    "retrySeconds",
    retrySeconds,
    0,
  ]] as const;
  for (const [name, value, least] of times) {
    if (value !== undefined && !(value >= least && Number.isFinite(value))) {
      throw new InputError(`${name}: found ${value}, expected at least ${least}`);
    }
  }
}
