/** The page's door to the bridge's client: its types now, its code once somebody connects or opens a file. */
import type { Complaint } from "../../cuda-bridge/client/schema.ts";

export type { Complaint };
export type { Facts, LayerInput, Limits, RemoteFace as Remote, SeededInput } from "../../cuda-bridge/client/types.ts";

/** Address of the GPU check that ships with the project. */
export const H200_CHECK = new URL("../../cuda-bridge/results/h200.json", import.meta.url).href;

/** Loads the client, a separate chunk. */
export const loadClient = () => import("../../cuda-bridge/client/browser.ts");

/** Loads the protocol's schema and its validator. */
export async function loadComplaint(): Promise<Complaint> {
  const { readSchema } = await import("../../cuda-bridge/client/schema.ts");
  return await readSchema(async (url) => {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: the page’s server answered ${answer.status}`);
    return await answer.text();
  });
}
