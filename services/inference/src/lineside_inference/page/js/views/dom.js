// Elements found and made in one call. Text is always text: nothing that came from outside is read as HTML.

/** @typedef {{ [name: string]: unknown, data?: Record<string, string>, aria?: Record<string, string> }} Properties */
/** @typedef {Node | string | null | undefined} Child */

const SVG = "http://www.w3.org/2000/svg";

/**
 * The element of an id; raises where there is none, or one of another kind.
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [kind]
 * @returns {T}
 */
export function byId(id, kind) {
  const node = document.getElementById(id);
  if (!(node instanceof (kind ?? HTMLElement))) throw new Error(`the page has no ${kind?.name ?? "element"} #${id}`);
  return /** @type {T} */ (/** @type {unknown} */ (node));
}

/**
 * An element: properties are set, `data` and `aria` become attributes, children are nodes or text.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Properties} [properties]
 * @param {...Child} children
 */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  const { data = {}, aria = {}, ...rest } = properties;
  for (const [name, value] of Object.entries(rest)) {
    if (value !== undefined && value !== null) Object.assign(node, { [name]: value });
  }
  Object.assign(node.dataset, data);
  for (const [name, value] of Object.entries(aria)) node.setAttribute(`aria-${name}`, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/**
 * An SVG element with attributes.
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 */
export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/**
 * One of the shapes of index.html: pass, fail, unknown, off, none.
 * @param {string} name
 */
export const shape = (name) =>
  svg("svg", { class: "shape", "aria-hidden": "true", focusable: "false" }, svg("use", { href: `#shape-${name}` }));

/**
 * Fill a list of terms with pairs of name and value; those without a value are left out.
 * @param {Element} list
 * @param {Array<[string, Child]>} pairs
 */
export function facts(list, pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  list.replaceChildren(...shown.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/**
 * Put names into a select, "" as All, and choose one of them; options that are right already stay.
 * @param {HTMLSelectElement} select
 * @param {Array<string>} names
 * @param {string} chosen
 */
export function choices(select, names, chosen) {
  const shown = [...select.options].map((option) => option.value);
  if (shown.join("\n") !== names.join("\n")) {
    select.replaceChildren(...names.map((value) => el("option", { value }, value || "All")));
  }
  if (select.value !== chosen) select.value = chosen;
}

/**
 * Disable a button or not; where it holds the focus that goes `instead`, or no key would be heard any more.
 * @param {HTMLButtonElement} button
 * @param {boolean} isDisabled
 * @param {HTMLElement} instead
 */
export function disable(button, isDisabled, instead) {
  if (isDisabled && document.activeElement === button) instead.focus();
  button.disabled = isDisabled;
}

/**
 * Ask before something that touches the line; true for yes.
 * @param {{ title: string, text: string, yes: string, isDanger?: boolean }} question
 * @returns {Promise<boolean>}
 */
export function confirmed({ title, text, yes, isDanger = false }) {
  const dialog = byId("ask", HTMLDialogElement);
  byId("ask-title").textContent = title;
  byId("ask-text").textContent = text;
  byId("ask-yes").textContent = yes;
  byId("ask-yes").className = isDanger ? "primary stop" : "primary";
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** @param {string} text */
export const capital = (text) => text.replace(/^./, (letter) => letter.toUpperCase());

/**
 * A sentence in which what stands between backticks is a command.
 * @param {string} text
 */
export const sentence = (text) =>
  el("span", {}, ...`${capital(text)}.`.split("`").map((piece, at) => (at % 2 ? el("code", {}, piece) : piece)));
