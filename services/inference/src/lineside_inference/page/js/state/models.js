// The models and the policy in force, as they were read last.

/** @import { ModelDocument, Policy } from "../documents.js" */

/** @type {Set<() => void>} */
const listeners = new Set();

export const known = {
  /** @type {Array<ModelDocument>} */
  models: [],
  /** @type {Policy | null} */
  policy: null,
  /** @type {string | null} */
  etag: null,
};

/**
 * Call after every reading.
 * @param {() => void} listener
 */
export function onModels(listener) {
  listeners.add(listener);
}

/** Tell that they were read. */
export function read() {
  for (const listener of listeners) listener();
}

/**
 * The model of a name.
 * @param {string | null | undefined} name
 */
export const modelOf = (name) => known.models.find((model) => model.name === name);

/**
 * The threshold of a label in force; undefined where it is not known.
 * @param {ModelDocument | undefined} model
 * @param {string} label
 */
export const limitOf = (model, label) => model?.thresholds[label] ?? model?.thresholds.default;

/**
 * Whether a label's verdict comes from things found on the part, not from a score of the whole part.
 * @param {ModelDocument} model
 * @param {string} label
 */
export const isByFindings = (model, label) =>
  model.heads.some((head) => ["detection", "segmentation"].includes(head.head) && head.labels.includes(label));

/**
 * Whether no score of a label is above 1; the service refuses a higher threshold, which would never be reached.
 * @param {ModelDocument} model
 * @param {string} label
 */
export const endsAtOne = (model, label) => model.heads.some((head) => head.ends_at_one && head.labels.includes(label));
