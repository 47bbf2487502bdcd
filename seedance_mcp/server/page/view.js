// View: shows parts in the page. What is shown already stays in its place, so that a video plays on and focus is kept.
import { byId, setText } from "../../app/web/dom.js";

/** @typedef {import("./types").Part} Part */

const view = byId("view");

/**
 * Shows these parts and nothing else.
 * @param {Part[]} parts
 * @param {string} [jobId] Id of the job that they show.
 */
export function render(parts, jobId = "") {
  const focused = nameControl(document.activeElement);
  const nodes = keep(parts).map((part) => (typeof part === "string" ? document.createTextNode(part) : part));
  for (const node of [...view.childNodes]) if (!nodes.includes(node)) node.remove();
  let place = view.firstChild;
  for (const node of nodes) {
    if (node === place) place = node.nextSibling;
    else view.insertBefore(node, place);
  }
  view.dataset.job = jobId;
  setText(byId("status"), view.querySelector("h1")?.textContent ?? "");
  if (focused) focusControl((control) => nameControl(control) === focused);
}

/** Returns the id of the job that is shown. */
export function readShownJob() {
  return view.dataset.job ?? "";
}

/**
 * Returns the elements of the page that match a selector.
 * @param {string} selector
 */
export function findShown(selector) {
  return [.../** @type {NodeListOf<HTMLElement>} */ (view.querySelectorAll(selector))];
}

/**
 * Moves the focus to the first control that matches.
 * @param {(control: HTMLElement) => boolean} matches
 */
export function focusControl(matches) {
  findShown("button, a[href]").find(matches)?.focus();
}

/**
 * Leaves out the parts that are empty.
 * @param {Part[]} parts
 */
export function keep(parts) {
  return parts.flatMap((part) => part || []);
}

/**
 * Returns the words of a control of the page, or an empty text.
 * @param {Element | null} node
 */
function nameControl(node) {
  return node && node !== view && view.contains(node) ? node.getAttribute("aria-label") || node.textContent || "" : "";
}
