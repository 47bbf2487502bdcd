// Elements: the small parts that several views have in common.
import { make, makeButton } from "../../app/web/dom.js";
import { offers, request } from "./host.js";
import { readText, readUrl } from "./values.js";
import { keep } from "./view.js";

/** @typedef {import("./types").Part} Part */

const BAR_LEAST_PERCENT = 2;

/**
 * @param {string} text
 * @param {string} [name]
 */
export function makeTitle(text, name = "") {
  return make("h1", name, text);
}

/**
 * @param {string} text
 * @param {string} [name]
 */
export function makeNote(text, name = "quiet long") {
  return text ? make("p", name, text) : null;
}

/** @param {...unknown} lines */
export function makeNotes(...lines) {
  const kept = lines.flat().map(readText).filter(Boolean);
  return kept.length ? make("ul", "quiet long", ...kept.map((line) => make("li", "", line))) : null;
}

/** @param {...Part} parts */
export function makeFacts(...parts) {
  const kept = keep(parts);
  return kept.length ? make("p", "facts quiet", ...kept.map((part) => make("span", "", part))) : null;
}

/** @param {...(Node | null)} parts */
export function makeActions(...parts) {
  const kept = keep(parts);
  return kept.length ? make("div", "actions", ...kept) : null;
}

/**
 * Makes a bar of progress; it slides if the progress is not known.
 * @param {number | null} percent
 */
export function makeBar(percent) {
  const fill = make("i");
  if (percent !== null) fill.style.width = `${Math.min(100, Math.max(BAR_LEAST_PERCENT, percent))}%`;
  const bar = make("div", percent === null ? "bar unknown" : "bar", fill);
  bar.setAttribute("aria-hidden", "true");
  return bar;
}

/**
 * Makes a link that the host opens; if it does not, the link becomes its address as text.
 * @param {string} text
 * @param {unknown} address
 * @param {string} [name]
 */
export function makeHostLink(text, address, name = "") {
  const url = readUrl(address);
  if (!url) return null;
  const node = make("a", name, text);
  node.href = url;
  node.target = "_blank";
  node.rel = "noopener noreferrer";
  node.addEventListener("click", (event) => {
    if (!offers("openLinks")) return;
    event.preventDefault();
    request("ui/open-link", { url }).catch(() => {
      node.removeAttribute("href");
      node.textContent = url;
    });
  });
  return node;
}

/**
 * Marks a button as busy and returns true, or false if it was. A disabled one would lose the focus.
 * @param {HTMLElement} button
 */
export function occupy(button) {
  if (button.hasAttribute("aria-disabled")) return false;
  button.setAttribute("aria-disabled", "true");
  return true;
}

/** @param {HTMLElement} button */
export function release(button) {
  button.removeAttribute("aria-disabled");
}

/**
 * Makes a button that asks the host to send a message, which a model then reads and a person may refuse.
 * @param {string} text
 * @param {string} message
 * @param {string} [name]
 */
export function makeMessageButton(text, message, name = "") {
  if (!offers("message")) return null;
  const node = makeButton(text, press, name);
  async function press() {
    if (!occupy(node)) return;
    try {
      const answer = await request("ui/message", { role: "user", content: [{ type: "text", text: message }] });
      if (answer.isError) throw new Error("refused");
      node.textContent = "Asked";
    } catch {
      release(node);
    }
  }
  return node;
}
