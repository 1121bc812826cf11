// The service's HTTP face: JSON asked and answered, images, and the stream of events.

import { byId } from "./dom.js";

const SILENCE_MS = 40_000; // two heartbeats and a little
const KEEP_IMAGES = 80;

let token = sessionStorage.getItem("lineside.token");
let asking = null;
const images = new Map();

/** What the service refused, in its own words. */
export class Refusal extends Error {
  constructor(status, body) {
    super(body?.detail ?? `The service answered ${status}.`);
    this.status = status;
    this.code = body?.code;
    this.errors = body?.errors;
  }
}

/** Ask once; where a token is needed it is asked for, and the request is made again. */
export async function call(path, options = {}) {
  const headers = new Headers(options.headers);
  const used = token;
  if (used) headers.set("Authorization", `Bearer ${used}`);
  const answer = await fetch(path, { cache: "no-store", ...options, headers });
  if (answer.status !== 401) return answer;
  if (token === used) await askToken(Boolean(used));
  return call(path, options);
}

/** Answer and headers of a JSON route; raises Refusal. */
export async function ask(path, options = {}) {
  const answer = await call(path, options);
  const kind = answer.headers.get("content-type") ?? "";
  const body = kind.includes("json") ? await answer.json() : null;
  if (!answer.ok) throw new Refusal(answer.status, body);
  return { body, headers: answer.headers };
}

export const get = async (path) => (await ask(path)).body;

/** The address of an image for <img>; with a token it is fetched first. */
export async function image(path) {
  if (!token) return path;
  if (!images.has(path)) {
    const answer = await call(path, { cache: "default" });
    if (!answer.ok) throw new Refusal(answer.status, null);
    images.set(path, URL.createObjectURL(await answer.blob()));
    if (images.size > KEEP_IMAGES) {
      const [oldest, address] = images.entries().next().value;
      URL.revokeObjectURL(address);
      images.delete(oldest);
    }
  }
  return images.get(path);
}

/** Follow server-sent events for ever: `on.hello`, `on.part`, `on.state("live" | "lost", reason)`. */
export async function follow(path, on) {
  let last = "";
  for (let failures = 0; ; failures += 1) {
    const stop = new AbortController();
    let watch = null;
    let reason = "";
    const alive = () => {
      clearTimeout(watch);
      watch = setTimeout(() => stop.abort(), SILENCE_MS);
    };
    try {
      alive();
      const answer = await call(path, { headers: last ? { "Last-Event-ID": last } : {}, signal: stop.signal });
      if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => null));
      on.state("live");
      failures = 0;
      let rest = "";
      for await (const piece of chunks(answer.body.pipeThrough(new TextDecoderStream()))) {
        alive();
        const events = (rest + piece).split("\n\n");
        rest = events.pop();
        for (const event of events) last = tell(event, on) ?? last;
      }
    } catch (error) {
      reason = error instanceof Refusal ? error.message : "";
      console.info("the stream ended:", error.message);
    } finally {
      clearTimeout(watch);
    }
    on.state("lost", reason);
    await new Promise((resolve) => setTimeout(resolve, Math.min(5000, 250 * 2 ** failures)));
  }
}

async function* chunks(stream) {
  const reader = stream.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

function tell(event, on) {
  const fields = {};
  for (const line of event.split("\n")) {
    const at = line.indexOf(": ");
    if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
  }
  if (fields.event) on[fields.event]?.(JSON.parse(fields.data));
  return fields.id;
}

function askToken(wasWrong) {
  asking ??= new Promise((resolve) => {
    byId("token-said").textContent = wasWrong ? "The service does not know this token." : "";
    const dialog = byId("token");
    dialog.showModal();
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    byId("token-form").onsubmit = () => {
      token = byId("token-value").value.trim();
      sessionStorage.setItem("lineside.token", token);
      byId("token-value").value = "";
      asking = null;
      resolve();
    };
  });
  return asking;
}
