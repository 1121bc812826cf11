// How the last parts would have been judged with other thresholds.

import { byId, el, shape } from "./dom.js";
import { WORDS } from "./format.js";
import { isClose, judge } from "./rule.js";
import { tileOf } from "./strip.js";

const KINDS = ["pass", "fail", "unknown"];
const MOST = 40;

/** Judge parts again: counts before and after, and those whose verdict changes. */
export function again(model, draft, parts) {
  const thresholds = { ...model.thresholds, ...draft };
  const before = { pass: 0, fail: 0, unknown: 0 };
  const after = { pass: 0, fail: 0, unknown: 0 };
  const changed = [];
  for (const part of parts) {
    const was = judge(model, model.thresholds, part.result);
    const would = judge(model, thresholds, part.result);
    if (!was || !would) continue;
    before[was] += 1;
    after[would] += 1;
    if (was !== would) changed.push({ part, was, would });
  }
  return { before, after, changed };
}

let drawn = "";

/** Draw the comparison; `draft` holds the moved thresholds only. */
export function drawPreview(model, draft, parts) {
  const { before, after, changed } = again(model, draft, parts);
  const mark = JSON.stringify([model.name, model.thresholds, draft, parts.length, parts[0]?.number]);
  if (mark === drawn) return;
  drawn = mark;
  const isDraft = Object.keys(draft).length > 0;
  const count = before.pass + before.fail + before.unknown;
  if (!count) {
    byId("preview").replaceChildren(el("p", { className: "muted" }, "This model has judged no part since the service started."));
    byId("preview-changed").replaceChildren();
    return;
  }
  byId("preview").replaceChildren(
    el("p", {}, summary(count, changed, isDraft)),
    isClose(model) ? el("p", { className: "muted" }, "Close, not exact: this model's regions are found anew with every threshold.") : "",
    el(
      "table",
      { className: "preview" },
      el("thead", {}, el("tr", {}, ...["Verdict", "As set now", "As moved", "Change"].map((word, at) => el("th", { scope: "col", className: at ? "number" : "" }, word)))),
      el("tbody", {}, ...KINDS.map((kind) => line(kind, before[kind], after[kind]))),
    ),
  );
  byId("preview-changed").replaceChildren(
    ...changed.slice(0, MOST).map(({ part, was, would }) => el("li", {}, tileOf(part, `${WORDS[was]} → ${WORDS[would]}`))),
  );
}

function summary(count, changed, isDraft) {
  if (!isDraft) return `The last ${count} parts of this model. Move a threshold to compare.`;
  if (!changed.length) return `None of the last ${count} parts would have been judged otherwise.`;
  return `${changed.length} of the last ${count} parts would have been judged otherwise.`;
}

function line(kind, was, would) {
  const by = would - was;
  const name = el("span", { className: "verdict-name", data: { verdict: kind } }, shape(kind), WORDS[kind]);
  return el(
    "tr",
    { data: { kind } },
    el("th", { scope: "row" }, name),
    el("td", { className: "number" }, String(was)),
    el("td", { className: "number" }, String(would)),
    el("td", { className: "number" }, by ? `${by > 0 ? "+" : "−"}${Math.abs(by)}` : "0"),
  );
}
