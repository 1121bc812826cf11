// How the last parts would have been judged with the moved thresholds: the service says it.

import { preview, why } from "../service/models.js";
import { draft, isMoved, recent } from "../state/draft.js";
import { find } from "../state/line.js";
import { known } from "../state/models.js";
import { WORDS } from "../words/format.js";
import { byId, el, shape } from "./dom.js";
import { tile } from "./tile.js";

/** @import { ChangedDocument, PreviewDocument } from "../documents.js" */

const VERDICTS = /** @type {const} */ (["pass", "fail", "unknown"]);
const COLUMNS = ["Verdict", "As set now", "As moved", "Change"];
const MAX_TILES = 40;
const CLOSE = "Close, not exact: this model's regions are found anew with every threshold.";

let asked = "";
let isAsking = false;

/** Ask for the comparison and draw it, unless it is drawn already; one question at a time, the last one counts. */
export async function drawPreview() {
  if (isAsking) return;
  isAsking = true;
  try {
    while (asked !== question()) {
      asked = question();
      await drawAnswer();
    }
  } finally {
    isAsking = false;
  }
}

/** What the comparison is of. */
const question = () => JSON.stringify([draft.model, draft.thresholds, known.etag, recent()[0]?.number]);

async function drawAnswer() {
  if (!known.policy) return;
  const thresholds = { ...known.policy.thresholds, ...draft.thresholds };
  const model = draft.model;
  try {
    const answer = await preview({ ...known.policy, thresholds }, model);
    if (model === draft.model) draw(answer);
  } catch (error) {
    byId("preview").replaceChildren(el("p", {}, why(error)));
    byId("preview-changed").replaceChildren();
  }
}

/** @param {PreviewDocument} answer */
function draw(answer) {
  const { parts, exact, before, after, changed } = answer;
  if (!parts) {
    const none = "The version in force has judged no part since the service started.";
    byId("preview").replaceChildren(el("p", { className: "muted" }, none));
    byId("preview-changed").replaceChildren();
    return;
  }
  const head = COLUMNS.map((word, at) => el("th", { scope: "col", className: at ? "number" : "" }, word));
  byId("preview").replaceChildren(
    el("p", {}, summary(parts, changed.length)),
    exact ? "" : el("p", { className: "muted" }, CLOSE),
    el(
      "table",
      { className: "preview" },
      el("thead", {}, el("tr", {}, ...head)),
      el("tbody", {}, ...VERDICTS.map((verdict) => row(verdict, before[verdict], after[verdict]))),
    ),
  );
  byId("preview-changed").replaceChildren(...changed.flatMap(item).slice(0, MAX_TILES));
}

/**
 * @param {number} parts
 * @param {number} changed
 */
function summary(parts, changed) {
  if (!isMoved()) return `The last ${parts} parts of this model. Move a threshold to compare.`;
  if (!changed) return `None of the last ${parts} parts would have been judged otherwise.`;
  return `${changed} of the last ${parts} parts would have been judged otherwise.`;
}

/**
 * @param {typeof VERDICTS[number]} verdict
 * @param {number} was
 * @param {number} would
 */
function row(verdict, was, would) {
  const by = would - was;
  const name = el("span", { className: "verdict-name", data: { verdict } }, shape(verdict), WORDS[verdict]);
  const numbers = [String(was), String(would), by ? `${by > 0 ? "+" : "−"}${Math.abs(by)}` : "0"];
  const cells = numbers.map((text) => el("td", { className: "number" }, text));
  return el("tr", { data: { kind: verdict } }, el("th", { scope: "row" }, name), ...cells);
}

/**
 * The tile of a part that would have been judged otherwise; none where the page does not know the part.
 * @param {ChangedDocument} changed
 */
function item({ id, before, after, reason }) {
  const part = find(id);
  if (!part) return [];
  const button = tile(part, `${WORDS[before]} → ${WORDS[after]}`);
  button.title = `${button.title} With the moved thresholds: ${reason}`;
  return [el("li", {}, button)];
}
