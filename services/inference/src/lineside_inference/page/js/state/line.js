// The parts that the page knows, newest last, and whether it follows the line; who wants to hear of a change.

/** @import { PartDocument, PartsDocument } from "../documents.js" */

/** @typedef {Pick<PartsDocument, "run" | "started" | "now" | "number" | "pictures_since">} About */

const MAX_PARTS = 400;
const SLOWEST_MS = 150; // no more redraws than eyes can follow

/** @type {Set<() => void>} */
const listeners = new Set();
let isWaiting = false;

export const line = {
  /** @type {Array<PartDocument>} */
  parts: [],
  /** @type {"wait" | "live" | "lost"} */
  link: "wait",
  /** When the connection was lost, by this clock, in milliseconds. */
  lostAt: 0,
  lostWhy: "",
  /** The service's clock less this one, in milliseconds. */
  ahead: 0,
  /** What the service said of itself last. @type {About | null} */
  about: null,
  /** Whether the list was read once. */
  isLoaded: false,
  /** Stations whose bridge says what the PLC got. @type {Set<string>} */
  confirmed: new Set(),
};

/**
 * Call after every change, at most a few times a second.
 * @param {() => void} listener
 */
export function onLine(listener) {
  listeners.add(listener);
}

/** Now by the service's clock, in milliseconds. */
export const now = () => Date.now() + line.ahead;

/**
 * The part of a request's id.
 * @param {string} id
 */
export const find = (id) => line.parts.find((part) => part.id === id);

/**
 * Whether the service still has a part's image: where parts came since it said so, as many images went.
 * @param {PartDocument} part
 */
export function hasImage(part) {
  if (!part.picture || !line.about) return false;
  const newest = line.parts.at(-1)?.number ?? 0;
  return part.number >= line.about.pictures_since + Math.max(0, newest - line.about.number);
}

/**
 * Take what the service says of itself.
 * @param {About} about
 */
export function learn(about) {
  line.ahead = Date.parse(about.now) - Date.now();
  line.about = about;
}

/**
 * Take whether the service can be followed, and why not.
 * @param {"live" | "lost"} link
 * @param {string} reason
 */
export function linked(link, reason) {
  if (link === "lost" && line.link !== "lost") line.lostAt = Date.now();
  line.link = link;
  line.lostWhy = reason;
  changed();
}

/**
 * Replace all parts by a list that was read, newest last, and by those that came since it was asked for.
 * @param {Array<PartDocument>} parts
 * @param {number} before how many parts were known when it was asked for
 */
export function loaded(parts, before) {
  const since = line.parts.slice(before);
  line.parts = [];
  line.isLoaded = true;
  add([...parts, ...since]);
}

/**
 * Take parts that came: new ones, and those that are known, with more to say of them.
 * @param {Array<PartDocument>} more
 */
export function add(more) {
  for (const part of more) {
    if (part.outcome?.station) line.confirmed.add(part.outcome.station);
    const last = line.parts.at(-1);
    if (!last || part.number > last.number) {
      line.parts.push(part);
      continue;
    }
    // What the PLC got comes after what was judged, or the other way round: the part is told again, whole.
    const at = line.parts.findIndex((it) => it.number === part.number);
    if (at >= 0) line.parts[at] = part;
  }
  if (line.parts.length > MAX_PARTS) line.parts.splice(0, line.parts.length - MAX_PARTS);
  changed();
}

function changed() {
  if (isWaiting) return;
  isWaiting = true;
  setTimeout(() => {
    isWaiting = false;
    for (const listener of listeners) listener();
  }, SLOWEST_MS);
}
