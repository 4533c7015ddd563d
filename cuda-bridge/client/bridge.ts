/** The client's functions on one platform. */
import { startRemote } from "./cluster.ts";
import type { ClientPlatform } from "./platform.ts";
import { connect } from "./remote.ts";
import type { Bridge } from "./types.ts";
import { verifyRows } from "./verify.ts";

/** `connect`, `verifyRows` and `startRemote` there. */
export function bridgeOn(platform: ClientPlatform): Bridge {
  return {
    connect: (options) => connect(platform, options),
    verifyRows: (input) => verifyRows(platform, input),
    startRemote: (options) => startRemote(platform, options),
  };
}
