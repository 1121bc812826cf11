// Each camera: how it is connected, what came of it in the last minute, and what to do about it.

import { get } from "../service/http.js";
import { figures, lookOf, stateOf } from "../words/camera.js";
import { byId, el, facts, sentence, shape } from "./dom.js";
import { item, mark, SHAPES } from "./health.js";

/** @import { CameraDocument, CameraNeedDocument, CamerasDocument } from "../documents.js" */

/** Read how the cameras do and draw them: what needs a person on the line, all of it in the view of health. */
export async function drawCameras() {
  /** @type {CamerasDocument | null} */
  const state = await get("/v1/cameras").catch(() => null);
  if (!state) return;
  const { cameras } = state;
  const isBad = (/** @type {CameraDocument} */ camera) => lookOf(camera) === "bad";
  const asked = cameras.filter((camera) => camera.needs.length);
  const needy = [...asked.filter(isBad), ...asked.filter((camera) => !isBad(camera))];
  mark("cameras", needy.some(isBad));
  byId("cameras-all").hidden = !cameras.length;
  byId("cameras").replaceChildren(...cameras.map(card));
  byId("camera-needs").replaceChildren(
    ...needy.map((camera) =>
      item({ name: `Camera ${camera.name}:`, state: lookOf(camera), text: camera.needs[0]?.what ?? "" }, false),
    ),
    needy.length ? el("li", {}, el("a", { href: "#health" }, "What to do")) : "",
  );
}

/** @param {CameraDocument} camera */
function card(camera) {
  const look = lookOf(camera);
  const about = el("dl", { className: "facts" });
  facts(about, figures(camera));
  return el(
    "li",
    { className: "card camera", data: { state: look } },
    el("h4", {}, shape(SHAPES[look]), el("span", {}, el("strong", {}, camera.name), ` ${stateOf(camera)}`)),
    el("p", { className: "muted" }, `${camera.kind}, ${camera.target}`),
    about,
    ...(camera.detail && camera.remedy
      ? [need({ what: camera.detail, remedy: camera.remedy, is_bad: look === "bad" })]
      : []),
    ...camera.needs.map(need),
  );
}

/** @param {CameraNeedDocument} thing */
const need = ({ what, remedy, is_bad: isBad }) =>
  el(
    "div",
    { className: "todo", data: { state: isBad ? "bad" : "wait" } },
    el("p", {}, sentence(what)),
    el("p", {}, el("strong", {}, "To do: "), sentence(remedy)),
  );
