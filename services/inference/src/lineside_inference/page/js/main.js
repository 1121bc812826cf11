// Put the page together: one view at a time by the address's #, parts live, the rest now and then.

import { byId } from "./dom.js";
import { refreshDetail, startDetail } from "./detail.js";
import { drawEvidence } from "./evidence.js";
import { drawHealth } from "./health.js";
import { onKnown, refresh } from "./known.js";
import { startModels } from "./models.js";
import { drawPower, startPower } from "./power.js";
import { countSoon, drawShift, drawSpeed, startShift } from "./shift.js";
import { drawAge, drawStage, startStage } from "./stage.js";
import { drawStrip, startStrip } from "./strip.js";
import { onChange, start } from "./store.js";
import { drawThresholds, startThresholds } from "./thresholds.js";
import { startTryIt } from "./tryit.js";

const VIEWS = ["line", "thresholds", "models", "try", "health"];
const OFTEN_MS = 5000;
const LIVE_MS = 2000;

function view() {
  const asked = location.hash.slice(1);
  return VIEWS.includes(asked) ? asked : "line";
}

function drawView({ focus = false } = {}) {
  const now = view();
  for (const name of VIEWS) byId(`view-${name}`).hidden = name !== now;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.hash === `#${now}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = now === "line" ? "Lineside" : `Lineside: ${document.querySelector(`.bar nav a[href="#${now}"]`).textContent}`;
  if (focus) byId("main").focus({ preventScroll: true });
  draw();
  if (now !== "line") refresh();
}

function draw() {
  drawPower();
  if (view() === "line") {
    drawStage();
    drawStrip();
    drawSpeed();
    countSoon();
  }
  drawThresholds();
  refreshDetail();
}

/** Run now and every few seconds, never twice at the same time, and not while nobody looks. */
async function often(work, period = OFTEN_MS) {
  for (;;) {
    if (!document.hidden) await work();
    await new Promise((resolve) => setTimeout(resolve, period));
  }
}

startStage();
startStrip(draw);
startDetail();
startShift();
startThresholds();
startModels();
startPower();
startTryIt();
onKnown(draw);
onChange(draw);
addEventListener("hashchange", () => drawView({ focus: true }));
drawView();
start();
often(refresh);
often(drawHealth, LIVE_MS);
often(drawEvidence);
often(drawShift);
setInterval(() => {
  drawAge();
  drawPower();
}, 1000);
