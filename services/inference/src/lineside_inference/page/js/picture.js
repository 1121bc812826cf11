// A part's image with what was found drawn on it, in pixels of the original.

import { image } from "./api.js";
import { el, shape, svg } from "./dom.js";
import { lookOf, score } from "./format.js";
import { modelOf } from "./known.js";
import { limitOf } from "./rule.js";
import { hasPicture } from "./store.js";
import { kindOf } from "./told.js";

const MOST_BOXES = 100;
const GONE = "The image is no longer kept.";
const shown = new WeakMap();

/** Show a part in a box; the image that is there stays until the new one is ready. */
export async function picture(box, part) {
  const wanted = `${part.id} ${part.picture}`;
  if (shown.get(box) === wanted) return;
  shown.set(box, wanted);
  if (!hasPicture(part)) {
    box.replaceChildren(nothing(part, part.picture ? GONE : undefined));
    return;
  }
  try {
    const address = await image(`/v1/parts/${part.result.id}/image`);
    const figure = await drawn(address, part.result, name(part));
    if (shown.get(box) === wanted) box.replaceChildren(figure, tags(part.result));
  } catch {
    if (shown.get(box) === wanted) box.replaceChildren(nothing(part, GONE));
  }
}

/** A figure of an image and its findings; raises where the image cannot be shown. */
export async function drawn(address, result, alt) {
  const img = el("img", { alt, src: address, decoding: "async" });
  await img.decode();
  const { naturalWidth: width, naturalHeight: height } = img;
  const overlay = svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const limits = modelOf(result.model?.name)?.thresholds;
  const names = svg("g");
  // The surest is drawn last, on top of the others, and the names above all boxes.
  for (const finding of result.findings.filter((it) => it.box).slice(0, MOST_BOXES).reverse()) {
    const isEnough = !limits || finding.confidence >= limitOf(limits, finding.label);
    overlay.append(...boxed(finding, isEnough));
    if (isEnough) names.append(named(finding, height / 26));
  }
  overlay.append(names);
  return el("figure", {}, img, overlay);
}

function boxed({ box: [left, top, right, bottom] }, isEnough) {
  const place = { x: left, y: top, width: Math.max(0, right - left), height: Math.max(0, bottom - top) };
  return ["box-under", "box"].map((kind) => svg("rect", { ...place, class: isEnough ? kind : `${kind} faint` }));
}

function named({ label, box: [left, top, , bottom] }, size) {
  const y = top > size * 1.3 ? top - size * 0.35 : bottom + size;
  return svg("text", { x: left, y, "font-size": size, class: "box-name" }, label);
}

/** The labels of what was found. */
export function tags(result) {
  const found = result.findings.slice(0, 6).map((it) => el("li", {}, `${it.label} ${score(it.confidence)}`));
  const more = result.findings.length + (result.findings_omitted ?? 0) - found.length;
  if (more > 0) found.push(el("li", {}, `and ${more} more`));
  return el("ul", { className: "tags", ariaLabel: "Found" }, ...found);
}

/** A small image for the strip, or the verdict's shape where none is kept. */
export function thumb(part) {
  const box = el("span", { className: "thumb" });
  const instead = () => box.replaceChildren(shape(lookOf(kindOf(part))));
  if (!hasPicture(part)) {
    instead();
    return box;
  }
  image(`/v1/parts/${part.result.id}/image?width=232`).then((address) => {
    const img = el("img", { alt: "", loading: "lazy", decoding: "async" });
    img.addEventListener("error", instead);
    img.src = address;
    box.append(img);
  }, instead);
  return box;
}

const name = (part) => `The part ${part.part_id ?? ""} as the model saw it`;

function nothing(part, why) {
  const numbers = part.request?.source.kind === "tensors";
  return el("p", { className: "none" }, why ?? (numbers ? "Judged by numbers: there is no image." : "There is no image of this part."));
}
