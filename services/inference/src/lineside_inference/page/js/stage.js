// The newest part, large: verdict, image, reason. And whether it still is the part that lies there.

import { byId, facts, shape } from "./dom.js";
import { WORDS, clock, lookOf, ms, partName, source, span, status } from "./format.js";
import { isStopped } from "./chain.js";
import { openDetail } from "./detail.js";
import { known, modelOf } from "./known.js";
import { picture } from "./picture.js";
import { bars } from "./scores.js";
import { now, store } from "./store.js";
import { chosenStation } from "./strip.js";
import { arrived, decider, isOther, kindOf, why } from "./told.js";

const OLD_MS = 60_000;
const SAY_EVERY_MS = 3000;

let current = null;
let saidAt = 0;
let isOff = false;
let drawnKind = "";

/** Draw what is newest of the chosen station. */
export function drawStage() {
  const station = chosenStation();
  const part = store.parts.findLast((it) => !station || it.station === station);
  if (part && (part !== current || kindOf(part) !== drawnKind)) {
    current = part;
    drawPart(part);
  }
  drawAge();
}

/** Say how old it is: called every second too. */
export function drawAge() {
  const old = current && now() - Date.parse(current.at);
  if (current && kindOf(current) !== drawnKind) drawPart(current);
  drawOff();
  const ribbon = byId("quiet");
  const isOld = old !== null && old > OLD_MS;
  byId("verdict").classList.toggle("old", current !== null && (isOld || store.link === "lost" || isStopped()));
  ribbon.hidden = !isOld;
  if (isOld) ribbon.textContent = `No part for ${span(old)}. This is the last one, of ${clock(current.at)}.`;
}

/** While judging is off nobody may ask about a part any more: the word then comes from the policy, not from a result. */
function drawOff() {
  const wasOff = isOff;
  isOff = known.policy?.enabled === false;
  if (isOff) {
    byId("verdict").dataset.verdict = "off";
    byId("verdict-word").textContent = WORDS.off;
  } else if (wasOff && current) {
    drawPart(current);
  }
}

/** Make the button work. */
export function startStage() {
  byId("stage-open").addEventListener("click", () => current && openDetail(current.id));
}

function drawPart(part) {
  const { result, outcome } = part;
  const kind = kindOf(part);
  drawnKind = kind;
  const band = byId("verdict");
  band.dataset.verdict = lookOf(kind);
  band.classList.toggle("long", kind !== lookOf(kind));
  band.querySelector("svg").replaceWith(shape(lookOf(kind)));
  byId("verdict-word").textContent = WORDS[kind];
  byId("stage-reason").textContent = why(part);
  byId("verdict-part").textContent = partName(part);
  byId("verdict-where").textContent = part.station ?? "";
  facts(byId("stage-facts"), [
    ["Judged", result ? `${isOther(part) ? `${WORDS[result.verdict]}, ` : ""}${clock(part.at)}, in ${ms(result.timing_ms.total)}` : "not judged"],
    ["At the PLC", arrived(outcome)],
    ["Decided by", outcome && outcome.origin !== "judged" ? decider(outcome) : ""],
    ["Model", result?.model ? `${result.model.name}, version ${result.model.version}` : part.model],
    ["From", source(part.request)],
    ["State", result ? status(result) : ""],
  ]);
  byId("stage-scores").replaceChildren(result ? bars(result, modelOf(result.model?.name)) : "");
  byId("stage-open").hidden = false;
  picture(byId("stage-picture"), part);
  if (Date.now() - saidAt > SAY_EVERY_MS) {
    saidAt = Date.now();
    byId("verdict-said").textContent = `${partName(part)}: ${kind === "off" ? "judging is off" : WORDS[kind].toLowerCase()}. ${why(part)}`;
  }
}
