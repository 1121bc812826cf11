// The parts as they come: the last ones as a list, then each by server-sent events, for ever.

import { add, learn, line, linked, loaded } from "../state/line.js";
import { call, get, Refusal } from "./http.js";

/** @import { PartsDocument } from "../documents.js" */

/** @typedef {{ event?: string, id?: string, data?: string }} Fields */

const MAX_PARTS = 400;
const SILENCE_MS = 40_000; // two heartbeats and a little
const SLOWEST_MS = 5000;
const FASTEST_MS = 250;

/** Follow the line: connect, take what comes, and connect again when the connection ends. */
export async function follow() {
  let last = "";
  for (let failures = 0; ; failures += 1) {
    const stop = new AbortController();
    let reason = "";
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let watch;
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => stop.abort(), SILENCE_MS);
    };
    try {
      alive();
      const headers = last ? { "Last-Event-ID": last } : undefined;
      const answer = await call("/v1/events", { headers, signal: stop.signal });
      if (!answer.ok || !answer.body) throw new Refusal(answer.status, await answer.json().catch(() => null));
      linked("live", "");
      failures = 0;
      let rest = "";
      for await (const piece of pieces(answer.body)) {
        alive();
        const events = (rest + piece).split("\n\n");
        rest = events.pop() ?? "";
        for (const event of events) last = take(fieldsOf(event)) ?? last;
      }
    } catch (error) {
      reason = error instanceof Refusal ? error.message : "";
      console.info("the stream ended:", error);
    } finally {
      clearTimeout(watch);
    }
    linked("lost", reason);
    const wait = Math.min(SLOWEST_MS, FASTEST_MS * 2 ** failures);
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/**
 * The text of a body in the pieces in which it comes.
 * @param {ReadableStream<Uint8Array>} body
 */
async function* pieces(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield decoder.decode(value, { stream: true });
  }
}

/**
 * The fields of one event; lines without a name are comments.
 * @param {string} event
 * @returns {Fields}
 */
function fieldsOf(event) {
  /** @type {Record<string, string>} */
  const fields = {};
  for (const text of event.split("\n")) {
    const at = text.indexOf(": ");
    if (at > 0) fields[text.slice(0, at)] = text.slice(at + 2);
  }
  return fields;
}

/**
 * Take one event, and return its id.
 * @param {Fields} fields
 */
function take({ event, id, data }) {
  const document = data ? JSON.parse(data) : null;
  if (event === "hello") {
    learn(document);
    // Where the service has all that was missed, that comes as events.
    if (!document.resumed || !line.isLoaded) load();
  }
  if (event === "part") add([document]);
  return id;
}

async function load() {
  const before = line.parts.length;
  try {
    /** @type {PartsDocument} */
    const document = await get(`/v1/parts?limit=${MAX_PARTS}`);
    learn(document);
    // What came over the stream meanwhile is newer than the list's newest, or in it.
    loaded(document.parts.reverse(), before);
  } catch (error) {
    console.info("the last parts could not be read:", error);
  }
}
