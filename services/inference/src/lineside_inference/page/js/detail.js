// All about one part: image, scores, times, the request, the raw result.

import { get } from "./api.js";
import { byId, disable, el, facts, shape } from "./dom.js";
import { WORDS, clock, lookOf, ms, partName, source, status } from "./format.js";
import { modelOf } from "./known.js";
import { picture } from "./picture.js";
import { bars } from "./scores.js";
import { find, store } from "./store.js";
import { filtered } from "./strip.js";
import { arrived, decider, isOther, kindOf, why } from "./told.js";

const STAGES = { queued: "Waited", source: "Source", decode: "Decode and prepare", infer: "Model", interpret: "Interpret", capture: "Evidence to the disk" };
const EVIDENCE = { IN_PROGRESS: "kept on this box, on its way", SUCCESS: "kept and delivered" };

let shown = null;
let drawn = null;

/** Open a part by its id. */
export async function openDetail(id) {
  const dialog = byId("detail");
  if (!dialog.open) dialog.showModal();
  const part = find(id) ?? (await get(`/v1/parts/${encodeURIComponent(id)}`).catch(() => null));
  shown = part?.id ?? id;
  draw(part);
  drawSteps();
}

function draw(part) {
  drawn = part;
  byId("detail-body").replaceChildren(part ? body(part) : el("p", {}, "This part is no longer kept."));
  byId("detail-title").textContent = part ? `Part ${partName(part)}` : "Part";
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
  const at = parts.findIndex((part) => part.id === shown);
  return at < 0 ? undefined : parts[at + by];
}

function step(by) {
  const next = neighbour(by);
  if (next) openDetail(next.id);
}

function drawSteps() {
  const title = byId("detail-title");
  disable(byId("detail-newer"), !neighbour(-1), title);
  disable(byId("detail-older"), !neighbour(1), title);
}

function body(part) {
  const { result, request, outcome } = part;
  const kind = kindOf(part);
  const box = el("div", { className: "picture" });
  picture(box, part);
  const about = el("dl", { className: "facts" });
  facts(about, [
    ["The PLC got", outcome ? (outcome.verdict ? `${WORDS[outcome.verdict]}${outcome.written_at ? "" : ", but nothing is written here"}` : WORDS.lost) : ""],
    ["At the PLC", arrived(outcome)],
    ["Decided by", outcome ? decider(outcome) : ""],
    ["Write-back", outcome?.write_error],
    ["Judged", result ? `${isOther(part) ? `${WORDS[result.verdict]}, ` : ""}${clock(part.at)}` : "not judged"],
    ["Station", part.station],
    ["Model", result?.model ? `${result.model.name}, version ${result.model.version}` : part.model],
    ["From", source(request)],
    ["Frame", Number.isFinite(result?.frame_age_ms) ? `${ms(result.frame_age_ms)} old` : ""],
    ["Deadline", outcome?.deadline_ms || request?.deadline_ms ? ms(outcome?.deadline_ms ?? request.deadline_ms) : ""],
    // A capture that the answer did not wait for has no evidence_id yet, only the time of the wait.
    ["Evidence", result && (result.evidence_id || result.timing_ms.capture !== undefined) ? evidence(result.request_id) : ""],
    ["State", result ? status(result) : ""],
    ["Cause", outcome && outcome.cause !== "ok" ? outcome.cause : result?.code],
    [outcome && !outcome.asked ? "Part's id" : "Request", part.id],
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
    el("div", {}, box, result ? el("section", {}, el("h3", {}, "Time to the judgement"), times(result.timing_ms)) : ""),
    el(
      "div",
      {},
      el("p", { className: "verdict-name large", data: { verdict: lookOf(kind) } }, shape(lookOf(kind)), WORDS[kind]),
      el("p", { className: "reason" }, why(part)),
      result ? bars(result, modelOf(result.model?.name)) : "",
      about,
      el("details", {}, el("summary", {}, "Request, result and outcome as JSON"), el("div", { className: "row" }, copy, copied), el("pre", { tabIndex: 0 }, raw)),
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

/** Keep what is shown right while parts come in: what the PLC got may come after the part was opened. */
export function refreshDetail() {
  if (!byId("detail").open || !store.parts.length) return;
  const part = find(shown);
  if (part && part !== drawn) draw(part);
  drawSteps();
}
