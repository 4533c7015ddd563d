/** The address of a worker as typed, and the command that starts a worker for this page. */
import type { Failure } from "./failure.ts";

const isLocal = (hostname: string): boolean => /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(hostname);

/** Reads an address as somebody types it. Without a scheme it gets `ws://`. */
export function readAddress(
  text: string,
  page: { readonly protocol: string },
): { readonly address: string } | { readonly failure: Failure } {
  const bare = text.trim();
  const failure = (message: string, advice: string): { readonly failure: Failure } => ({
    failure: { title: "This is not the address of a worker", message, advice, field: "address" },
  });
  const whole = /^[a-z]+:\/\//i.test(bare) ? bare : `ws://${bare}`;
  const url = URL.canParse(whole) ? new URL(whole) : undefined;
  if (url === undefined || !["ws:", "wss:"].includes(url.protocol) || url.hostname === "") {
    return failure(
      `found ${bare === "" ? "nothing" : bare}, expected ws://HOST:PORT, or wss:// if the worker has a certificate`,
      "The worker prints its address when it starts.",
    );
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    return failure(
      "found more than a host and a port, expected ws://HOST:PORT",
      "A token does not belong in an address. It has its own field.",
    );
  }
  if (page.protocol === "https:" && url.protocol === "ws:" && !isLocal(url.hostname)) {
    return failure(
      `found ${url.protocol}//${url.host} on a page served over https, which browsers refuse`,
      "Start the worker with --cert and --key and use wss://, or forward its port to this machine by ssh.",
    );
  }
  return { address: `${url.protocol}//${url.host}` };
}

/** The command that starts a worker for this page. Pages of the worker's own machine need no permission. */
export function startCommand({ origin, hostname }: { readonly origin: string; readonly hostname: string }): string {
  return `python -m ringside_worker${isLocal(hostname) ? "" : ` --origin ${origin}`}`;
}
