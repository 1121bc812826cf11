// How the whole line stands: read from the service itself and from what the bridges told it.

import { chain, steeringOf } from "../state/chain.js";
import { linksBefore, linksOfInference } from "../words/links.js";
import { call, get } from "./http.js";

/** Read it all; where the service does not answer, what was read stays, and false is returned. */
export async function readChain() {
  try {
    // Asked first: /readyz is open to everybody, and says nothing of the connections to whoever sends no token.
    const engine = await get("/v1/engine");
    // 503 has the same body: it says what is missing.
    const health = await (await call("/readyz")).json();
    const before = await get("/v1/chain");
    chain.links = [...linksBefore(before), ...linksOfInference(health.connections ?? [])];
    chain.steering = steeringOf(before);
    chain.engine = engine;
    chain.isReady = health.ready;
    chain.isDraining = health.state === "draining";
  } catch {
    return false;
  }
  return true;
}
