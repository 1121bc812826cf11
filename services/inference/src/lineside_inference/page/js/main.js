// Put the page together: one view at a time by the address's #, parts live, the rest now and then.

import { follow as followLine } from "./service/events.js";
import { refresh } from "./service/models.js";
import { onLine } from "./state/line.js";
import { onModels } from "./state/models.js";
import { follow as followAddress, VIEWS, view } from "./state/view.js";
import { drawCameras } from "./views/cameras.js";
import { refreshDetail, startDetail } from "./views/detail.js";
import { byId } from "./views/dom.js";
import { drawEvidence } from "./views/evidence.js";
import { drawHeader, startHeader } from "./views/header.js";
import { drawHealth } from "./views/health.js";
import { startModels } from "./views/models.js";
import { drawAge, drawNewest, startNewest } from "./views/newest.js";
import { countSoon, drawShift, drawSpeed, startShift } from "./views/shift.js";
import { drawStrip, startStrip } from "./views/strip.js";
import { drawThresholds, startThresholds } from "./views/thresholds.js";
import { startToken } from "./views/token.js";
import { startTry } from "./views/try.js";

const OFTEN_MS = 5000;
const HEALTH_MS = 2000;
const SECOND_MS = 1000;

function drawView() {
  followAddress();
  for (const name of VIEWS) byId(`view-${name}`).hidden = name !== view.name;
  document.title = "Lineside";
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.getAttribute("href") !== `#${view.name}`) {
      link.removeAttribute("aria-current");
      continue;
    }
    link.setAttribute("aria-current", "page");
    if (view.name !== "line") document.title = `Lineside: ${link.firstChild?.textContent}`;
  }
  draw();
  if (view.name !== "line") refresh();
}

function draw() {
  drawHeader();
  if (view.name === "line") {
    drawNewest();
    drawStrip();
    drawSpeed();
    countSoon();
  }
  drawThresholds();
  refreshDetail();
}

/**
 * Run now and every few seconds, never twice at the same time, and not while nobody looks.
 * @param {() => Promise<void>} work
 * @param {number} period in milliseconds
 */
async function often(work, period) {
  for (;;) {
    if (!document.hidden) await work();
    await new Promise((resolve) => setTimeout(resolve, period));
  }
}

startToken();
startNewest();
startStrip(draw);
startDetail();
startShift();
startThresholds();
startModels();
startHeader();
startTry();
onModels(draw);
onLine(draw);
addEventListener("hashchange", () => {
  drawView();
  byId("main").focus({ preventScroll: true });
});
drawView();
followLine();
often(refresh, OFTEN_MS);
often(drawHealth, HEALTH_MS);
often(drawEvidence, OFTEN_MS);
often(drawCameras, OFTEN_MS);
often(drawShift, OFTEN_MS);
setInterval(() => {
  drawAge();
  drawHeader();
}, SECOND_MS);
