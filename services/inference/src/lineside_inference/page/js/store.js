// The parts that the page knows, newest last, as many as the service keeps; and who wants to hear of a change.

import { follow, get } from "./api.js";

const MOST = 400;
const SLOWEST_MS = 150; // no more redraws than eyes can follow

const listeners = new Set();
let waiting = false;

export const store = {
  parts: [],
  link: "wait",
  /** The service's clock less ours, in milliseconds. */
  ahead: 0,
  lostAt: null,
  lostWhy: "",
  /** What the service said of itself last: run, started, now, number, pictures_since. */
  about: null,
  /** Whether the list was read once. */
  loaded: false,
  /** Stations whose bridge says what the PLC got. */
  confirmed: new Set(),
};

/** Call now, and after every change, at most a few times a second. */
export function onChange(listener) {
  listeners.add(listener);
}

/** Now by the service's clock. */
export const now = () => Date.now() + store.ahead;

/** Whether the service still has a part's image: where parts came since it said so, as many images went. */
export function hasPicture(part) {
  if (!part.picture || !store.about) return false;
  const newest = store.parts.at(-1)?.number ?? 0;
  return part.number >= store.about.pictures_since + Math.max(0, newest - store.about.number);
}

/** Take what the service says of itself. */
export function learn(about) {
  store.ahead = Date.parse(about.now) - Date.now();
  store.about = about;
}

/** Find a part by its id. */
export const find = (id) => store.parts.find((part) => part.id === id);

/** Begin: follow the line for ever. */
export function start() {
  follow("/v1/events", {
    hello(about) {
      learn(about);
      if (!about.resumed || !store.loaded) load();
    },
    part(part) {
      add([part]);
    },
    state(link, reason = "") {
      if (link === "lost" && store.link !== "lost") store.lostAt = Date.now();
      store.link = link;
      store.lostWhy = reason;
      changed();
    },
  });
}

/** Tell the listeners soon. */
export function changed() {
  if (waiting) return;
  waiting = true;
  setTimeout(() => {
    waiting = false;
    for (const listener of listeners) listener();
  }, SLOWEST_MS);
}

async function load() {
  const begun = store.parts.length;
  try {
    const { parts, ...about } = await get(`/v1/parts?limit=${MOST}`);
    learn(about);
    // What came over the stream meanwhile is newer than the list's newest, or in it.
    const since = store.parts.slice(begun);
    store.parts = [];
    add([...parts.reverse(), ...since]);
    store.loaded = true;
  } catch (error) {
    console.info("the last parts could not be read:", error.message);
  }
  changed();
}

function add(more) {
  for (const part of more) {
    if (part.outcome?.station) store.confirmed.add(part.outcome.station);
    const last = store.parts.at(-1);
    if (!last || part.number > last.number) {
      store.parts.push(part);
      continue;
    }
    // What the PLC got comes after what was judged, or the other way round: the part is told again, whole.
    const at = store.parts.findIndex((it) => it.number === part.number);
    if (at >= 0) store.parts[at] = part;
  }
  if (store.parts.length > MOST) store.parts.splice(0, store.parts.length - MOST);
  changed();
}
