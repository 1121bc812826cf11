// A part as a small button: its image, its verdict, its name; a click opens it.

import { hasImage } from "../state/line.js";
import { clock, lookOf, partName, WORDS } from "../words/format.js";
import { kindOf, why } from "../words/part.js";
import { openDetail } from "./detail.js";
import { el, shape } from "./dom.js";
import { imageOf } from "./image.js";

/** @import { PartDocument } from "../documents.js" */

/**
 * The button of a part; `note` stands instead of its verdict.
 * @param {PartDocument} part
 * @param {string} [note]
 */
export function tile(part, note) {
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

/**
 * A small image, or the verdict's shape where none is kept.
 * @param {PartDocument} part
 */
function thumb(part) {
  const box = el("span", { className: "thumb" });
  const instead = () => box.replaceChildren(shape(lookOf(kindOf(part))));
  if (!part.result || !hasImage(part)) {
    instead();
    return box;
  }
  imageOf(part.result.id, 232).then((address) => {
    const img = el("img", { alt: "", loading: "lazy", decoding: "async" });
    img.addEventListener("error", instead);
    img.src = address;
    box.append(img);
  }, instead);
  return box;
}
