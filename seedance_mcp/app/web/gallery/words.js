// Words: amounts, times and states as a person reads them.

/** @typedef {import("./show").Clip} Clip */

const FRAME_NAMES = { first: "First frame", last: "Last frame" };

/** @param {number} micro */
export function usd(micro) {
  const cents = micro % 10000 === 0;
  return "$" + (micro / 1e6).toFixed(cents ? 2 : 6).replace(/(\.\d\d\d*?)0+$/, "$1");
}

/** @param {number} seconds */
export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

/** @param {number} seconds */
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
}

/**
 * @param {number} count
 * @param {string} noun
 */
export function countOf(count, noun) {
  return `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
}

/**
 * Returns the heading under which a video of this time stands: today, the last days, or a month.
 * @param {number} seconds
 */
export function nameDay(seconds) {
  const day = new Date(seconds * 1000),
    today = new Date();
  const back = Math.round((new Date(today).setHours(12, 0, 0, 0) - new Date(day).setHours(12, 0, 0, 0)) / 86400000);
  if (back < 1) return "Today";
  if (back < 7) return "The last 7 days";
  return day.toLocaleDateString([], { month: "long", year: "numeric" });
}

/**
 * Returns true if a video is still being made or saved.
 * @param {Clip} clip
 */
export function isRunning(clip) {
  return (
    clip.status === "pending" ||
    clip.status === "loading" ||
    (clip.status === "complete" && !clip.video && !clip.missing)
  );
}

/** @param {Clip} clip */
export function nameState(clip) {
  if (clip.missing) return "The file does not exist any more";
  if (clip.status === "failed") return clip.claim ? "Paid, result expired" : "Failed at the studio";
  if (clip.status === "complete") return clip.video ? "Finished" : "Being saved";
  if (clip.status === "pending") return "Waiting";
  return clip.progress ? `${clip.progress}%` : "Running";
}

/** @param {"first" | "last"} name */
export function nameFrame(name) {
  return FRAME_NAMES[name];
}
