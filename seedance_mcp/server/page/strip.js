// Strip: the shots of a film, side by side. It fills while they are bought.
import { make } from "../../app/web/dom.js";
import { readSource } from "./pictures.js";
import { readObjects, readText, unquote } from "./values.js";
import { findShown } from "./view.js";

/** @typedef {import("./types").Data} Data */

/** @param {Data} film */
export function makeStrip(film) {
  return make("ul", "strip", ...readObjects(film.shots).map(makeShot));
}

/**
 * Returns why shots have no video, one text for each.
 * @param {Data} film
 */
export function listShotFailures(film) {
  return readObjects(film.shots).flatMap(({ error }, index) =>
    readText(error) ? [`Shot ${index + 1} failed: ${unquote(error)}`] : [],
  );
}

/**
 * @param {Data} shot
 * @param {number} index
 */
function makeShot(shot, index) {
  const jobId = readText(shot.job_id);
  const error = readText(shot.error);
  const cell = make("li", error ? "out" : jobId ? "" : "waiting", String(index + 1));
  const state = error ? `failed, ${unquote(error)}` : jobId ? "bought" : "not bought yet";
  cell.dataset.job = jobId;
  cell.title = `Shot ${index + 1}: ${state}`;
  cell.setAttribute("aria-label", cell.title);
  const picture = readSource(jobId, (loaded) => {
    // the strip may have been drawn anew meanwhile
    for (const place of findShown(".strip li"))
      if (place.dataset.job === jobId && !place.firstElementChild) fill(place, loaded);
  });
  if (picture) fill(cell, picture);
  return cell;
}

/**
 * @param {HTMLElement} cell
 * @param {string} source
 */
function fill(cell, source) {
  const picture = make("img");
  picture.alt = "";
  picture.src = source;
  cell.append(picture);
}
