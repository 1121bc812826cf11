// How the whole line stands, from the PLC to Triton, as it was read last.

/** @import { ChainDocument, EngineDocument, PolicyStanding } from "../documents.js" */

/**
 * One link of the line: `text` goes on after its name, `more` is said below it, `stops` is what cannot be done for want
 * of it now.
 * @typedef {object} Link
 * @property {string} name
 * @property {"good" | "wait" | "bad" | "off"} state
 * @property {string} text
 * @property {string} more
 * @property {string} [stops]
 * @property {boolean} [isPaused]
 */

export const chain = {
  /** From the PLC on. @type {Array<Link>} */
  links: [],
  isReady: false,
  /** Whether the service is stopping. */
  isDraining: false,
  /** @type {EngineDocument | null} */
  engine: null,
  /** Who steers the policy, where the topic-bridge says it. @type {PolicyStanding | null} */
  steering: null,
};

/** The links for want of which a part cannot be judged now, the nearest to the PLC first. */
export const stopping = () => chain.links.filter((link) => link.stops);

/** Whether a part could not be judged now. */
export const isStopped = () => stopping().length > 0;

/**
 * Who steers the policy, as the topic-bridge told last; null where it did not.
 * @param {ChainDocument} document
 */
export const steeringOf = ({ services }) => services.find((it) => it.service === "topic_bridge")?.policy ?? null;
