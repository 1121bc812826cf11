// Which view is shown, by the address's #.

export const VIEWS = /** @type {const} */ (["line", "thresholds", "models", "try", "health"]);

/** @typedef {typeof VIEWS[number]} View */

export const view = {
  /** @type {View} */
  name: "line",
};

/** Take the view that the address names; the line where it names none. */
export function follow() {
  const asked = location.hash.slice(1);
  view.name = VIEWS.find((name) => name === asked) ?? "line";
}
