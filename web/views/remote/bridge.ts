/** The page's one door to the bridge's client: its types now, its code when somebody connects or opens a file. */
import type { Complaint } from "./record.ts";

export type { Facts, Limits, Remote } from "../../../cuda-bridge/client/types.ts";

/** Loads the client: a chunk of its own. */
export const loadClient = () => import("../../../cuda-bridge/client/browser.ts");

/** Loads the protocol's schema, and what checks by it. */
export async function loadComplaint(): Promise<Complaint> {
  const { readSchema } = await import("../../../cuda-bridge/client/schema.ts");
  return await readSchema(async (url) => {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: the page’s server answered ${answer.status}`);
    return await answer.text();
  });
}
