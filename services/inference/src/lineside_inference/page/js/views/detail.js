// All about one part: image, scores, times, the request, the raw result.

import { get } from "../service/http.js";
import { filtered } from "../state/filter.js";
import { find, line } from "../state/line.js";
import { modelOf } from "../state/models.js";
import { clock, lookOf, ms, partName, source, status, WORDS } from "../words/format.js";
import { arrived, decider, isOther, kindOf, why } from "../words/part.js";
import { byId, disable, el, facts, shape } from "./dom.js";
import { showImage } from "./image.js";
import { bars } from "./scores.js";

/** @import { CaptureDocument, PartDocument, Timing } from "../documents.js" */

/** @type {Array<[keyof Timing, string]>} */
const STAGES = [
  ["queued", "Waited"],
  ["source", "Source"],
  ["decode", "Decode and prepare"],
  ["infer", "Model"],
  ["interpret", "Interpret"],
  ["capture", "Evidence to the disk"],
];
const EVIDENCE = { IN_PROGRESS: "kept on this box, on its way", SUCCESS: "kept and delivered" };

let shown = "";
/** @type {PartDocument | null} */
let drawn = null;

/** Make the dialog's buttons and arrow keys work. */
export function startDetail() {
  const dialog = byId("detail", HTMLDialogElement);
  byId("detail-close").addEventListener("click", () => dialog.close());
  byId("detail-newer").addEventListener("click", () => step(-1));
  byId("detail-older").addEventListener("click", () => step(1));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
}

/**
 * Open a part by its id.
 * @param {string} id
 */
export async function openDetail(id) {
  const dialog = byId("detail", HTMLDialogElement);
  if (!dialog.open) dialog.showModal();
  /** @type {PartDocument | null} */
  const part = find(id) ?? (await get(`/v1/parts/${encodeURIComponent(id)}`).catch(() => null));
  shown = part?.id ?? id;
  draw(part);
  drawSteps();
}

/** Keep what is shown right while parts come in: what the PLC got may come after the part was opened. */
export function refreshDetail() {
  if (!byId("detail", HTMLDialogElement).open || !line.parts.length) return;
  const part = find(shown);
  if (part && part !== drawn) draw(part);
  drawSteps();
}

/** @param {PartDocument | null} part */
function draw(part) {
  drawn = part;
  byId("detail-body").replaceChildren(part ? body(part) : el("p", {}, "This part is no longer kept."));
  byId("detail-title").textContent = part ? `Part ${partName(part)}` : "Part";
}

/** @param {number} by */
function neighbour(by) {
  const parts = filtered();
  const at = parts.findIndex((part) => part.id === shown);
  return at < 0 ? undefined : parts[at + by];
}

/** @param {number} by */
function step(by) {
  const next = neighbour(by);
  if (next) openDetail(next.id);
}

function drawSteps() {
  const title = byId("detail-title");
  disable(byId("detail-newer", HTMLButtonElement), !neighbour(-1), title);
  disable(byId("detail-older", HTMLButtonElement), !neighbour(1), title);
}

/** @param {PartDocument} part */
function body(part) {
  const { result } = part;
  const kind = kindOf(part);
  const box = el("div", { className: "image" });
  showImage(box, part);
  return el(
    "div",
    { className: "detail" },
    el("div", {}, box, result && el("section", {}, el("h3", {}, "Time to the judgement"), times(result.timing_ms))),
    el(
      "div",
      {},
      el("p", { className: "verdict-name large", data: { verdict: lookOf(kind) } }, shape(lookOf(kind)), WORDS[kind]),
      el("p", { className: "reason" }, why(part)),
      result && bars(result, modelOf(result.model?.name)),
      about(part),
      raw(part),
    ),
  );
}

/** @param {PartDocument} part */
function about(part) {
  const { result, request, outcome } = part;
  const list = el("dl", { className: "facts" });
  const other = result && isOther(part) ? `${WORDS[result.verdict]}, ` : "";
  const deadline = outcome?.deadline_ms ?? request?.deadline_ms;
  // A capture that the answer did not wait for has no evidence_id yet, only the time of the wait.
  const isKept = result && (result.evidence_id || result.timing_ms.capture !== undefined);
  facts(list, [
    ["The PLC got", got(part)],
    ["At the PLC", arrived(outcome)],
    ["Decided by", outcome && decider(outcome)],
    ["Write-back", outcome?.write_error],
    ["Judged", result ? `${other}${clock(part.at)}` : "not judged"],
    ["Station", part.station],
    ["Model", result?.model ? `${result.model.name}, version ${result.model.version}` : part.model],
    ["From", source(request)],
    ["Frame", typeof result?.frame_age_ms === "number" ? `${ms(result.frame_age_ms)} old` : ""],
    ["Deadline", deadline ? ms(deadline) : ""],
    ["Evidence", isKept ? evidence(result.request_id) : ""],
    ["State", result && status(result)],
    ["Cause", outcome && outcome.cause !== "ok" ? outcome.cause : result?.code],
    [outcome && !outcome.asked ? "Part's id" : "Request", part.id],
  ]);
  return list;
}

/** @param {PartDocument} part */
function got({ outcome }) {
  if (!outcome) return "";
  if (!outcome.verdict) return WORDS.lost;
  return `${WORDS[outcome.verdict]}${outcome.written_at ? "" : ", but nothing is written here"}`;
}

/** @param {PartDocument} part */
function raw(part) {
  const text = JSON.stringify(part, null, 2);
  const copied = el("span", { className: "muted", role: "status" });
  const copy = el("button", { type: "button" }, "Copy");
  copy.addEventListener("click", async () => {
    copied.textContent = (await toClipboard(text)) ? "Copied." : "The browser does not allow it: select the text.";
  });
  return el(
    "details",
    {},
    el("summary", {}, "Request, result and outcome as JSON"),
    el("div", { className: "row" }, copy, copied),
    el("pre", { tabIndex: 0 }, text),
  );
}

/**
 * What became of the evidence of a request, once the service has said it.
 * @param {string} id
 */
function evidence(id) {
  const said = el("span", {}, "…");
  get(`/v1/capture/${encodeURIComponent(id)}`).then(
    (/** @type {CaptureDocument} */ { status: state, detail }) => {
      said.textContent = state === "FAILURE" ? `lost: ${detail}` : EVIDENCE[state];
    },
    (error) => {
      said.textContent = error.message;
    },
  );
  return said;
}

/** @param {Timing} timing */
function times(timing) {
  const stages = STAGES.flatMap(([name, word]) => {
    const spent = timing[name];
    return spent === null || spent === undefined ? [] : [{ word, spent }];
  });
  const sum = stages.reduce((total, { spent }) => total + spent, 0) || 1;
  const bar = el("div", { className: "stages", ariaHidden: "true" });
  for (const { spent } of stages) {
    const piece = el("span", {});
    piece.style.width = `${(100 * spent) / sum}%`;
    bar.append(piece);
  }
  const list = el("dl", { className: "facts" });
  facts(list, [...stages.map(({ word, spent }) => row(word, spent)), row("In all", timing.total)]);
  return el("div", { className: "stack" }, bar, list);
}

/**
 * @param {string} word
 * @param {number | null | undefined} spent
 * @returns {[string, string]}
 */
const row = (word, spent) => [word, ms(spent)];

/** @param {string} text */
async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
