// Whether parts are judged at all: shown always, changed only after a confirmation.

import { alarm as stops, isStopped } from "./chain.js";
import { byId, confirmed } from "./dom.js";
import { changePolicy, known, onKnown, seen, why } from "./known.js";
import { store } from "./store.js";
import { clock } from "./format.js";

let trouble = "";

/** Make the button work. */
export function startPower() {
  byId("judging").addEventListener("click", toggle);
  onKnown(drawPower);
}

/** Draw the button and the alarm above everything. */
export function drawPower() {
  const button = byId("judging");
  const isOn = known.policy?.enabled;
  button.disabled = !known.policy;
  button.textContent = isOn === false ? "Switch judging on…" : "Switch judging off…";
  button.className = isOn === false ? "primary" : "quiet";
  const alarm = byId("alarm");
  alarm.classList.toggle("off", !trouble && isOn === false && store.link !== "lost" && !isStopped());
  const text = trouble || lost() || stops() || (isOn === false ? "Judging is switched off: every part gets UNKNOWN." : "");
  if (alarm.textContent !== text) alarm.textContent = text;
  alarm.hidden = !text;
  const chip = byId("link");
  const isDown = store.link === "live" && isStopped();
  const word = isDown ? "Not judging" : { live: "Live", lost: "Not connected", wait: "Connecting" }[store.link];
  if (chip.textContent !== word) chip.textContent = word;
  chip.dataset.state = isDown ? "lost" : store.link;
}

const lost = () =>
  store.link === "lost" ? `Not connected to the inference service since ${clock(store.lostAt)}: what you see is not live. ${store.lostWhy}` : "";

async function toggle() {
  const before = seen();
  const isOn = before.policy.enabled;
  const isSure = await confirmed(
    isOn
      ? { title: "Switch judging off?", text: "From now on every part on every station gets the verdict UNKNOWN, until judging is switched on again.", yes: "Switch off", danger: true }
      : { title: "Switch judging on?", text: "Parts are judged again from the next one on.", yes: "Switch on" },
  );
  if (!isSure) return;
  trouble = "";
  try {
    await changePolicy(before, (policy) => ({ ...policy, enabled: !isOn }));
  } catch (error) {
    trouble = `Judging was not switched: ${why(error)}`;
  }
  drawPower();
}
