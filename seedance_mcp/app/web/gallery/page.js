// The gallery: puts its parts together, and keeps them up to date.
import { byId, make, setText } from "../dom.js";
import { makeCopyButton } from "../copy.js";
import { openDropZone } from "../drop.js";
import { makeChart } from "./chart.js";
import { makeList } from "./list.js";
import { follow } from "./live.js";
import { drawBalances, drawMoney, drawOpen, hasExpired } from "./money.js";
import { makeViewer } from "./viewer.js";
import { isRunning, moment } from "./words.js";

/** @typedef {import("./show").Show} Show */
/** @typedef {import("./show").Clip} Clip */
/** @typedef {import("./show").Change} Change */

const EXPIRY_MS = 1000;

/** @type {Show} */
const show = JSON.parse(byId("data").textContent || "");
/** @type {Map<string, Clip>} */
const clips = new Map(show.clips.map((clip) => [clip.job_id, clip]));
const chart = makeChart();
const list = makeList((clip) => viewer.open(clip));
const viewer = makeViewer({
  find: list.find,
  place: list.place,
  read: (jobId) => clips.get(jobId),
  command: show.command,
  live: show.live,
});

function drawHead() {
  byId("profile").hidden = show.profile === "live";
  setText(byId("profile"), show.profile === "sandbox" ? "sandbox, play money" : show.profile);
  byId("older").hidden = !show.has_older;
  drawMoney(show);
  chart.update(show.money);
  drawOpen(show.open);
}
function drawClips() {
  list.update([...clips.values()]);
  viewer.update();
}
function drawState() {
  const count = [...clips.values()].filter(isRunning).length;
  setText(byId("live"), show.live ? (count ? `${count} running` : "up to date") : `as of ${moment(show.made_at)}`);
  byId("live").classList.toggle("busy", show.live && count > 0);
}
/** @param {Change} change */
function apply(change) {
  const spent = show.money.spent_total_micro_usdc;
  show.version = change.version;
  if (change.show) {
    Object.assign(show, change.show);
    drawHead();
    if (show.money.spent_total_micro_usdc !== spent) askBalances();
  }
  for (const clip of change.clips) clips.set(clip.job_id, clip);
  for (const jobId of change.gone) clips.delete(jobId);
  if (change.clips.length || change.gone.length) drawClips();
  drawState();
}
async function askBalances() {
  const answer = await fetch("balances.json", { cache: "no-store" }).catch(() => null);
  if (answer?.ok) drawBalances(await answer.json());
}
/** @param {{ image: string, width: number, height: number }} told */
function offerPicture({ image, width, height }) {
  const words = `Use the picture ${image}`,
    name = make("code", "", words);
  const copy = makeCopyButton(
    "Copy",
    () => words,
    () => name,
  );
  return make("span", "", `${width} × ${height} pixels. Tell your assistant: `, name, " ", copy);
}
/** Redraws payments whose time has passed while the page was open. */
function watchExpiry() {
  let seen = show.open.filter(hasExpired).length;
  setInterval(() => {
    const expired = show.open.filter(hasExpired).length;
    if (expired !== seen) drawOpen(show.open);
    seen = expired;
  }, EXPIRY_MS);
}

drawHead();
drawClips();
drawState();
if (show.live) {
  const example = `${show.command} photo.jpg --prompt 'The boat drifts out'`,
    code = make("code", "", example);
  byId("welcome-command").append(
    code,
    " ",
    makeCopyButton(
      "Copy",
      () => example,
      () => code,
    ),
  );
  openDropZone({ address: "pictures", area: byId("drop"), tell: offerPicture, once: false });
  follow({ version: () => show.version, change: apply, trouble: (text) => setText(byId("live"), text) });
  watchExpiry();
  askBalances();
}
