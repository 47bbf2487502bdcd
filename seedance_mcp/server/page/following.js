// Following: asks the server for a running job while the page may be visible, one request at a time.
import { hasEnded, offers } from "./host.js";
import { askJob, isRunning, isUnsaved } from "./results.js";
import { readText } from "./values.js";

/** @typedef {import("./types").Data} Data */
/** @typedef {import("./types").JobAnswer} JobAnswer */

const WAIT_SECONDS = 15;
const PAUSE_MS = 3000;
const ROUNDS_MAX = 80;
const FAILURES_MAX = 3;
const SAVES_MAX = 2;

/** The job that is followed; another object means that it is another one. */
let followed = {};

export function stopFollowing() {
  followed = {};
}

/**
 * Shows each news of a job until it is saved or has failed.
 * @param {Data} job
 * @param {(answer: JobAnswer) => void} show
 */
export async function follow(job, show) {
  const jobId = readText(job.job_id);
  if (!offers("serverTools") || !jobId) return;
  const mine = (followed = {});
  let failures = 0;
  let saves = 0;
  for (let round = 0; round < ROUNDS_MAX && failures < FAILURES_MAX; round++) {
    if (!isRunning(job) && !(isUnsaved(job) && saves++ < SAVES_MAX)) return;
    await pause(PAUSE_MS * 2 ** failures);
    if (hasEnded() || followed !== mine) return;
    try {
      const answer = await askJob(jobId, WAIT_SECONDS);
      if (hasEnded() || followed !== mine) return;
      failures = 0;
      job = answer.job;
      show(answer);
    } catch {
      failures += 1;
    }
  }
}

/**
 * Waits this long, and until the page is visible.
 * @param {number} ms
 * @returns {Promise<void>}
 */
function pause(ms) {
  return new Promise((resolve) => {
    setTimeout(() => {
      if (document.visibilityState !== "hidden") resolve();
      else document.addEventListener("visibilitychange", () => resolve(), { once: true });
    }, ms);
  });
}
