// Job: one video or film, from its order to its file.
import { make } from "../../app/web/dom.js";
import { makePrompt, nameSize, readRequestedPicture } from "./call.js";
import {
  makeActions,
  makeBar,
  makeFacts,
  makeHostLink,
  makeMessageButton,
  makeNote,
  makeNotes,
  makeTitle,
} from "./elements.js";
import { offers } from "./host.js";
import { markNetwork, nameNetwork } from "./money.js";
import { makeSource, readSource } from "./pictures.js";
import { isRunning, STATES } from "./results.js";
import { makeStage } from "./stage.js";
import { listShotFailures, makeStrip } from "./strip.js";
import { readObject, readText, readUsd, unquote } from "./values.js";
import { findShown, readShownJob } from "./view.js";

/** @typedef {import("./types").Data} Data */
/** @typedef {import("./types").Part} Part */

const HASH_LENGTH_MAX = 16;

/**
 * @param {Data} job
 * @param {string | null} poster
 * @param {Node | null} back A line that leads back.
 * @returns {Part[]}
 */
export function makeJob(job, poster, back) {
  const running = isRunning(job);
  const failed = job.status === "failed";
  const bought = readText(job.job_id) !== "";
  const percent = Number.isInteger(job.progress) ? Number(job.progress) : 0;
  const paid = readUsd(job.price_usd) && `${readUsd(job.price_usd)} paid`;
  const file = readText(job.file);
  markNetwork(readObject(job.receipt).network);
  return [
    back,
    Array.isArray(job.shots) ? makeStrip(job) : null,
    job.status === "complete" ? makeStage(job, poster) : running ? makeSource(findPicture(job)) : null,
    make(
      "div",
      "head",
      makeTitle(nameTitle(job), failed ? "bad" : ""),
      make("span", "quiet", running && bought ? `${percent} %` : paid),
    ),
    running ? makeBar(bought && percent ? percent : null) : null,
    makePrompt(),
    makeFacts(nameSize(), running ? paid : "", ...makeReceipt(readObject(job.receipt))),
    failed ? makeNote(unquote(job.error), "long") : null,
    makeNotes(listShotFailures(job)),
    bought || failed ? null : makeNote(readText(job.next_step)),
    makeNotes(job.notes),
    file ? make("p", "quiet", "Saved as ", make("code", "", file)) : null,
    makeActions(makeHostLink("Open the video", job.video_url, "button"), running ? makeProgressButton(job) : null),
  ];
}

/** @param {Data} job */
function nameTitle(job) {
  const failed = job.status === "failed";
  if (failed && Array.isArray(job.shots)) return "The film has stopped";
  return failed || readText(job.job_id) ? (STATES.get(job.status) ?? "") : "On its way";
}

/**
 * @param {Data} receipt
 * @returns {Part[]}
 */
function makeReceipt(receipt) {
  const hash = readText(receipt.transaction);
  if (!hash) return [nameNetwork(receipt.network)];
  const short = hash.length > HASH_LENGTH_MAX ? `${hash.slice(0, 8)}…${hash.slice(-6)}` : hash;
  const words = `receipt ${short}`;
  return [nameNetwork(receipt.network), makeHostLink(words, receipt.explorer_url) ?? words];
}

/**
 * Makes the button that asks for news, for a host whose pages may not ask the server.
 * @param {Data} job
 */
function makeProgressButton(job) {
  if (offers("serverTools")) return null;
  return makeMessageButton("Ask for its progress", `Please call get_job for ${readText(job.job_id)}.`);
}

/**
 * Returns the picture of a running job; one that comes later is put in its place.
 * @param {Data} job
 */
function findPicture(job) {
  const jobId = readText(job.job_id);
  const given = readRequestedPicture();
  if (given || Array.isArray(job.shots)) return given;
  return readSource(jobId, (picture) => {
    const [head] = findShown(".head");
    const source = makeSource(picture);
    if (head && source && readShownJob() === jobId && !findShown(".stage").length) head.before(source);
  });
}
