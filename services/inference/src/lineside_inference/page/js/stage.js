// The newest part, large: verdict, image, reason. And whether it still is the part that lies there.

import { byId, facts, shape } from "./dom.js";
import { WORDS, clock, kindOf, ms, partName, reason, source, span, status } from "./format.js";
import { openDetail } from "./detail.js";
import { known, modelOf } from "./known.js";
import { picture } from "./picture.js";
import { bars } from "./scores.js";
import { now, store } from "./store.js";
import { chosenStation } from "./strip.js";

const OLD_MS = 60_000;
const SAY_EVERY_MS = 3000;

let current = null;
let saidAt = 0;
let isOff = false;

/** Draw what is newest of the chosen station. */
export function drawStage() {
  const station = chosenStation();
  const part = store.parts.findLast((it) => !station || it.result.context.station === station);
  if (part && part !== current) {
    current = part;
    drawPart(part);
  }
  drawAge();
}

/** Say how old it is: called every second too. */
export function drawAge() {
  const old = current && now() - Date.parse(current.at);
  drawOff();
  const ribbon = byId("quiet");
  const isOld = old !== null && old > OLD_MS;
  byId("verdict").classList.toggle("old", isOld || (store.link === "lost" && current !== null));
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
  byId("stage-open").addEventListener("click", () => current && openDetail(current.result.id));
}

function drawPart(part) {
  const { result } = part;
  const kind = kindOf(result);
  const band = byId("verdict");
  band.dataset.verdict = kind;
  band.querySelector("svg").replaceWith(shape(kind));
  byId("verdict-word").textContent = WORDS[kind];
  byId("stage-reason").textContent = reason(result);
  byId("verdict-part").textContent = partName(part);
  byId("verdict-where").textContent = result.context.station ?? "";
  facts(byId("stage-facts"), [
    ["Judged", `${clock(part.at)}, in ${ms(result.timing_ms.total)}`],
    ["Model", result.model ? `${result.model.name}, version ${result.model.version}` : part.request.model],
    ["From", source(part.request)],
    ["State", status(result)],
  ]);
  byId("stage-scores").replaceChildren(bars(result, modelOf(result.model?.name)));
  byId("stage-open").hidden = false;
  picture(byId("stage-picture"), part);
  if (Date.now() - saidAt > SAY_EVERY_MS) {
    saidAt = Date.now();
    byId("verdict-said").textContent = `${partName(part)}: ${kind === "off" ? "judging is off" : kind}. ${reason(result)}`;
  }
}
