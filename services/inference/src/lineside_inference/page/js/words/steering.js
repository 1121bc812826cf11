// Who steers the policy, in words for the person at the line.

/** @import { PolicyStanding } from "../documents.js" */

/** @type {Record<string, string>} */
const SOURCES = {
  shadow: "the device shadow",
  topic: "the policy topic",
  configuration: "the configuration",
};

/** @param {string} source */
const named = (source) => SOURCES[source] ?? source;

/**
 * Whose policy is in force, and what stands against a wish; empty where the topic-bridge does not say it.
 * @param {PolicyStanding | null} standing
 * @param {string | null} etag of the policy in force
 */
export function steering(standing, etag) {
  if (!standing) return "";
  return [inForce(standing, etag), ...waiting(standing), ...wrong(standing)].join(" ");
}

/**
 * @param {PolicyStanding} standing
 * @param {string | null} etag
 */
function inForce({ source, steering: those, etag: told }, etag) {
  const wishing = those.map(named).join(", then ");
  if (!those.length) return "Steered by this page and HTTP; no other source wishes anything.";
  if (source === "other" || (told && etag && told !== etag)) {
    return `Changed on this page or over HTTP, until the next change by ${wishing}.`;
  }
  return `Steered by ${wishing}: what is changed here holds until the next change there.`;
}

/** @param {PolicyStanding} standing */
const waiting = ({ awaited }) => awaited.map((source) => `Nothing is applied until ${named(source)} was read.`);

/** @param {PolicyStanding} standing */
const wrong = ({ errors }) =>
  Object.entries(errors).map(([source, found]) => `Refused, by ${named(source)}: ${found.join("; ")}.`);
