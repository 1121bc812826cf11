// Every link of the line in words, short on the line, whole in the view of health.

import { alarm, chain, isStopped, readChain } from "./chain.js";
import { byId, el, facts, shape } from "./dom.js";

const SHAPES = { good: "pass", wait: "unknown", bad: "fail", off: "off" };

const marks = new Set();

/** Show beside the view's name that something here needs a person, for as long as anything does. */
export function mark(about, isBad) {
  if (isBad) marks.add(about);
  else marks.delete(about);
  byId("health-mark").hidden = !marks.size;
}

/** Read how the line stands and draw it, short on the line, whole in its view. */
export async function drawHealth() {
  if (!(await readChain())) return;
  const { links, ready, engine } = chain;
  const bad = links.filter((link) => link.state !== "good" && link.state !== "off");
  const off = links.filter((link) => link.state === "off");
  mark("connections", bad.length > 0 || !ready.ready);
  byId("health-summary").textContent = summary(ready, bad);
  const good = links.length - bad.length - off.length;
  const rest = { name: bad.length ? `The other ${good}` : `All ${good} connections`, state: "good", text: good === 1 ? "works" : "work" };
  byId("needs").replaceChildren(...[...bad, ...off.filter((link) => !link.isPaused)].map((link) => item(link, false)), ...(good ? [item(rest, false)] : []));
  byId("health-list").replaceChildren(...links.map((link) => item(link, true)));
  facts(byId("health-facts"), [
    ["Engine", [engine.server, engine.version].filter(Boolean).join(" ")],
    ["Tensors reach it by", engine.transport],
    ["Metrics", el("a", { href: "/metrics" }, "/metrics")],
    ["Raw state", el("a", { href: "/readyz" }, "/readyz")],
    ["The services before", el("a", { href: "/v1/chain" }, "/v1/chain")],
  ]);
}

function summary(ready, bad) {
  if (isStopped()) return alarm();
  if (!ready.ready) return `The service is not ready${ready.state === "draining" ? ": it is stopping." : "."}`;
  return bad.length ? "Parts can be judged; something needs a look." : "Every part can be judged.";
}

/** One thing with its state in shape and words: good, wait, bad or off; `more` is said below it where `isWhole`. */
export function item(link, isWhole) {
  const text = el("span", {}, el("strong", {}, link.name), ` ${link.text}`);
  if (isWhole) text.append(el("br"), el("span", { className: "muted" }, link.more));
  return el("li", { className: "need", data: { state: link.state } }, shape(SHAPES[link.state]), text);
}
