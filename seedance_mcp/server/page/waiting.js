// Waiting: what is shown before there is a result, and after a call that was cancelled.
import { makeBar, makeFacts, makeNote, makeTitle } from "./elements.js";
import { makePrompt, nameSize, readRequestedPicture, readTool } from "./call.js";
import { makeSource } from "./pictures.js";

/** @typedef {import("./types").Part} Part */

/** @type {Map<string, string>} */
const ACTIVITIES = new Map([
  ["quote_price", "Requesting the price"],
  ["animate_image", "Making the video"],
  ["animate_storyboard", "Making the film"],
  ["get_job", "Reading the job"],
  ["list_jobs", "Reading the jobs"],
]);

/** @returns {Part[]} */
export function makeWaiting() {
  const title = makeTitle(ACTIVITIES.get(readTool()) ?? "One moment");
  return [makeSource(readRequestedPicture()), title, makePrompt(), makeFacts(nameSize()), makeBar(null)];
}

/** @returns {Part[]} */
export function makeCancelled() {
  const spends = readTool().startsWith("animate_");
  const words = "A purchase that had begun goes on; the same call joins it and pays nothing twice.";
  return [makeTitle("The call was cancelled"), makeNote(spends ? words : "")];
}
