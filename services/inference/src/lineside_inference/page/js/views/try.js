// Judge an image of one's own.

import { ask } from "../service/http.js";
import { why } from "../service/models.js";
import { known, modelOf, onModels } from "../state/models.js";
import { view } from "../state/view.js";
import { ms, reason, WORDS } from "../words/format.js";
import { byId, choices, el, shape } from "./dom.js";
import { drawn, tags } from "./image.js";
import { bars } from "./scores.js";

/** @import { Result } from "../documents.js" */

const TYPES = ["image/jpeg", "image/png", "image/bmp", "image/webp"];
/** The station whose results the service neither shows on the line nor counts. */
const STATION = "try-it";
const MAX_NAME = 120;

/** The image that was tried last. @type {File | null} */
let tried = null;
/** The chosen model's name. */
let chosen = "";
let address = "";
let turn = 0;

/** Make the drop zone, the chooser and pasting work. */
export function startTry() {
  const drop = byId("drop");
  const input = byId("try-file", HTMLInputElement);
  const select = byId("try-model", HTMLSelectElement);
  input.addEventListener("change", () => take(input.files?.[0]));
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer?.files[0]);
  });
  document.addEventListener("paste", (event) => {
    if (view.name === "try") take(event.clipboardData?.files[0]);
  });
  select.addEventListener("change", () => {
    chosen = select.value;
    if (tried) take(tried);
  });
  onModels(() => {
    const names = known.models.filter((model) => model.input === "image" && model.version).map((model) => model.name);
    if (!names.includes(chosen)) chosen = names[0] ?? "";
    choices(select, names, chosen);
  });
}

/** @param {File | null | undefined} file */
async function take(file) {
  if (!file) return;
  tried = file;
  turn += 1;
  const mine = turn;
  const said = byId("try-result");
  said.replaceChildren(el("p", { className: "muted" }, "Judging…"));
  byId("try-image").replaceChildren();
  try {
    const result = await judge(file);
    if (mine !== turn) return;
    said.replaceChildren(...verdict(result));
    await show(file, result, mine);
  } catch (error) {
    if (mine === turn) said.replaceChildren(el("p", { className: "reason" }, why(error)));
  }
}

/**
 * @param {File} file
 * @returns {Promise<Result>}
 */
async function judge(file) {
  const asked = new URLSearchParams({ station: STATION, part_id: file.name.slice(0, MAX_NAME) });
  const type = TYPES.includes(file.type) ? file.type : "application/octet-stream";
  const path = `/v1/models/${encodeURIComponent(chosen)}/predict?${asked}`;
  return (await ask(path, { method: "POST", headers: { "Content-Type": type }, body: file })).body;
}

/**
 * @param {File} file
 * @param {Result} result
 * @param {number} mine
 */
async function show(file, result, mine) {
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  const box = byId("try-image");
  try {
    const figure = await drawn(address, result, `The image ${file.name}`);
    if (mine === turn) box.replaceChildren(figure, tags(result));
  } catch {
    if (mine === turn) box.replaceChildren(el("p", { className: "none" }, "The browser cannot show this image."));
  }
}

/** @param {Result} result */
function verdict(result) {
  const raw = JSON.stringify(result, null, 2);
  const look = { className: "verdict-name large", data: { verdict: result.verdict } };
  return [
    el("p", look, shape(result.verdict), WORDS[result.verdict]),
    el("p", { className: "reason" }, reason(result)),
    bars(result, modelOf(result.model?.name)),
    el("p", { className: "muted" }, `In ${ms(result.timing_ms.total)}.`),
    el("details", {}, el("summary", {}, "Result as JSON"), el("pre", { tabIndex: 0 }, raw)),
  ];
}
