// What the PLC got for a part, and what was judged: the words for both.

import { line, now } from "../state/line.js";
import { clock, ms, reason, WORDS } from "./format.js";

/** @import { Outcome, PartDocument, Result } from "../documents.js" */
/** @import { Kind } from "./format.js" */

const PATIENCE_MS = 3000; // beyond the deadline, for the bridge's own word to come
const DEADLINE_MS = 1000; // where a request names none
/** Causes of a part that another bridge answers. */
const ELSEWHERE = ["not_owner", "answered_elsewhere"];
const ORIGINS = {
  judged: "the model",
  deadline: "the bridge: no verdict came in time",
  disabled: "the bridge: judging is off",
  recovered: "the bridge, after an outage",
  refused: "the bridge: the part could not be asked about",
};

/**
 * How a part is shown: what the PLC got; lost where it got nothing, unsure where nobody said it in time, off, else what
 * was judged.
 * @param {PartDocument} part
 * @returns {Kind}
 */
export function kindOf(part) {
  if (part.outcome) return isNoPart(part.outcome) ? "off" : (part.outcome.verdict ?? "lost");
  if (isUnconfirmed(part)) return "unsure";
  return part.result ? kindOfResult(part.result) : "unknown";
}

/**
 * Whether it counts for nothing here: judging is off, or another bridge answers the part and tells of it.
 * @param {Outcome} outcome
 */
const isNoPart = (outcome) => outcome.origin === "disabled" || ELSEWHERE.includes(outcome.cause);

/**
 * How a result alone is shown: its verdict, or off where the policy said not to judge.
 * @param {Result} result
 */
const kindOfResult = (result) => (result.status === "disabled" ? "off" : result.verdict);

/**
 * Whether the bridge should have said by now what the PLC got: it does so for this station's parts.
 * @param {PartDocument} part
 */
function isUnconfirmed(part) {
  if (!part.station || !line.confirmed.has(part.station) || part.result?.status === "disabled") return false;
  return now() - Date.parse(part.at) > (part.request?.deadline_ms ?? DEADLINE_MS) + PATIENCE_MS;
}

/**
 * Why the PLC got what it got, for the person at the line.
 * @param {PartDocument} part
 */
export function why(part) {
  const { outcome, result } = part;
  if (!outcome) {
    if (!result) return "";
    if (kindOf(part) !== "unsure") return reason(result);
    return `Judged ${WORDS[result.verdict]}, but whether the PLC got it is not known: the OPC UA bridge did not say. ${reason(result)}`;
  }
  if (ELSEWHERE.includes(outcome.cause)) return `Not from this bridge: ${outcome.write_error}. It does not count here.`;
  if (outcome.verdict === null)
    return `The PLC got no verdict: ${outcome.write_error ?? outcome.cause}.${judged(part)}`;
  const late = outcome.late ? " It was written after the deadline." : "";
  if (outcome.origin === "judged") return `${reason(result ?? outcome)}${late}`;
  if (outcome.origin === "disabled") return "Judging is off: the PLC got UNKNOWN.";
  return `The PLC got UNKNOWN: ${outcome.reason}.${judged(part)}${late}`;
}

/**
 * What was judged, where the PLC got something else.
 * @param {PartDocument} part
 */
function judged({ outcome, result }) {
  if (!outcome || !result) return "";
  if (result.verdict === outcome.verdict) return result.code ? ` The cause: ${reason(result)}.` : "";
  return ` It was judged ${WORDS[result.verdict]} (${reason(result)}).`;
}

/**
 * When the PLC had it, after how long; empty where nobody says.
 * @param {Outcome | null} outcome
 */
export function arrived(outcome) {
  if (!outcome?.written_at) return "";
  return `${clock(outcome.written_at)}, ${ms(outcome.trigger_to_verdict_ms)} after its trigger${outcome.late ? ", late" : ""}`;
}

/**
 * Whether what was judged is not what the PLC got.
 * @param {PartDocument} part
 */
export const isOther = ({ outcome, result }) => Boolean(outcome && result && outcome.verdict !== result.verdict);

/**
 * Who decided what the PLC got.
 * @param {Outcome} outcome
 */
export const decider = (outcome) => ORIGINS[outcome.origin];
