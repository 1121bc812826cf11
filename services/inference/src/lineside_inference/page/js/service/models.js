// Models and policy: read when the page opens, after every change, and now and then; changed; tried before that.

import { known, read } from "../state/models.js";
import { ask, get, Refusal, send } from "./http.js";

/** @import { Policy, PreviewDocument } from "../documents.js" */

/** @typedef {{ policy: Policy, etag: string | null }} Seen */

const MAX_PARTS = 200;

/** Read both again; what cannot be read stays as it was. */
export async function refresh() {
  const [models, policy] = await Promise.allSettled([get("/v1/models"), ask("/v1/policy")]);
  if (models.status === "fulfilled") known.models = models.value.models;
  if (policy.status === "fulfilled") {
    known.policy = policy.value.body;
    known.etag = policy.value.headers.get("etag");
  }
  read();
}

/**
 * The policy as it is shown now, to be changed later: somebody may be asked in between. Null where it is not known yet.
 * @returns {Seen | null}
 */
export const seen = () => known.policy && { policy: structuredClone(known.policy), etag: known.etag };

/**
 * Put the policy that was seen into force with some fields changed; raises Refusal, also where it is another one by now.
 * @param {Seen} seen
 * @param {Partial<Policy>} changes
 */
export async function changePolicy({ policy, etag }, changes) {
  try {
    await send("PUT", "/v1/policy", { ...policy, ...changes }, etag ? { "If-Match": etag } : {});
  } finally {
    await refresh();
  }
}

/**
 * What the last parts of a model would have been judged by a policy; raises Refusal where it is wrong.
 * @param {Policy} policy
 * @param {string} model
 * @returns {Promise<PreviewDocument>}
 */
export const preview = (policy, model) =>
  send("POST", `/v1/policy/preview?model=${encodeURIComponent(model)}&limit=${MAX_PARTS}`, policy);

/**
 * Put a version of a model into force; answered when that is done. Raises Refusal where it failed.
 * @param {string} model
 * @param {string} version
 */
export async function loadVersion(model, version) {
  const path = `/v1/models/${encodeURIComponent(model)}/versions/${encodeURIComponent(version)}/load`;
  await ask(path, { method: "POST" });
}

/**
 * Why a change was refused, for people.
 * @param {unknown} error
 */
export function why(error) {
  if (!(error instanceof Refusal))
    return `The service could not be asked: ${error instanceof Error ? error.message : error}`;
  if (error.status === 412) return "Somebody else changed the policy meanwhile. This is the new one: look again.";
  return error.errors.join(" ") || error.message;
}
