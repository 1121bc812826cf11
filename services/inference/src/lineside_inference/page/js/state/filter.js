// Which parts are shown: of which station, and with which verdicts.

import { line } from "./line.js";

/** @typedef {"all" | "bad" | "fail" | "unknown"} Choice */

/** @type {Record<Choice, Array<string>>} */
const VERDICTS = { all: ["pass", "fail", "unknown"], bad: ["fail", "unknown"], fail: ["fail"], unknown: ["unknown"] };

export const filter = {
  /** @type {Choice} */
  verdicts: "all",
  /** The chosen station, or "" for all. */
  station: "",
};

/** The newest part of the chosen station. */
export const newest = () => line.parts.findLast((part) => isOfStation(part.station));

/** The parts that pass the filter, newest first. */
export function filtered() {
  const verdicts = VERDICTS[filter.verdicts];
  return line.parts.filter((part) => verdicts.includes(part.verdict) && isOfStation(part.station)).reverse();
}

/** The stations of the parts that are known. */
export const stations = () => [...new Set(line.parts.flatMap((part) => part.station ?? []))].sort();

/** @param {string | null} station */
const isOfStation = (station) => !filter.station || station === filter.station;
