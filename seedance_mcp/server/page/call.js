// Call: the tool and the arguments that the result on the page belongs to.
import { make } from "../../app/web/dom.js";
import { readContext } from "./host.js";
import { readList, readObject, readObjects, readPicture, readText } from "./values.js";

/** @typedef {import("./types").Data} Data */

const SEPARATOR = " · ";

/** @type {Data} */
let requested = {};

/** @param {Data} call */
export function setRequested(call) {
  requested = call;
}

/** Returns the name of the tool that was called, or an empty text. */
export function readTool() {
  return readText(readObject(readObject(readContext().toolInfo).tool).name);
}

/** Returns the picture of the call, if it is in the call itself. */
export function readRequestedPicture() {
  return readPicture(requested.image);
}

/** Returns the tool that buys what was quoted. */
export function nameBuyingTool() {
  return readList(requested.shots).length ? "animate_storyboard" : "animate_image";
}

/** Returns the prompt, or those of a film's shots. */
export function makePrompt() {
  const prompts = readObjects(requested.shots).map((shot) => readText(shot.prompt));
  const text = readText(requested.prompt) || readText(prompts.filter(Boolean).join(SEPARATOR));
  return text ? make("p", "prompt", text) : null;
}

/** Returns number of shots, model, duration and resolution, as far as the call names them. */
export function nameSize() {
  const shots = readList(requested.shots).length;
  const seconds = Number.isInteger(requested.duration) ? `${requested.duration} s` : "";
  const parts = [shots ? `${shots} shots` : "", readText(requested.model), seconds, readText(requested.resolution)];
  return parts.filter(Boolean).join(SEPARATOR);
}
