// Pictures: the pictures that videos are made of. The server has a small copy of each, which is asked for once.
import { make } from "../../app/web/dom.js";
import { offers, request } from "./host.js";
import { readList, readObject, readPicture } from "./values.js";

/** @type {Map<string, string | null>} */
const pictures = new Map();

/**
 * Returns the small copy of a job's picture if it is here.
 * @param {string} jobId
 */
export function findSource(jobId) {
  return pictures.get(jobId) ?? null;
}

/**
 * Returns the small copy if it is here; if not, asks for it and passes it on later.
 * @param {string} jobId
 * @param {(picture: string) => void} show
 */
export function readSource(jobId, show) {
  if (!jobId || !offers("serverResources")) return null;
  if (!pictures.has(jobId)) {
    pictures.set(jobId, null);
    loadSource(jobId).then(
      (picture) => picture && show(picture),
      () => {},
    );
  }
  return findSource(jobId);
}

/**
 * Makes the picture of a video that is being made.
 * @param {string | null} source
 */
export function makeSource(source) {
  if (!source) return null;
  const picture = make("img");
  const stage = make("figure", "stage source", picture, make("figcaption", "", "The first frame"));
  picture.alt = "The picture that the video is made of";
  picture.addEventListener("error", () => stage.remove());
  fit(stage, picture);
  picture.src = source;
  return stage;
}

/**
 * Gives a stage the shape of its picture once that is known.
 * @param {HTMLElement} stage
 * @param {HTMLImageElement} picture
 */
export function fit(stage, picture) {
  picture.addEventListener("load", () => {
    stage.style.aspectRatio = `${picture.naturalWidth} / ${picture.naturalHeight}`;
  });
}

/** @param {string} jobId */
async function loadSource(jobId) {
  const answer = await request("resources/read", { uri: `seedance://pictures/${encodeURIComponent(jobId)}` });
  const { blob } = readObject(readList(answer.contents)[0]);
  const picture = readPicture(`data:image/jpeg;base64,${blob}`);
  pictures.set(jobId, picture);
  return picture;
}
