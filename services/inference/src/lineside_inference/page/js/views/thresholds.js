// Thresholds of a model: moved here, looked at in the preview, and only then applied.

import { changePolicy, seen, why } from "../service/models.js";
import { discard, draft, isMoved, move, recent } from "../state/draft.js";
import { line } from "../state/line.js";
import { endsAtOne, isByFindings, known, limitOf, modelOf, onModels } from "../state/models.js";
import { view } from "../state/view.js";
import { score } from "../words/format.js";
import { byId, choices, confirmed, disable, el, svg } from "./dom.js";
import { drawPreview } from "./preview.js";

/** @import { ModelDocument } from "../documents.js" */

/** @typedef {{ label: string, box: HTMLElement, rug: Element, end: number }} Row */

/** @type {Array<Row>} */
let rows = [];
let drawnFor = "";

/** Make the view work. */
export function startThresholds() {
  const select = byId("thresholds-model", HTMLSelectElement);
  select.addEventListener("change", () => {
    draft.model = select.value;
    draft.isChosen = true;
    begin();
  });
  byId("thresholds-discard").addEventListener("click", begin);
  byId("thresholds-form").addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  onModels(() => {
    const before = draft.model;
    chooseModel();
    const model = modelOf(draft.model);
    if (draft.model !== before) begin();
    else if (model && drawnFor !== stamp(model)) drawRows(model);
  });
}

/** Draw the preview and the rugs again, for instance when parts came. */
export function drawThresholds() {
  if (view.name !== "thresholds") return;
  const before = draft.model;
  if (!draft.isChosen) chooseModel();
  if (draft.model !== before) begin();
  else drawComparison();
}

/**
 * What the rows are drawn for.
 * @param {ModelDocument} model
 */
const stamp = (model) => `${model.name} ${JSON.stringify(model.thresholds)}`;

/** Choose the model that judges now, until one was chosen. */
function chooseModel() {
  const names = known.models
    .filter((model) => model.labels.length && model.heads.some((head) => head.head !== "raw"))
    .map((model) => model.name);
  const busy = line.parts.findLast((part) => names.includes(part.result?.model?.name ?? ""))?.result?.model?.name;
  if (!names.includes(draft.model) || !(draft.isChosen || isMoved())) draft.model = busy ?? names[0] ?? "";
  if (busy) draft.isChosen = true;
  choices(byId("thresholds-model", HTMLSelectElement), names, draft.model);
}

/** Begin with the thresholds in force. */
function begin() {
  discard();
  const model = modelOf(draft.model);
  if (model) drawRows(model);
}

/** @param {ModelDocument} model */
function drawRows(model) {
  // A moved threshold that is in force by now is no longer moved.
  for (const [label, value] of Object.entries(draft.thresholds)) move(label, value);
  drawnFor = stamp(model);
  const labels = model.labels.filter((label) => !isByFindings(model, label) || model.defects.includes(label));
  rows = labels.map((label) => row(model, label));
  byId("thresholds-rows").replaceChildren(...rows.map(({ box }) => box));
  const others = known.models.filter((it) => it !== model && it.labels.some((label) => labels.includes(label)));
  byId("thresholds-note").textContent = others.length
    ? `A label's threshold also holds for ${others.map(({ name }) => name).join(", ")}.`
    : "";
  drawComparison();
}

/**
 * The slider and the number of a label.
 * @param {ModelDocument} model
 * @param {string} label
 * @returns {Row}
 */
function row(model, label) {
  const value = draft.thresholds[label] ?? limitOf(model, label) ?? 0;
  const isShare = endsAtOne(model, label);
  const seenScores = recent().map((part) => part.result?.scores[label] ?? 0);
  const end = isShare ? 1 : Math.max(1, Math.ceil(Math.max(value * 2, ...seenScores)));
  const id = `threshold-${label}`;
  const range = { min: 0, max: end, step: end > 1 ? end / 1000 : 0.005 };
  const slider = el("input", { type: "range", ...range, value, id });
  const number = el("input", {
    type: "number",
    min: 0,
    max: isShare ? 1 : undefined,
    step: "any",
    value: tidy(value),
    aria: { label: `${label}, threshold as a number` },
  });
  const rug = svg("svg", { class: "rug", viewBox: "0 0 1000 18", preserveAspectRatio: "none", "aria-hidden": "true" });
  const kind = model.defects.includes(label) ? "a defect: fails at or above" : "sound: passes at or above";
  const name = el("label", { className: "name", htmlFor: id }, label, " ", el("span", { className: "kind" }, kind));
  const box = el("div", { className: "threshold" }, name, number, el("div", {}, slider, rug));
  const mark = () => box.classList.toggle("changed", label in draft.thresholds);
  /**
   * @param {number} given
   * @param {HTMLInputElement} other the one of the two inputs that follows
   */
  const moved = (given, other) => {
    if (!Number.isFinite(given) || given < 0 || (isShare && given > 1)) return;
    move(label, given);
    other.value = String(tidy(given));
    mark();
    byId("thresholds-said").textContent = "";
    drawComparison();
  };
  slider.addEventListener("input", () => moved(tidy(slider.valueAsNumber), number));
  number.addEventListener("input", () => moved(number.valueAsNumber, slider));
  mark();
  return { label, box, rug, end };
}

/** @param {number} value */
const tidy = (value) => Number(value.toPrecision(4));

/** Draw what depends on the parts and on what was moved. */
function drawComparison() {
  const model = modelOf(draft.model);
  if (!model) return;
  for (const it of rows) drawRug(it, model);
  drawPreview();
  const instead = byId("thresholds-model");
  disable(byId("thresholds-apply", HTMLButtonElement), !isMoved() || !known.policy, instead);
  disable(byId("thresholds-discard", HTMLButtonElement), !isMoved(), instead);
}

/**
 * A tick for each score of the last parts.
 * @param {Row} row
 * @param {ModelDocument} model
 */
function drawRug({ label, rug, end }, model) {
  const results = recent().flatMap((part) => part.result ?? []);
  const values = isByFindings(model, label)
    ? results.flatMap((result) => result.findings.filter((it) => it.label === label).map((it) => it.confidence))
    : results.flatMap((result) => result.scores[label] ?? []);
  rug.replaceChildren(
    ...values.map((value) => {
      const x = ((1000 * value) / end).toFixed(0);
      return svg("line", { x1: x, x2: x, y1: 2, y2: 16 });
    }),
  );
}

async function apply() {
  const before = seen();
  const model = modelOf(draft.model);
  if (!before || !model) return;
  const changes = { ...draft.thresholds };
  const lines = Object.entries(changes).map(
    ([label, value]) => `${label} ${score(limitOf(model, label) ?? 0)} → ${value}`,
  );
  const text = `From the next part on: ${lines.join("; ")}.`;
  if (!(await confirmed({ title: "Apply the thresholds?", text, yes: "Apply" }))) return;
  const said = byId("thresholds-said");
  try {
    await changePolicy(before, { thresholds: { ...before.policy.thresholds, ...changes } });
    begin();
    said.textContent = "Applied: it holds from the next part on.";
  } catch (error) {
    said.textContent = why(error);
  }
}
