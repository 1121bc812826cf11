// Models and their versions.

import { loadVersion, refresh, why } from "../service/models.js";
import { known, onModels } from "../state/models.js";
import { score } from "../words/format.js";
import { byId, confirmed, el, facts } from "./dom.js";

/** @import { ModelDocument } from "../documents.js" */

/** @type {Record<string, string>} */
const STATES = { unloaded: "not loaded", out: "out" };

let drawn = "";

/** Draw whenever they were read. */
export function startModels() {
  onModels(draw);
}

function draw() {
  const mark = JSON.stringify(known.models);
  if (mark === drawn) return;
  drawn = mark;
  byId("model-list").replaceChildren(...known.models.map(card));
}

/** @param {ModelDocument} model */
function card(model) {
  const { refused, file, defects } = model;
  const limits = Object.entries(model.thresholds).map(([label, value]) => `${label} ${score(value)}`);
  const about = el("dl", { className: "facts" });
  facts(about, [
    ["Task", model.task],
    ["State", state(model)],
    ["Refused", refused ? `version ${refused.version}: ${refused.reason}` : ""],
    ["Labels", model.labels.map((label) => (defects.includes(label) ? `${label} (defect)` : label)).join(", ")],
    ["Thresholds", limits.join(", ")],
    ["Licence", model.licence],
    ["File", file ? `${file.path} (${file.why})` : ""],
    ["Digest", model.digest],
    ["TensorRT", model.tensorrt ? `${model.tensorrt.state}: ${model.tensorrt.why}` : ""],
  ]);
  const scores = Object.entries(model.scores);
  const version = model.version ? `version ${model.version} in force` : "not loaded";
  return el(
    "section",
    { className: "card model", aria: { label: model.name } },
    el("div", { className: "row" }, el("h3", {}, model.name), el("span", { className: "pill" }, version)),
    el("p", {}, model.description),
    about,
    versions(model),
    scores.length ? el("details", {}, el("summary", {}, "How it scored when it was made"), table(scores)) : null,
  );
}

/** @param {ModelDocument} model */
function state(model) {
  if (model.changing) return `being changed: ${model.detail}`;
  if (model.state === "ONLINE") return "works";
  return [STATES[model.state] ?? "not ready", model.detail].filter(Boolean).join(": ");
}

/** @param {ModelDocument} model */
function versions(model) {
  const others = model.versions.filter((version) => version !== model.version);
  if (!others.length) return el("p", { className: "muted" }, "No other version is here.");
  const buttons = others.map((version) => {
    const button = el("button", { type: "button" }, `Switch to version ${version}…`);
    button.addEventListener("click", () => change(model, version, button));
    return button;
  });
  return el("div", { className: "versions" }, ...buttons);
}

/**
 * @param {ModelDocument} model
 * @param {string} version
 * @param {HTMLButtonElement} button
 */
async function change({ name }, version, button) {
  const isSure = await confirmed({
    title: `Switch ${name} to version ${version}?`,
    text: "It is loaded and tried beside the one in force, and takes over only when it works. No part is lost.",
    yes: `Switch to ${version}`,
  });
  if (!isSure) return;
  const said = byId("models-said");
  button.disabled = true;
  said.textContent = `Loading ${name} version ${version}.`;
  try {
    await loadVersion(name, version);
    said.textContent = `${name} version ${version} is in force.`;
  } catch (error) {
    said.textContent = `${name} stays as it was: ${why(error)}`;
  }
  button.disabled = false;
  drawn = "";
  await refresh();
}

/** @param {Array<[string, unknown]>} scores */
function table(scores) {
  const rows = scores.map(([name, value]) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, name.replaceAll("_", " ")),
      el("td", { className: "number" }, String(value)),
    ),
  );
  return el("table", {}, el("tbody", {}, ...rows));
}
