// List: recent videos, one in a row. A row opens its video if the host lets pages ask the server.
import { make, makeButton } from "../../app/web/dom.js";
import { makeNotes, makeTitle, occupy, release } from "./elements.js";
import { offers, readContext } from "./host.js";
import { readObjects, readText, readUsd, unquote } from "./values.js";

/** @typedef {import("./types").Data} Data */
/** @typedef {import("./types").Part} Part */
/** @typedef {(job: Data) => Promise<void>} Open */

/**
 * @param {Data} list
 * @param {Open} open
 * @returns {Part[]}
 */
export function makeList(list, open) {
  const jobs = readObjects(list.jobs);
  const rows = jobs.map((job) => makeRow(job, open));
  const title = makeTitle(jobs.length === 1 ? "1 video" : `${jobs.length} videos`);
  return [title, rows.length ? make("ul", "rows", ...rows) : null, makeNotes(list.notes)];
}

/**
 * @param {Data} job
 * @param {Open} open
 */
function makeRow(job, open) {
  const jobId = readText(job.job_id);
  const parts = [
    make("span", "name", unquote(job.prompt) || jobId),
    make("span", "quiet when", formatTime(job.created_at)),
    make("span", job.status === "failed" ? "bad" : "quiet", nameState(job) || readUsd(job.price_usd)),
  ];
  if (!offers("serverTools") || !jobId) return make("li", "", make("div", "", ...parts));
  const row = makeButton("", () => {
    if (occupy(row)) open(job).catch(() => release(row));
  });
  row.dataset.job = jobId;
  row.append(...parts);
  return make("li", "", row);
}

/**
 * Returns the state of a job, or an empty text if its video is saved.
 * @param {Data} job
 */
function nameState(job) {
  if (job.status === "pending") return "waiting";
  if (job.status === "loading") return `${Number(job.progress) || 0} %`;
  if (job.status === "failed") return "failed";
  return job.status === "complete" && !job.file ? "not saved" : "";
}

/** @param {unknown} value */
function formatTime(value) {
  const time = new Date(readText(value));
  if (Number.isNaN(time.getTime())) return "";
  const { locale, timeZone } = readContext();
  /** @type {Intl.DateTimeFormatOptions} */
  const form = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" };
  try {
    const zone = readText(timeZone) || undefined;
    return new Intl.DateTimeFormat(readText(locale) || undefined, { ...form, timeZone: zone }).format(time);
  } catch {
    return time.toLocaleString(undefined, form);
  }
}
