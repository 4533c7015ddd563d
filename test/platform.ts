/** The platform that a test runs on. */
import type { Platform } from "../engine/platform.ts";

/** Node's or Deno's. */
export async function testPlatform(): Promise<Platform> {
  return "Deno" in globalThis
    ? (await import("../engine/deno.ts")).platform
    : (await import("../engine/node.ts")).platform;
}
