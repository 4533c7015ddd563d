/**
 * Hands a trace to the Perfetto UI in another window, by its handshake: "PING" until it answers "PONG", then the trace.
 * https://perfetto.dev/docs/visualization/deep-linking-to-perfetto-ui
 */

export const PERFETTO = "https://ui.perfetto.dev";
/** Milliseconds between two PINGs, and until the page gives up. A slow network has loaded the UI by then. */
const EVERY = 50;
export const PATIENCE = 20_000;

/** The outcome: handed over; no window opened; no answer came; the window closed before one came. */
export type Handover = "opened" | "blocked" | "silent" | "closed";

/** Opens the window at once, because only a click may, and sends the trace when it listens. */
export function openInPerfetto(trace: Promise<string>, title: string, fileName: string): Promise<Handover> {
  const there = open(PERFETTO);
  if (there === null) return Promise.resolve("blocked");
  return new Promise((resolve, reject) => {
    const begun = performance.now();
    const end = (settle: () => void) => {
      clearInterval(timer);
      removeEventListener("message", answered);
      settle();
    };
    const answered = ({ source, origin, data }: MessageEvent) => {
      if (source !== there || origin !== PERFETTO || data !== "PONG") return;
      end(() => {
        trace.then((text) => {
          const { buffer } = new TextEncoder().encode(text);
          there.postMessage({ perfetto: { buffer, title, fileName } }, PERFETTO, [buffer]);
          resolve("opened");
        }).catch(reject);
      });
    };
    addEventListener("message", answered);
    const timer = setInterval(() => {
      if (there.closed) end(() => resolve("closed"));
      else if (performance.now() - begun > PATIENCE) end(() => resolve("silent"));
      else there.postMessage("PING", PERFETTO);
    }, EVERY);
  });
}
