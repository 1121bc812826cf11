// The strip of the last parts, filtered.

import { filter, filtered, stations } from "../state/filter.js";
import { line } from "../state/line.js";
import { kindOf } from "../words/part.js";
import { byId, choices, el } from "./dom.js";
import { tile } from "./tile.js";

/** @import { PartDocument } from "../documents.js" */
/** @import { Choice } from "../state/filter.js" */

const MAX_TILES = 60;
/** @type {Record<Choice, string>} */
const EMPTY = {
  all: "No part was judged yet.",
  bad: "No fails and no unknowns among the last parts.",
  fail: "No fails among the last parts.",
  unknown: "No unknowns among the last parts.",
};

/** What is in the strip, by `keyOf`. @type {Map<string, HTMLLIElement>} */
const tiles = new Map();

/**
 * Make the filters work.
 * @param {() => void} redraw
 */
export function startStrip(redraw) {
  for (const input of byId("filter").querySelectorAll("input")) {
    input.checked = input.value === filter.verdicts; // a browser may remember another one
    input.addEventListener("change", () => {
      filter.verdicts = /** @type {Choice} */ (input.value);
      redraw();
    });
  }
  const select = byId("station", HTMLSelectElement);
  select.addEventListener("change", () => {
    filter.station = select.value;
    redraw();
  });
}

/** Draw the strip; tiles that stay are not made anew, so that focus and images stay too. */
export function drawStrip() {
  drawStations();
  const wanted = filtered().slice(0, MAX_TILES);
  const keys = new Set(wanted.map(keyOf));
  for (const [key, item] of tiles) {
    if (!keys.has(key)) {
      item.remove();
      tiles.delete(key);
    }
  }
  const list = byId("strip");
  let place = list.firstElementChild;
  for (const part of wanted) {
    const item = tiles.get(keyOf(part)) ?? el("li", {}, tile(part));
    tiles.set(keyOf(part), item);
    if (item === place) place = place.nextElementSibling;
    else list.insertBefore(item, place);
  }
  const empty = byId("strip-empty");
  empty.hidden = wanted.length > 0 || !line.isLoaded;
  empty.textContent = EMPTY[filter.verdicts];
}

/**
 * What a tile is kept by: a part that is shown otherwise by now gets a new one.
 * @param {PartDocument} part
 */
const keyOf = (part) => `${part.id} ${kindOf(part)} ${part.picture}`;

function drawStations() {
  // The chosen one stays, though none of its parts is known any more.
  const names = [...new Set([...stations(), filter.station])].filter(Boolean).sort();
  byId("station-label").hidden = names.length < 2 && !filter.station;
  choices(byId("station", HTMLSelectElement), ["", ...names], filter.station);
}
