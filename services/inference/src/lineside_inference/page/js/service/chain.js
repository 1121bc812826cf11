// How the whole line stands: read from the service itself and from what the bridges told it.

import { chain } from "../state/chain.js";
import { linksBefore, linksOfInference } from "../words/links.js";
import { call, get } from "./http.js";

/** Read it all; where the service does not answer, what was read stays, and false is returned. */
export async function readChain() {
  try {
    // Asked first: /readyz is open to everybody, and says nothing of the connections to whoever sends no token.
    const engine = await get("/v1/engine");
    // 503 has the same body: it says what is missing.
    const health = await (await call("/readyz")).json();
    chain.links = [...linksBefore(await get("/v1/chain")), ...linksOfInference(health.connections ?? [])];
    chain.engine = engine;
    chain.isReady = health.ready;
    chain.isDraining = health.state === "draining";
  } catch {
    return false;
  }
  return true;
}
