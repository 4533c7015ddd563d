/** What differs between a browser, Deno and Node for the client. */

/** One runtime. */
export interface ClientPlatform {
  readonly runtime: "browser" | "deno" | "node";
  /** The standard WebSocket, or one like it. */
  webSocket(): Promise<typeof WebSocket>;
  /** Reads a text that lies beside the code. */
  read(url: URL): Promise<string>;
}
