// Elements: makes parts of a page. Every text is set as text, never as markup: prompts and the studio's texts are untrusted.

/**
 * Returns the element with an id.
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`The page has no element ${id}`);
  return found;
}

/**
 * Makes an element with a class and what is inside it.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [name]
 * @param {...(Node | string)} inside
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function make(tag, name = "", ...inside) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  node.append(...inside);
  return node;
}

/**
 * Makes an element of a drawing.
 * @param {string} tag
 * @param {Record<string, string | number>} attributes
 * @param {string} [text]
 * @returns {SVGElement}
 */
export function draw(tag, attributes, text = "") {
  const node = /** @type {SVGElement} */ (document.createElementNS("http://www.w3.org/2000/svg", tag));
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, String(value));
  node.append(text);
  return node;
}

/**
 * Makes a button.
 * @param {string} text
 * @param {() => void} press
 * @param {string} [name]
 */
export function makeButton(text, press, name = "") {
  const node = make("button", name, text);
  node.type = "button";
  node.addEventListener("click", press);
  return node;
}

/**
 * Makes a link that opens elsewhere; only an http address becomes one.
 * @param {string} url
 * @param {string} text
 */
export function makeLink(url, text) {
  const node = make("a", "", text);
  if (/^https?:\/\//.test(url)) node.href = url;
  node.target = "_blank";
  node.rel = "noopener noreferrer";
  return node;
}

/**
 * Makes a picture that loads when it comes into view.
 * @param {string} source
 * @param {string} words For those who do not see it; empty for decoration.
 * @param {string} [name]
 */
export function makePicture(source, words, name = "") {
  const node = make("img", name);
  node.loading = "lazy";
  node.alt = words;
  node.src = source;
  return node;
}

/**
 * Sets a text only where it differs, so that nothing is announced twice.
 * @param {HTMLElement} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Returns the first element of a kind inside another one.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {HTMLElement} node
 * @param {Tag} tag
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function findIn(node, tag) {
  const found = node.querySelector(tag);
  if (!found) throw new Error(`The page has no ${tag} there`);
  return found;
}
