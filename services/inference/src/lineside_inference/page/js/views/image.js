// A part's image with what was found drawn on it, in pixels of the original.

import { image } from "../service/http.js";
import { hasImage } from "../state/line.js";
import { limitOf, modelOf } from "../state/models.js";
import { score } from "../words/format.js";
import { el, svg } from "./dom.js";

/** @import { Finding, PartDocument, Result } from "../documents.js" */

/** @typedef {Pick<Result, "findings" | "findings_omitted" | "model">} Found */

const MAX_BOXES = 100;
const MAX_TAGS = 6;
const GONE = "The image is no longer kept.";

/** What each box shows or will show. @type {WeakMap<Element, string>} */
const shown = new WeakMap();

/**
 * The address of the image of a result, at most `width` pixels wide where that is given; raises Refusal.
 * @param {string} id
 * @param {number} [width]
 */
export const imageOf = (id, width) => image(`/v1/parts/${id}/image${width ? `?width=${width}` : ""}`);

/**
 * Show a part's image in a box; the one that is there stays until the new one is ready.
 * @param {HTMLElement} box
 * @param {PartDocument} part
 */
export async function showImage(box, part) {
  const wanted = `${part.id} ${part.picture}`;
  if (shown.get(box) === wanted) return;
  shown.set(box, wanted);
  if (!part.result || !hasImage(part)) {
    box.replaceChildren(nothing(part.picture ? GONE : none(part)));
    return;
  }
  try {
    const address = await imageOf(part.result.id);
    const figure = await drawn(address, part.result, `The part ${part.part_id ?? ""} as the model saw it`);
    if (shown.get(box) === wanted) box.replaceChildren(figure, tags(part.result));
  } catch {
    if (shown.get(box) === wanted) box.replaceChildren(nothing(GONE));
  }
}

/**
 * A figure of an image and its findings; raises where the image cannot be shown.
 * @param {string} address
 * @param {Found} result
 * @param {string} alt
 */
export async function drawn(address, result, alt) {
  const img = el("img", { alt, src: address, decoding: "async" });
  await img.decode();
  const { naturalWidth: width, naturalHeight: height } = img;
  const overlay = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const model = modelOf(result.model?.name);
  const names = svg("g");
  // The surest is drawn last, on top of the others, and the names above all boxes.
  const boxes = result.findings.filter((it) => it.box).slice(0, MAX_BOXES);
  for (const finding of boxes.reverse()) {
    const limit = limitOf(model, finding.label);
    const isEnough = limit === undefined || finding.confidence >= limit;
    overlay.append(...boxed(finding, isEnough));
    if (isEnough) names.append(named(finding, height / 26));
  }
  overlay.append(names);
  return el("figure", {}, img, overlay);
}

/**
 * @param {Finding} finding
 * @param {boolean} isEnough whether it reaches its threshold
 */
function boxed({ box }, isEnough) {
  const [left, top, right, bottom] = box ?? [0, 0, 0, 0];
  const place = { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) };
  return ["box-under", "box"].map((kind) => svg("rect", { ...place, class: isEnough ? kind : `${kind} faint` }));
}

/**
 * @param {Finding} finding
 * @param {number} size of the letters
 */
function named({ label, box }, size) {
  const [left, top, , bottom] = box ?? [0, 0, 0, 0];
  const y = top > size * 1.3 ? top - size * 0.35 : bottom + size;
  return svg("text", { x: left, y, "font-size": size, class: "box-name" }, label);
}

/**
 * The labels of what was found.
 * @param {Found} result
 */
export function tags(result) {
  const found = result.findings.slice(0, MAX_TAGS).map((it) => el("li", {}, `${it.label} ${score(it.confidence)}`));
  const more = result.findings.length + (result.findings_omitted ?? 0) - found.length;
  if (more > 0) found.push(el("li", {}, `and ${more} more`));
  return el("ul", { className: "tags", ariaLabel: "Found" }, ...found);
}

/** @param {string} text */
const nothing = (text) => el("p", { className: "none" }, text);

/** @param {PartDocument} part */
const none = (part) =>
  part.request?.source.kind === "tensors" ? "Judged by numbers: there is no image." : "There is no image of this part.";
