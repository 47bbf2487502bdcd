// The page: shows what the host tells it. It calls get_job and reads pictures and videos; it never calls a tool that spends.
import { make, makeButton } from "../../app/web/dom.js";
import { setRequested } from "./call.js";
import { makeNote, makeTitle } from "./elements.js";
import { makeFailure } from "./failure.js";
import { follow, stopFollowing } from "./following.js";
import { adopt, announceReady, connect } from "./host.js";
import { makeJob } from "./job.js";
import { makeList } from "./list.js";
import { markProfile } from "./money.js";
import { makeQuote } from "./quote.js";
import { askJob, findPoster, readData, STATES } from "./results.js";
import { readObject, readText, unquote } from "./values.js";
import { focusControl, render } from "./view.js";
import { makeCancelled, makeWaiting } from "./waiting.js";

/** @typedef {import("./types").Data} Data */
/** @typedef {import("./types").JobAnswer} JobAnswer */

let hasResult = false;

/** @param {Data} result */
function showResult(result) {
  const data = readData(result);
  hasResult = true;
  stopFollowing();
  if (data && Array.isArray(data.offers)) render(makeQuote(data));
  else if (data && Array.isArray(data.jobs)) showList(data);
  else if (data && STATES.has(data.status)) showJob({ job: data, poster: findPoster(result) });
  else render(makeFailure(result));
}

/**
 * Shows a job, and each news of it.
 * @param {JobAnswer} answer
 * @param {Node | null} back
 */
function showJob(answer, back = null) {
  /** @param {JobAnswer} news */
  function show({ job, poster }) {
    render(makeJob(job, poster, back), readText(job.job_id));
  }
  show(answer);
  follow(answer.job, show);
}

/** @param {Data} list */
function showList(list) {
  render(makeList(list, (job) => openJob(job, list)));
}

/**
 * Opens a job of the list, with a way back.
 * @param {Data} job
 * @param {Data} list
 */
async function openJob(job, list) {
  const jobId = readText(job.job_id);
  const answer = await askJob(jobId, 0);
  const back = makeButton("All videos", leave, "plain quiet");
  function leave() {
    stopFollowing();
    showList(list);
    focusControl((control) => control.dataset.job === jobId);
  }
  setRequested({ prompt: unquote(job.prompt) });
  showJob(answer, make("p", "", back));
  back.focus();
}

function showCancelled() {
  hasResult = true;
  stopFollowing();
  render(makeCancelled());
}

/** @param {Data} call */
function showCall(call) {
  setRequested(readObject(call.arguments));
  showWaiting();
}

function showWaiting() {
  if (!hasResult) render(makeWaiting());
}

async function begin() {
  markProfile();
  showWaiting();
  await connect({
    "ui/notifications/tool-input": showCall,
    "ui/notifications/tool-result": showResult,
    "ui/notifications/tool-cancelled": showCancelled,
    "ui/notifications/host-context-changed": adopt,
  });
  showWaiting();
  announceReady();
}

begin().catch(() => render([makeTitle("Nothing to show"), makeNote("The host did not answer this page.")]));
