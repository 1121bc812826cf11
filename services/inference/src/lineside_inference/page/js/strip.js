// The strip of the last parts, filtered; a click opens one.

import { byId, el, shape } from "./dom.js";
import { WORDS, clock, lookOf, partName } from "./format.js";
import { openDetail } from "./detail.js";
import { thumb } from "./picture.js";
import { store } from "./store.js";
import { kindOf, why } from "./told.js";

const MOST = 60;
const KINDS = { all: ["pass", "fail", "unknown"], bad: ["fail", "unknown"], fail: ["fail"], unknown: ["unknown"] };
const EMPTY = {
  all: "No part was judged yet.",
  bad: "No fails and no unknowns among the last parts.",
  fail: "No fails among the last parts.",
  unknown: "No unknowns among the last parts.",
};

const tiles = new Map();

/** The station that is chosen, or "". */
export const chosenStation = () => byId("station").value;

/** The parts that pass the filter, newest first. */
export function filtered() {
  const kinds = KINDS[document.querySelector("#filter input:checked").value];
  const station = chosenStation();
  return store.parts
    .filter((part) => kinds.includes(part.verdict) && (!station || part.station === station))
    .reverse();
}

/** Draw the strip; tiles that stay are not made anew, so that focus and images stay too. */
export function drawStrip() {
  drawStations();
  const wanted = filtered().slice(0, MOST);
  const ids = new Set(wanted.map(keyOf));
  for (const [id, tile] of tiles) {
    if (!ids.has(id)) {
      tile.remove();
      tiles.delete(id);
    }
  }
  const list = byId("strip");
  let place = list.firstElementChild;
  for (const part of wanted) {
    const tile = tiles.get(keyOf(part)) ?? el("li", {}, tileOf(part));
    tiles.set(keyOf(part), tile);
    if (tile === place) place = place.nextElementSibling;
    else list.insertBefore(tile, place);
  }
  const empty = byId("strip-empty");
  empty.hidden = wanted.length > 0 || !store.loaded;
  empty.textContent = EMPTY[document.querySelector("#filter input:checked").value];
}

/** What a tile is kept by: a part that is shown otherwise by now gets a new one. */
const keyOf = (part) => `${part.id} ${kindOf(part)} ${part.picture}`;

/** Make the filters work. */
export function startStrip(redraw) {
  byId("filter").addEventListener("change", redraw);
  byId("station").addEventListener("change", redraw);
}

/** A button that shows and opens a part; `note` stands instead of its name. */
export function tileOf(part, note) {
  const kind = kindOf(part);
  const button = el(
    "button",
    { type: "button", className: "part", data: { verdict: lookOf(kind), id: part.id } },
    thumb(part),
    el("span", { className: "line1" }, shape(lookOf(kind)), note ?? WORDS[kind]),
    el("span", { className: "line2" }, el("span", {}, partName(part))),
  );
  button.title = `${partName(part)}, ${clock(part.at)}: ${why(part)}`;
  button.addEventListener("click", () => openDetail(part.id));
  return button;
}

function drawStations() {
  const select = byId("station");
  const names = [...new Set(store.parts.map((part) => part.station).filter(Boolean))].sort();
  const shown = [...select.options].slice(1).map((option) => option.value);
  byId("station-label").hidden = names.length < 2 && !select.value;
  if (names.every((name) => shown.includes(name))) return;
  const chosen = select.value;
  select.replaceChildren(el("option", { value: "" }, "All"), ...names.map((name) => el("option", { value: name }, name)));
  select.value = chosen;
}
