// What the service knows of models and policy, read when the page opens, after every change, and now and then.

import { ask, get } from "./api.js";

const listeners = new Set();

export const known = { models: [], policy: null, etag: null };

/** Call after every reading. */
export const onKnown = (listener) => listeners.add(listener);

/** The model of a name, or undefined. */
export const modelOf = (name) => known.models.find((model) => model.name === name);

/** Read both again; what cannot be read stays as it was. */
export async function refresh() {
  const [models, policy] = await Promise.allSettled([get("/v1/models"), ask("/v1/policy")]);
  if (models.status === "fulfilled") known.models = models.value.models;
  if (policy.status === "fulfilled") {
    known.policy = policy.value.body;
    known.etag = policy.value.headers.get("etag");
  }
  for (const listener of listeners) listener();
}

/** The policy as it is shown now, to be changed later: somebody may be asked in between. */
export const seen = () => ({ policy: structuredClone(known.policy), etag: known.etag });

/** Change the policy that was seen with `change(policy)`; raises Refusal, also where it is another one by now. */
export async function changePolicy({ policy, etag }, change) {
  const body = JSON.stringify(change(policy));
  const headers = { "Content-Type": "application/json", ...(etag ? { "If-Match": etag } : {}) };
  try {
    await ask("/v1/policy", { method: "PUT", headers, body });
  } finally {
    await refresh();
  }
}

/** Why a change was refused, for people. */
export function why(error) {
  if (error.status === 412) return "Somebody else changed the policy meanwhile. This is the new one: look again.";
  return error.errors?.length ? error.errors.map((it) => it.detail ?? it.message ?? String(it)).join(" ") : error.message;
}
