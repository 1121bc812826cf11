// The newest part, large: verdict, image, reason. And whether it still is the part that lies there.

import { isStopped } from "../state/chain.js";
import { newest } from "../state/filter.js";
import { line, now } from "../state/line.js";
import { known, modelOf } from "../state/models.js";
import { clock, lookOf, ms, partName, source, span, status, WORDS } from "../words/format.js";
import { arrived, decider, isOther, kindOf, why } from "../words/part.js";
import { openDetail } from "./detail.js";
import { byId, facts, shape } from "./dom.js";
import { showImage } from "./image.js";
import { bars } from "./scores.js";

/** @import { PartDocument } from "../documents.js" */
/** @import { Kind } from "../words/format.js" */

const OLD_MS = 60_000;
const SAY_EVERY_MS = 3000;

/** @type {PartDocument | null} */
let current = null;
let drawnKind = "";
let saidAt = 0;
let isOff = false;

/** Make the button work. */
export function startNewest() {
  byId("newest-open").addEventListener("click", () => current && openDetail(current.id));
}

/** Draw what is newest of the chosen station. */
export function drawNewest() {
  const part = newest();
  if (part && (part !== current || kindOf(part) !== drawnKind)) {
    current = part;
    drawPart(part);
  }
  drawAge();
}

/** Say how old it is: called every second too. */
export function drawAge() {
  if (current && kindOf(current) !== drawnKind) drawPart(current);
  drawOff();
  const age = current ? now() - Date.parse(current.at) : 0;
  const isOld = age > OLD_MS;
  byId("verdict").classList.toggle("old", current !== null && (isOld || line.link === "lost" || isStopped()));
  const ribbon = byId("quiet");
  ribbon.hidden = !isOld;
  if (isOld && current) ribbon.textContent = `No part for ${span(age)}. This is the last one, of ${clock(current.at)}.`;
}

/** While judging is off nobody may ask about a part: the word then comes from the policy, not from a result. */
function drawOff() {
  const wasOff = isOff;
  isOff = known.policy?.enabled === false;
  if (isOff) drawBand("off");
  else if (wasOff && current) drawPart(current);
}

/**
 * Draw the band's colour, shape and word.
 * @param {Kind} kind
 */
function drawBand(kind) {
  const band = byId("verdict");
  const word = byId("verdict-word");
  if (band.dataset.verdict === lookOf(kind) && word.textContent === WORDS[kind]) return;
  band.dataset.verdict = lookOf(kind);
  band.classList.toggle("long", kind !== lookOf(kind));
  band.querySelector("svg")?.replaceWith(shape(lookOf(kind)));
  word.textContent = WORDS[kind];
}

/** @param {PartDocument} part */
function drawPart(part) {
  const { result, outcome } = part;
  const kind = kindOf(part);
  drawnKind = kind;
  drawBand(kind);
  byId("newest-reason").textContent = why(part);
  byId("verdict-part").textContent = partName(part);
  byId("verdict-where").textContent = part.station ?? "";
  const other = result && isOther(part) ? `${WORDS[result.verdict]}, ` : "";
  facts(byId("newest-facts"), [
    ["Judged", result ? `${other}${clock(part.at)}, in ${ms(result.timing_ms.total)}` : "not judged"],
    ["At the PLC", arrived(outcome)],
    ["Decided by", outcome && outcome.origin !== "judged" ? decider(outcome) : ""],
    ["Model", result?.model ? `${result.model.name}, version ${result.model.version}` : part.model],
    ["From", source(part.request)],
    ["State", result && status(result)],
  ]);
  byId("newest-scores").replaceChildren(result ? bars(result, modelOf(result.model?.name)) : "");
  byId("newest-open").hidden = false;
  showImage(byId("newest-image"), part);
  if (Date.now() - saidAt > SAY_EVERY_MS) {
    saidAt = Date.now();
    const word = kind === "off" ? "judging is off" : WORDS[kind].toLowerCase();
    byId("verdict-said").textContent = `${partName(part)}: ${word}. ${why(part)}`;
  }
}
