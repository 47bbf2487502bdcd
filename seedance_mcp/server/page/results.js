// Results: reads jobs from the results of tools, and asks the server for one.
import { request } from "./host.js";
import { readObject, readObjects, readPicture, readText } from "./values.js";

/** @typedef {import("./types").Data} Data */
/** @typedef {import("./types").JobAnswer} JobAnswer */

/** @type {Map<unknown, string>} */
export const STATES = new Map([
  ["pending", "Waiting at the studio"],
  ["loading", "In the making"],
  ["complete", "Finished"],
  ["failed", "Failed at the studio"],
]);

/**
 * Returns the data of a result, also if the host forwards only its text.
 * @param {Data} result
 * @returns {Data | null}
 */
export function readData(result) {
  if (result.structuredContent) return readObject(result.structuredContent);
  try {
    return readObject(JSON.parse(findText(result)));
  } catch {
    return null;
  }
}

/** @param {Data} result */
export function findText(result) {
  const text = findContent(result, "text").text;
  return typeof text === "string" ? text : "";
}

/** @param {Data} result */
export function findPoster(result) {
  const image = findContent(result, "image");
  return image.mimeType === "image/jpeg" ? readPicture(`data:image/jpeg;base64,${image.data}`) : null;
}

/** @param {Data} job */
export function isRunning(job) {
  return job.status === "pending" || job.status === "loading";
}

/** @param {Data} job */
export function isUnsaved(job) {
  const pruned = readText(job.next_step).includes("deleted later because of its age");
  return job.status === "complete" && !job.file && !pruned;
}

/**
 * Asks the server for a job.
 * @param {string} jobId
 * @param {number} waitSeconds
 * @returns {Promise<JobAnswer>}
 */
export async function askJob(jobId, waitSeconds) {
  const params = { name: "get_job", arguments: { job_id: jobId, wait_seconds: waitSeconds } };
  const result = await request("tools/call", params);
  const job = readData(result);
  if (!job || !STATES.has(job.status)) throw new Error("no job");
  return { job, poster: findPoster(result) };
}

/**
 * @param {Data} result
 * @param {string} type
 */
function findContent(result, type) {
  return readObjects(result.content).find((part) => part.type === type) ?? {};
}
