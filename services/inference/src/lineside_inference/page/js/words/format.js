// Numbers, times and words as people read them.

/** @import { AskedDocument, PartDocument, Result } from "../documents.js" */

/**
 * How a part is shown: its verdict, or that it was not judged (off), the PLC got nothing (lost), nobody said (unsure).
 * @typedef {"pass" | "fail" | "unknown" | "off" | "lost" | "unsure"} Kind
 */

/** @type {Record<Kind, string>} */
export const WORDS = {
  pass: "PASS",
  fail: "FAIL",
  unknown: "UNKNOWN",
  off: "OFF",
  lost: "NO VERDICT",
  unsure: "NOT SURE",
};

/**
 * What a kind looks like, in colour and shape: what is no verdict looks like an unknown one.
 * @param {Kind} kind
 */
export const lookOf = (kind) => (kind === "lost" || kind === "unsure" ? "unknown" : kind);

/** @type {Record<string, string>} */
const STATUS = {
  rejected: "not judged: the request was wrong",
  failed: "not judged: something needed was not there",
  expired: "not judged: too late",
  disabled: "not judged: judging is off",
};
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

/**
 * 12.34 ms, 123 ms, 1.2 s.
 * @param {number | null | undefined} value in milliseconds
 */
export function ms(value) {
  if (value === null || value === undefined) return "–";
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return value >= 100 ? `${Math.round(value)} ms` : `${value.toPrecision(value < 1 ? 1 : 3)} ms`;
}

/**
 * 0.932, or 12.4 above 10.
 * @param {number} value
 */
export const score = (value) => value.toFixed(Math.abs(value) >= 10 ? 1 : 3);

/**
 * A reason with the sign that people know.
 * @param {{ reason: string }} result
 */
export const reason = (result) => result.reason.replaceAll(">=", "≥");

/**
 * 12,345 as the reader's own language writes it.
 * @param {number} value
 */
export const count = (value) => value.toLocaleString();

/**
 * 800 B, 12 KiB, 3.4 MiB.
 * @param {number} value
 */
export function bytes(value) {
  const at = value < 1024 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(value) / 10));
  return `${(value / 1024 ** at).toFixed(at > 1 ? 1 : 0)} ${UNITS[at]}`;
}

/**
 * 98.2 %, and 100 % only where nothing is missing.
 * @param {number} part
 * @param {number} whole
 */
export function percent(part, whole) {
  if (!whole) return "–";
  const value = (100 * part) / whole;
  if (part === whole) return "100 %";
  return `${Math.min(99.9, value).toFixed(1)} %`;
}

/**
 * 3 s, 12 min, 5 h, 2 days.
 * @param {number} milliseconds
 */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

/**
 * 14:03:22 here, with the date where it is not today.
 * @param {string | number | Date} when
 */
export function clock(when) {
  const date = new Date(when);
  const time = date.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString()} ${time}`;
}

/**
 * What became of a part that was not judged.
 * @param {Result} result
 */
export const status = (result) => STATUS[result.status] ?? "";

/**
 * The part as the line names it, else the end of its id.
 * @param {PartDocument} part
 */
export const partName = (part) => part.part_id ?? `…${part.id.slice(-8)}`;

/**
 * Where a part's pixels or numbers came from.
 * @param {AskedDocument | null} asked
 */
export function source(asked) {
  if (!asked) return "";
  const { kind, camera, path, url, bytes: size } = asked.source;
  if (kind === "camera") return `camera ${camera}`;
  if (kind === "file") return `file ${path}`;
  if (kind === "url") return String(url);
  if (kind === "inline") return `sent along, ${Math.round(Number(size) / 1024)} KiB`;
  return "numbers";
}
