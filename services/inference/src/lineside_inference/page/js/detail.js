// All about one part: image, scores, times, the request, the raw result.

import { get } from "./api.js";
import { byId, el, facts, shape } from "./dom.js";
import { WORDS, clock, kindOf, ms, partName, reason, source, status } from "./format.js";
import { modelOf } from "./known.js";
import { picture } from "./picture.js";
import { bars } from "./scores.js";
import { find, store } from "./store.js";
import { filtered } from "./strip.js";

const STAGES = { queued: "Waited", source: "Source", decode: "Decode and prepare", infer: "Model", interpret: "Interpret", capture: "Evidence to the disk" };
const EVIDENCE = { IN_PROGRESS: "kept on this box, on its way", SUCCESS: "kept and delivered" };

let shown = null;

/** Open a part by its result's id. */
export async function openDetail(id) {
  const dialog = byId("detail");
  if (!dialog.open) dialog.showModal();
  const part = find(id) ?? (await get(`/v1/parts/${id}`).catch(() => null));
  shown = id;
  byId("detail-body").replaceChildren(part ? body(part) : el("p", {}, "This part is no longer kept."));
  byId("detail-title").textContent = part ? `Part ${partName(part)}` : "Part";
  drawSteps();
}

/** Make the dialog's buttons and arrow keys work. */
export function startDetail() {
  const dialog = byId("detail");
  byId("detail-close").addEventListener("click", () => dialog.close());
  byId("detail-newer").addEventListener("click", () => step(-1));
  byId("detail-older").addEventListener("click", () => step(1));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

function neighbour(by) {
  const parts = filtered();
  const at = parts.findIndex((part) => part.result.id === shown);
  return at < 0 ? undefined : parts[at + by];
}

function step(by) {
  const next = neighbour(by);
  if (next) openDetail(next.result.id);
}

function drawSteps() {
  byId("detail-newer").disabled = !neighbour(-1);
  byId("detail-older").disabled = !neighbour(1);
}

function body(part) {
  const { result, request } = part;
  const box = el("div", { className: "picture" });
  picture(box, part);
  const about = el("dl", { className: "facts" });
  facts(about, [
    ["Judged", clock(part.at)],
    ["Station", result.context.station],
    ["Model", result.model ? `${result.model.name}, version ${result.model.version}` : request.model],
    ["From", source(request)],
    ["Frame", result.frame_age_ms === null || result.frame_age_ms === undefined ? "" : `${ms(result.frame_age_ms)} old`],
    ["Deadline", request.deadline_ms ? ms(request.deadline_ms) : ""],
    // A capture that the answer did not wait for has no evidence_id yet, only the time of the wait.
    ["Evidence", result.evidence_id || result.timing_ms.capture !== undefined ? evidence(result.request_id) : ""],
    ["State", status(result)],
    ["Cause", result.code],
    ["Request", request.id],
  ]);
  const raw = JSON.stringify(part, null, 2);
  const copied = el("span", { className: "muted", role: "status" });
  const copy = el("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    copied.textContent = (await toClipboard(raw)) ? "Copied." : "The browser does not allow it: select the text.";
  });
  return el(
    "div",
    { className: "detail" },
    el("div", {}, box, el("section", {}, el("h3", {}, "Time to the verdict"), times(result.timing_ms))),
    el(
      "div",
      {},
      el("p", { className: "verdict-name large", data: { verdict: kindOf(result) } }, shape(kindOf(result)), WORDS[kindOf(result)]),
      el("p", { className: "reason" }, reason(result)),
      bars(result, modelOf(result.model?.name)),
      about,
      el("details", {}, el("summary", {}, "Request and result as JSON"), el("div", { className: "row" }, copy, copied), el("pre", { tabIndex: 0 }, raw)),
    ),
  );
}

function evidence(id) {
  const said = el("span", {}, "…");
  get(`/v1/capture/${encodeURIComponent(id)}`).then(
    (now) => (said.textContent = EVIDENCE[now.status] ?? `lost: ${now.detail}`),
    (error) => (said.textContent = error.message),
  );
  return said;
}

function times(timing) {
  const stages = Object.entries(STAGES).filter(([name]) => timing[name] !== null && timing[name] !== undefined);
  const sum = stages.reduce((total, [name]) => total + timing[name], 0) || 1;
  const bar = el("div", { className: "stages", ariaHidden: "true" });
  for (const [name] of stages) {
    const piece = el("span", {});
    piece.style.width = `${(100 * timing[name]) / sum}%`;
    bar.append(piece);
  }
  const list = el("dl", { className: "facts" });
  facts(list, [...stages.map(([name, word]) => [word, ms(timing[name])]), ["In all", ms(timing.total)]]);
  return el("div", { className: "stack" }, bar, list);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** Keep the steps right while parts come in. */
export const refreshSteps = () => byId("detail").open && store.parts.length && drawSteps();
