// Scores as bars, with the threshold of each where it is known.

import { limitOf } from "../state/models.js";
import { score } from "../words/format.js";
import { el } from "./dom.js";

/** @import { ModelDocument, Result } from "../documents.js" */

const MAX_BARS = 8;

/**
 * A grid of bars of a result; `model` is the one that judged it, as far as it is known.
 * @param {Result} result
 * @param {ModelDocument | undefined} model
 */
export function bars(result, model) {
  const entries = Object.entries(result.scores);
  if (!entries.length) return el("div", {});
  const limits = entries.flatMap(([label]) => limitOf(model, label) ?? []);
  const scale = Math.max(1, ...entries.map(([, value]) => value), ...limits.map((limit) => limit * 1.25));
  const cells = entries.slice(0, MAX_BARS).flatMap(([label, value]) => {
    const limit = limitOf(model, label);
    const isHit = limit !== undefined && value >= limit;
    const hit = model?.defects.includes(label) ? " hit" : " good";
    const fill = el("span", { className: `fill${isHit ? hit : ""}` });
    fill.style.width = `${(100 * Math.max(0, value)) / scale}%`;
    const track = el("span", { className: "track" }, fill);
    if (limit !== undefined) {
      const mark = el("span", { className: "limit", title: `threshold ${score(limit)}` });
      mark.style.left = `${(100 * limit) / scale}%`;
      track.append(mark);
    }
    const name = el("span", { className: isHit ? "name hit" : "name" }, label);
    return [name, track, el("span", { className: "number" }, score(value))];
  });
  const more = entries.length - MAX_BARS;
  const grid = el("div", { className: "scores" }, ...cells);
  if (more > 0) grid.append(el("span", { className: "muted" }, `and ${more} more`));
  return grid;
}
