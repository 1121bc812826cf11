// Models and their versions.

import { ask } from "./api.js";
import { byId, confirmed, el, facts } from "./dom.js";
import { score } from "./format.js";
import { known, onKnown, refresh, why } from "./known.js";

let drawn = "";

/** Draw whenever they were read. */
export function startModels() {
  onKnown(draw);
}

function draw() {
  const mark = JSON.stringify(known.models);
  if (mark === drawn) return;
  drawn = mark;
  byId("models").replaceChildren(...known.models.map(card));
}

function card(model) {
  const about = el("dl", { className: "facts" });
  facts(about, [
    ["Task", model.task],
    ["State", state(model)],
    ["Refused", model.refused ? `version ${model.refused.version}: ${model.refused.reason}` : ""],
    ["Labels", model.labels.map((label) => (model.defects.includes(label) ? `${label} (defect)` : label)).join(", ")],
    ["Thresholds", Object.entries(model.thresholds).map(([label, value]) => `${label} ${score(value)}`).join(", ")],
    ["Licence", model.licence],
    ["File", model.file ? `${model.file.path} (${model.file.why})` : ""],
    ["Digest", model.digest],
  ]);
  const scores = Object.entries(model.scores ?? {});
  return el(
    "section",
    { className: "card model", aria: { label: model.name } },
    el("div", { className: "row" }, el("h3", {}, model.name), el("span", { className: "pill" }, model.version ? `version ${model.version} in force` : "not loaded")),
    el("p", {}, model.description),
    about,
    versions(model),
    scores.length ? el("details", {}, el("summary", {}, "How it scored when it was made"), table(scores)) : null,
  );
}

function state(model) {
  if (model.changing) return `being changed: ${model.detail}`;
  if (model.state === "ONLINE") return "works";
  return [{ unloaded: "not loaded", out: "out" }[model.state] ?? "not ready", model.detail].filter(Boolean).join(": ");
}

function versions(model) {
  const others = (model.versions ?? []).map((it) => (typeof it === "object" ? it.version : it)).filter((it) => it !== model.version);
  if (!others.length) return el("p", { className: "muted" }, "No other version is here.");
  return el("div", { className: "versions" }, ...others.map((version) => {
    const button = el("button", { type: "button" }, `Switch to version ${version}…`);
    button.addEventListener("click", () => change(model, version, button));
    return button;
  }));
}

async function change(model, version, button) {
  const isSure = await confirmed({
    title: `Switch ${model.name} to version ${version}?`,
    text: `It is loaded and tried beside the one in force, and takes over only when it works. No part is lost.`,
    yes: `Switch to ${version}`,
  });
  if (!isSure) return;
  const said = byId("models-said");
  button.disabled = true;
  said.textContent = `Loading ${model.name} version ${version}.`;
  try {
    await ask(`/v1/models/${encodeURIComponent(model.name)}/versions/${encodeURIComponent(version)}/load`, { method: "POST" });
    said.textContent = `${model.name} version ${version} is in force.`;
  } catch (error) {
    said.textContent = `${model.name} stays as it was: ${why(error)}`;
  }
  button.disabled = false;
  drawn = "";
  await refresh();
}

const table = (scores) =>
  el("table", {}, el("tbody", {}, ...scores.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name.replaceAll("_", " ")), el("td", { className: "number" }, String(value))))));
