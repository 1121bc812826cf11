// The service over HTTP: JSON asked and answered, images, and the token where one is needed.

/** @import { ProblemDocument } from "../documents.js" */

const KEY = "lineside.token";
const MAX_IMAGES = 80;

let token = sessionStorage.getItem(KEY);
/** @type {Promise<void> | null} */
let asking = null;
/** @type {(wasWrong: boolean) => Promise<string>} */
let askToken = async () => "";
/** Addresses of images that were fetched with a token, by path, the oldest first. @type {Map<string, string>} */
const images = new Map();

/** What the service refused, in its own words. */
export class Refusal extends Error {
  /**
   * @param {number} status of HTTP
   * @param {ProblemDocument | null} problem
   */
  constructor(status, problem) {
    super(problem?.detail ?? `The service answered ${status}.`);
    this.status = status;
    this.errors = problem?.errors ?? [];
  }
}

/**
 * Name who asks the person for a token; `wasWrong` is whether the one before was not known.
 * @param {(wasWrong: boolean) => Promise<string>} asker
 */
export function onTokenNeeded(asker) {
  askToken = asker;
}

/**
 * Ask once; where a token is needed it is asked for, and the request is made again.
 * @param {string} path
 * @param {RequestInit} [options]
 * @returns {Promise<Response>}
 */
export async function call(path, options = {}) {
  const headers = new Headers(options.headers);
  const used = token;
  if (used) headers.set("Authorization", `Bearer ${used}`);
  const answer = await fetch(path, { cache: "no-store", ...options, headers });
  if (answer.status !== 401) return answer;
  if (token === used) await newToken(Boolean(used));
  return call(path, options);
}

/**
 * Body and headers of the answer of a JSON route; raises Refusal.
 * @param {string} path
 * @param {RequestInit} [options]
 */
export async function ask(path, options = {}) {
  const answer = await call(path, options);
  const kind = answer.headers.get("content-type") ?? "";
  const body = kind.includes("json") ? await answer.json() : null;
  if (!answer.ok) throw new Refusal(answer.status, body);
  return { body, headers: answer.headers };
}

/**
 * The answer of a JSON route; raises Refusal.
 * @param {string} path
 */
export const get = async (path) => (await ask(path)).body;

/**
 * The answer of a JSON route that takes JSON; raises Refusal.
 * @param {"POST" | "PUT"} method
 * @param {string} path
 * @param {unknown} document
 * @param {Record<string, string>} [headers]
 */
export const send = async (method, path, document, headers = {}) =>
  (
    await ask(path, {
      method,
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(document),
    })
  ).body;

/**
 * The address of an image for <img>; with a token it is fetched first.
 * @param {string} path
 */
export async function image(path) {
  if (!token) return path;
  const known = images.get(path);
  if (known) return known;
  const answer = await call(path, { cache: "default" });
  if (!answer.ok) throw new Refusal(answer.status, null);
  const address = URL.createObjectURL(await answer.blob());
  images.set(path, address);
  for (const [oldest, old] of images) {
    if (images.size <= MAX_IMAGES) break;
    URL.revokeObjectURL(old);
    images.delete(oldest);
  }
  return address;
}

/** @param {boolean} wasWrong */
function newToken(wasWrong) {
  asking ??= askToken(wasWrong).then((given) => {
    token = given;
    sessionStorage.setItem(KEY, given);
    asking = null;
  });
  return asking;
}
