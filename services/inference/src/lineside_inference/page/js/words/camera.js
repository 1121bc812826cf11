// How a camera does, in words: its state, its figures of the last minute, and what needs a person.

import { now } from "../state/line.js";
import { ms, span } from "./format.js";

/** @import { CameraDocument } from "../documents.js" */

/** @typedef {"good" | "wait" | "bad"} Look */

const WHOLE = 0.9995;

/**
 * How a camera looks: by its connection first, then by what needs a person.
 * @param {CameraDocument} camera
 * @returns {Look}
 */
export function lookOf({ state, required, needs }) {
  if (state !== "ONLINE") return required ? "bad" : "wait";
  if (!needs.length) return "good";
  return needs.some((need) => need.is_bad) ? "bad" : "wait";
}

/**
 * Its state in a few words, which go on after its name.
 * @param {CameraDocument} camera
 */
export function stateOf(camera) {
  const { state, since, needs } = camera;
  const time = span(now() - Date.parse(since));
  if (state === "CONNECTING") return `is being reached, for ${time}`;
  if (state !== "ONLINE") return `has been away for ${time}`;
  if (lookOf(camera) === "bad") return "works badly";
  return needs.length ? "works, but needs a look" : "works";
}

/**
 * Its figures, name and value; those that this kind of camera has not are left out.
 * @param {CameraDocument} camera
 * @returns {Array<[string, string]>}
 */
export function figures(camera) {
  return [
    ["Frames", rate(camera.frames_a_second)],
    ["Newest", age(camera.newest_age_s)],
    ["Not whole", share(camera.incomplete_share)],
    ["Sent again", camera.resent_share === null ? "" : `${share(camera.resent_share)} of the packets`],
    ["Dropped here", camera.socket_drops ? `${camera.socket_drops.toLocaleString()} packets` : ""],
    ["Control lost", camera.lost_control ? `${camera.lost_control} times` : ""],
    ["No buffer", camera.underruns ? `${camera.underruns.toLocaleString()} packets` : ""],
    ["Clock known", camera.clock_error_s === null ? "" : `within ${ms(1000 * camera.clock_error_s)}`],
    ["Temperature", temperature(camera)],
  ];
}

/** @param {CameraDocument} camera */
function temperature({ temperature_celsius: degrees, hot_celsius: most }) {
  return degrees === null ? "" : `${degrees.toFixed(0)} °C (at most ${most} °C)`;
}

/** @param {number | null} value in seconds */
function age(value) {
  if (value === null) return "";
  return value < 1 ? "just now" : `${span(1000 * value)} ago`;
}

/** @param {number | null} value frames a second */
function rate(value) {
  if (value === null) return "";
  if (value === 0) return "none in the last minute";
  return value < 0.5 ? `${(60 * value).toFixed(0)} a minute` : `${value.toFixed(1)} a second`;
}

/**
 * 0 %, 0.02 %, 3.1 %, and 100 % only where it is all.
 * @param {number | null} value from 0 to 1
 */
function share(value) {
  if (value === null) return "";
  if (value === 0) return "0 %";
  if (value === 1) return "100 %";
  return `${(100 * Math.min(WHOLE, Math.max(0.0001, value))).toFixed(value < 0.001 ? 2 : 1)} %`;
}
