// Stage: the poster of a finished video, and the video once a person presses play.
import { make, makeButton } from "../../app/web/dom.js";
import { offers, request } from "./host.js";
import { findSource, fit } from "./pictures.js";
import { readList, readObject, readObjects, readText, readUrl, readVideo } from "./values.js";
import { findShown, readShownJob } from "./view.js";

/** @typedef {import("./types").Data} Data */
/** @typedef {() => Promise<string>} Source Returns an address of the video. */

/**
 * Returns null if there is neither a picture nor a video.
 * @param {Data} job
 * @param {string | null} poster
 */
export function makeStage(job, poster) {
  const jobId = readText(job.job_id);
  const playing = findShown(".stage").find((shown) => shown.querySelector("video"));
  if (playing && readShownJob() === jobId) return playing;
  const stage = make("figure", "stage");
  const opening = readText(readObjects(job.shots)[0]?.job_id); // a film has no poster but the picture of its first shot
  const image = poster || readUrl(job.thumbnail_url) || findSource(opening);
  if (image) stage.append(makePoster(stage, image));
  const sources = listSources(job);
  if (!sources.length) return image ? stage : null;
  const press = makeButton("", () => play(stage, press, sources));
  press.append(make("span", "play"));
  press.setAttribute("aria-label", "Play the video");
  stage.append(press);
  return stage;
}

/**
 * @param {HTMLElement} stage
 * @param {string} image
 */
function makePoster(stage, image) {
  const picture = make("img");
  picture.alt = "";
  picture.addEventListener("error", () => picture.remove());
  fit(stage, picture);
  picture.src = image;
  return picture;
}

/**
 * Returns the studio's address if the host lets it load, and then the saved file through the host.
 * @param {Data} job
 * @returns {Source[]}
 */
function listSources(job) {
  /** @type {Source[]} */
  const sources = [];
  const url = readUrl(job.video_url);
  if (url) sources.push(async () => url);
  if (offers("serverResources") && readText(job.file)) sources.push(() => loadVideo(readText(job.job_id)));
  return sources;
}

/**
 * Plays the first source that works; if none does, the page says so.
 * @param {HTMLElement} stage
 * @param {HTMLElement} press
 * @param {Source[]} sources
 */
function play(stage, press, sources) {
  const video = make("video");
  video.controls = video.playsInline = video.loop = true;
  async function next() {
    const source = sources.shift();
    if (!source) {
      video.remove();
      press.remove();
      stage.append(make("p", "", "This host does not play the video here."));
      return;
    }
    try {
      video.src = await source();
    } catch {
      return next();
    }
    video.play().catch(() => {}); // without autoplay there are controls; a load failure is an error event
  }
  video.addEventListener("error", next);
  stage.append(video);
  video.focus();
  press.hidden = true;
  next();
}

/** @param {string} jobId */
async function loadVideo(jobId) {
  const answer = await request("resources/read", { uri: `seedance://videos/${encodeURIComponent(jobId)}` });
  const { blob, mimeType } = readObject(readList(answer.contents)[0]);
  const video = readVideo(blob, mimeType);
  if (!video) throw new Error("no video");
  return video;
}
