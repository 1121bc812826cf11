// What stands above every view: whether the page is live, whether parts are judged at all, and what stops them.

import { changePolicy, seen, why } from "../service/models.js";
import { isStopped } from "../state/chain.js";
import { line } from "../state/line.js";
import { known, onModels } from "../state/models.js";
import { clock } from "../words/format.js";
import { alarm } from "../words/links.js";
import { byId, confirmed } from "./dom.js";

const LINKS = { live: "Live", lost: "Not connected", wait: "Connecting" };
const OFF = {
  title: "Switch judging off?",
  text: "From now on every part on every station gets the verdict UNKNOWN, until judging is switched on again.",
  yes: "Switch off",
  isDanger: true,
};
const ON = { title: "Switch judging on?", text: "Parts are judged again from the next one on.", yes: "Switch on" };

let trouble = "";

/** Make the button work. */
export function startHeader() {
  byId("judging").addEventListener("click", toggle);
  onModels(drawHeader);
}

/** Draw the button, the state of the connection, and the alarm. */
export function drawHeader() {
  const isOff = known.policy?.enabled === false;
  drawButton(isOff);
  drawAlarm(isOff);
  const isDown = line.link === "live" && isStopped();
  const chip = byId("link");
  write(chip, isDown ? "Not judging" : LINKS[line.link]);
  chip.dataset.state = isDown ? "lost" : line.link;
}

/** @param {boolean} isOff */
function drawButton(isOff) {
  const button = byId("judging", HTMLButtonElement);
  button.disabled = !known.policy;
  button.textContent = isOff ? "Switch judging on…" : "Switch judging off…";
  button.className = isOff ? "primary" : "quiet";
}

/** @param {boolean} isOff */
function drawAlarm(isOff) {
  const worse = trouble || lost() || alarm();
  const text = worse || (isOff ? "Judging is switched off: every part gets UNKNOWN." : "");
  const box = byId("alarm");
  box.classList.toggle("off", !worse);
  write(box, text);
  box.hidden = !text;
}

const lost = () =>
  line.link === "lost"
    ? `Not connected to the inference service since ${clock(line.lostAt)}: what you see is not live. ${line.lostWhy}`
    : "";

/**
 * Write a text; the same one again would be read out again.
 * @param {HTMLElement} box
 * @param {string} text
 */
function write(box, text) {
  if (box.textContent !== text) box.textContent = text;
}

async function toggle() {
  const before = seen();
  if (!before || !(await confirmed(before.policy.enabled ? OFF : ON))) return;
  trouble = "";
  try {
    await changePolicy(before, { enabled: !before.policy.enabled });
  } catch (error) {
    trouble = `Judging was not switched: ${why(error)}`;
  }
  drawHeader();
}
