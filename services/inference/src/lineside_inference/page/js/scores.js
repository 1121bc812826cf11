// Scores as bars, with the threshold of each where it is known.

import { el } from "./dom.js";
import { score } from "./format.js";
import { limitOf } from "./rule.js";

const MOST = 8;

/** A grid of bars of a result; `model` is what /v1/models says of it, or undefined. */
export function bars(result, model) {
  const entries = Object.entries(result.scores);
  if (!entries.length) return el("div", {});
  const limits = model ? entries.map(([label]) => limitOf(model.thresholds, label)) : [];
  const scale = Math.max(1, ...entries.map(([, value]) => value), ...limits.map((limit) => limit * 1.25));
  const cells = entries.slice(0, MOST).flatMap(([label, value]) => {
    const limit = model ? limitOf(model.thresholds, label) : undefined;
    const isHit = limit !== undefined && value >= limit;
    const isDefect = model?.defects.includes(label);
    const fill = el("span", { className: `fill${isHit ? (isDefect ? " hit" : " good") : ""}` });
    fill.style.width = `${(100 * Math.max(0, value)) / scale}%`;
    const track = el("span", { className: "track" }, fill);
    if (limit !== undefined) {
      const mark = el("span", { className: "limit", title: `threshold ${score(limit)}` });
      mark.style.left = `${(100 * limit) / scale}%`;
      track.append(mark);
    }
    return [el("span", { className: isHit ? "name hit" : "name" }, label), track, el("span", { className: "number" }, score(value))];
  });
  const more = entries.length - MOST;
  const grid = el("div", { className: "scores" }, ...cells);
  if (more > 0) grid.append(el("span", { className: "muted" }, `and ${more} more`));
  return grid;
}
