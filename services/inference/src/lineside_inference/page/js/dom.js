// Elements made in one call. Text is always text: nothing that came from outside is read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** The element of an id. */
export const byId = (id) => document.getElementById(id);

/** An element: properties are set, `data` and `aria` become attributes, children are nodes or text. */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === "data") Object.assign(node.dataset, value);
    else if (name === "aria") for (const [key, said] of Object.entries(value)) node.setAttribute(`aria-${key}`, said);
    else node[name] = value;
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An SVG element with attributes. */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** One of the shapes of index.html: pass, fail, unknown, off, none. */
export const shape = (name) =>
  svg("svg", { class: "shape", "aria-hidden": "true", focusable: "false" }, svg("use", { href: `#shape-${name}` }));

/** A list of terms: pairs of name and value; those without a value are left out. */
export function facts(list, pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  list.replaceChildren(...shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/** Disable a button or not; where it holds the focus that goes `instead`, or no key would be heard any more. */
export function disable(button, isDisabled, instead) {
  if (isDisabled && document.activeElement === button) instead.focus();
  button.disabled = isDisabled;
}

/** Ask before something that touches the line; true for yes. */
export function confirmed({ title, text, yes, danger = false }) {
  const dialog = byId("ask");
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = text;
  byId("ask-yes").textContent = yes;
  byId("ask-yes").className = danger ? "primary stop" : "primary";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
