// Thresholds of one model that were moved and are not applied yet.

import { line } from "./line.js";
import { limitOf, modelOf } from "./models.js";

const MAX_RECENT = 200;

export const draft = {
  /** The chosen model's name. */
  model: "",
  /** Whether it was chosen, by hand or because it judges; else the choice follows the line. */
  isChosen: false,
  /** The moved thresholds by label. @type {Record<string, number>} */
  thresholds: {},
};

/** Whether any threshold was moved. */
export const isMoved = () => Object.keys(draft.thresholds).length > 0;

/**
 * Move a threshold; one that is in force already counts as not moved.
 * @param {string} label
 * @param {number} value
 */
export function move(label, value) {
  if (value === limitOf(modelOf(draft.model), label)) delete draft.thresholds[label];
  else draft.thresholds[label] = value;
}

/** Forget what was moved. */
export function discard() {
  draft.thresholds = {};
}

/** The last judged parts of the chosen model, newest first. */
export const recent = () =>
  line.parts
    .filter((part) => part.result?.status === "ok" && part.result.model?.name === draft.model)
    .slice(-MAX_RECENT)
    .reverse();
