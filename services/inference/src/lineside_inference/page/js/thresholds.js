// Thresholds of a model: moved here, looked at in the preview, and only then applied.

import { byId, confirmed, disable, el, svg } from "./dom.js";
import { score } from "./format.js";
import { changePolicy, known, modelOf, onKnown, seen, why } from "./known.js";
import { drawPreview } from "./preview.js";
import { endsAtOne, isByFindings, limitOf } from "./rule.js";
import { store } from "./store.js";

const RECENT = 200;

let draft = {};
let rows = new Map();
let drawnFor = "";
let isChosen = false; // by hand: else it is the model that judges now

/** The judged parts of the chosen model of late, newest first. */
export const recent = () =>
  store.parts.filter((part) => part.result?.status === "ok" && part.result.model?.name === chosen()).slice(-RECENT).reverse();

const chosen = () => byId("thresholds-model").value;

/** Make the view work. */
export function startThresholds() {
  byId("thresholds-model").addEventListener("change", () => {
    isChosen = true;
    begin();
  });
  byId("thresholds-discard").addEventListener("click", () => begin());
  byId("thresholds-form").addEventListener("submit", apply);
  onKnown(() => {
    fillModels();
    const model = modelOf(chosen());
    if (model && drawnFor !== stamp(model)) begin({ keepDraft: drawnFor.startsWith(`${model.name} `) });
  });
}

/** Draw the preview and the rugs again, for instance when parts came. */
export function drawThresholds() {
  if (byId("view-thresholds").hidden) return;
  if (!isChosen && store.parts.length) {
    const before = chosen();
    fillModels();
    if (chosen() !== before) {
      begin();
      return;
    }
  }
  const model = modelOf(chosen());
  if (!model) return;
  const parts = recent();
  for (const [label, row] of rows) drawRug(row, label, model, parts);
  drawPreview(model, draft, parts);
  const isChanged = Object.keys(draft).length > 0;
  const instead = byId("thresholds-model");
  disable(byId("thresholds-apply"), !isChanged || !known.policy, instead);
  disable(byId("thresholds-discard"), !isChanged, instead);
}

const stamp = (model) => `${model.name} ${JSON.stringify(model.thresholds)}`;

function fillModels() {
  const select = byId("thresholds-model");
  const names = known.models.filter((model) => model.labels.length && model.heads.some((head) => head.head !== "raw")).map((model) => model.name);
  const before = select.value;
  if (names.join() !== [...select.options].map((option) => option.value).join()) {
    select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  }
  const busy = store.parts.findLast((part) => names.includes(part.result?.model?.name))?.result.model.name;
  const isKept = names.includes(before) && (isChosen || !busy || Object.keys(draft).length > 0);
  select.value = isKept ? before : (busy ?? names[0] ?? "");
  if (busy) isChosen = true;
}

function begin({ keepDraft = false } = {}) {
  const model = modelOf(chosen());
  if (!model) return;
  if (!keepDraft) draft = {};
  for (const [label, value] of Object.entries(draft)) if (value === limitOf(model.thresholds, label)) delete draft[label];
  drawnFor = stamp(model);
  rows = new Map(model.labels.filter((label) => !isByFindings(model, label) || model.defects.includes(label)).map((label) => [label, row(model, label)]));
  byId("thresholds-rows").replaceChildren(...[...rows.values()].map((it) => it.box));
  const others = known.models.filter((it) => it !== model && it.labels.some((label) => rows.has(label))).map((it) => it.name);
  byId("thresholds-note").textContent = others.length ? `A label's threshold also holds for ${others.join(", ")}.` : "";
  drawThresholds();
}

function row(model, label) {
  const value = draft[label] ?? limitOf(model.thresholds, label);
  const seen = recent().map((part) => part.result.scores[label] ?? 0);
  const isShare = endsAtOne(model, label);
  const most = isShare ? 1 : Math.max(1, Math.ceil(Math.max(value * 2, ...seen)));
  const isDefect = model.defects.includes(label);
  const id = `threshold-${label}`;
  const range = { min: 0, max: most, step: most > 1 ? most / 1000 : 0.005 };
  const slider = el("input", { type: "range", ...range, value, id });
  const number = el("input", { type: "number", min: 0, ...(isShare ? { max: 1 } : {}), step: "any", value: tidy(value), aria: { label: `${label}, threshold as a number` } });
  const rug = svg("svg", { class: "rug", viewBox: "0 0 1000 18", preserveAspectRatio: "none", "aria-hidden": "true" });
  const name = el("label", { className: "name", htmlFor: id }, label, " ", el("span", { className: "kind" }, isDefect ? "a defect: fails at or above" : "sound: passes at or above"));
  const box = el("div", { className: "threshold" }, name, number, el("div", {}, slider, rug));
  const it = { box, rug, most };
  const moved = (given, from) => {
    if (!Number.isFinite(given) || given < 0 || (isShare && given > 1)) return;
    if (given === limitOf(modelOf(chosen()).thresholds, label)) delete draft[label];
    else draft[label] = given;
    if (from !== number) number.value = tidy(given);
    if (from !== slider) slider.value = given;
    box.classList.toggle("changed", label in draft);
    byId("thresholds-said").textContent = "";
    drawThresholds();
  };
  slider.addEventListener("input", () => moved(tidy(slider.valueAsNumber), slider));
  number.addEventListener("input", () => moved(number.valueAsNumber, number));
  box.classList.toggle("changed", label in draft);
  return it;
}

const tidy = (value) => Number(value.toPrecision(4));

function drawRug({ rug, most }, label, model, parts) {
  const values = isByFindings(model, label)
    ? parts.flatMap((part) => part.result.findings.filter((it) => it.label === label).map((it) => it.confidence))
    : parts.map((part) => part.result.scores[label]).filter((value) => value !== undefined);
  rug.replaceChildren(...values.map((value) => {
    const x = ((1000 * value) / most).toFixed(0);
    return svg("line", { x1: x, x2: x, y1: 2, y2: 16 });
  }));
}

async function apply(event) {
  event.preventDefault();
  const changes = { ...draft };
  const before = seen();
  const model = modelOf(chosen());
  const lines = Object.entries(changes).map(([label, value]) => `${label} ${score(limitOf(model.thresholds, label))} → ${value}`);
  const isSure = await confirmed({ title: "Apply the thresholds?", text: `From the next part on: ${lines.join("; ")}.`, yes: "Apply" });
  if (!isSure) return;
  const said = byId("thresholds-said");
  try {
    await changePolicy(before, (policy) => ({ ...policy, thresholds: { ...policy.thresholds, ...changes } }));
    draft = {};
    begin();
    said.textContent = "Applied: it holds from the next part on.";
  } catch (error) {
    said.textContent = why(error);
  }
}
