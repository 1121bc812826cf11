// Judge an image of one's own.

import { Refusal, ask } from "./api.js";
import { byId, el, shape } from "./dom.js";
import { WORDS, ms, reason } from "./format.js";
import { known, modelOf, onKnown } from "./known.js";
import { drawn, tags } from "./picture.js";
import { bars } from "./scores.js";

const TYPES = ["image/jpeg", "image/png", "image/bmp", "image/webp"];
/** The station whose results the service neither shows on the line nor counts. */
const STATION = "try-it";

let address = null;
let turn = 0;

/** Make the drop zone, the chooser and pasting work. */
export function startTryIt() {
  const drop = byId("drop");
  byId("try-file").addEventListener("change", (event) => take(event.target.files[0]));
  for (const kind of ["dragenter", "dragover"]) {
    drop.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file && !byId("view-try").hidden) take(file);
  });
  byId("try-model").addEventListener("change", () => byId("try-file").files[0] && take(byId("try-file").files[0]));
  onKnown(fillModels);
}

function fillModels() {
  const select = byId("try-model");
  const names = known.models.filter((model) => model.input === "image" && model.version).map((model) => model.name);
  if (names.join() === [...select.options].map((option) => option.value).join()) return;
  const before = select.value;
  select.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
  if (names.includes(before)) select.value = before;
}

async function take(file) {
  if (!file) return;
  const mine = ++turn;
  const said = byId("try-result");
  said.replaceChildren(el("p", { className: "muted" }, "Judging…"));
  byId("try-picture").replaceChildren();
  try {
    const name = byId("try-model").value;
    const path = `/v1/models/${encodeURIComponent(name)}/predict?station=${STATION}&part_id=${encodeURIComponent(file.name.slice(0, 120))}`;
    const type = TYPES.includes(file.type) ? file.type : "application/octet-stream";
    const { body: result } = await ask(path, { method: "POST", headers: { "Content-Type": type }, body: file });
    if (mine !== turn) return;
    said.replaceChildren(...verdict(result));
    await show(file, result, mine);
  } catch (error) {
    const text = error instanceof Refusal ? error.message : `The service could not be asked: ${error.message}`;
    if (mine === turn) said.replaceChildren(el("p", { className: "reason" }, text));
  }
}

async function show(file, result, mine) {
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  const box = byId("try-picture");
  try {
    const figure = await drawn(address, result, `The image ${file.name}`);
    if (mine === turn) box.replaceChildren(figure, tags(result));
  } catch {
    if (mine === turn) box.replaceChildren(el("p", { className: "none" }, "The browser cannot show this image."));
  }
}

function verdict(result) {
  const raw = JSON.stringify(result, null, 2);
  return [
    el("p", { className: "verdict-name large", data: { verdict: result.verdict } }, shape(result.verdict), WORDS[result.verdict]),
    el("p", { className: "reason" }, reason(result)),
    bars(result, modelOf(result.model?.name)),
    el("p", { className: "muted" }, `In ${ms(result.timing_ms.total)}.`),
    el("details", {}, el("summary", {}, "Result as JSON"), el("pre", { tabIndex: 0 }, raw)),
  ];
}
