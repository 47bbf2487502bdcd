// Card: one video in the list. A press on its picture opens the large view.
import { make, makePicture } from "../dom.js";
import { isRunning, moment, nameState, usd } from "./words.js";

/** @typedef {import("./show").Clip} Clip */

/**
 * @param {Clip} clip
 * @param {(clip: Clip) => void} open
 */
export function makeCard(clip, open) {
  const card = make("article", "clip");
  card.dataset.job = clip.job_id;
  const stage = make("button", "stage");
  stage.type = "button";
  const state = clip.video ? "" : `, ${nameState(clip)}`;
  stage.setAttribute("aria-label", `Open: ${clip.prompt || clip.job_id}${state}`);
  stage.addEventListener("click", () => open(clip));
  stage.append(...makeStage(clip));
  const text = make("div", "text", make("p", "prompt", clip.prompt || "(no prompt)"));
  if (clip.error) text.append(make("p", "problem", clip.error));
  const when = make("time", "", moment(clip.created_at));
  when.dateTime = new Date(clip.created_at * 1000).toISOString();
  const facts = make("p", "facts quiet", make("b", "", usd(clip.price_micro_usdc)), make("span", "", clip.model));
  if (clip.size) facts.append(make("span", "", clip.size));
  text.append(facts, make("p", "facts quiet", when));
  card.append(stage, text);
  return card;
}

/**
 * Makes the pictures of a film's shots, side by side; those that are not finished are faint.
 * @param {import("./show").Shot[]} shots
 */
export function makeStrip(shots) {
  const cells = shots.map((shot) => {
    const cell = make("span", `shot ${shot.status}`);
    if (shot.poster) cell.append(makePicture(shot.poster, ""));
    return cell;
  });
  return make("span", "strip", ...cells);
}

/**
 * @param {Clip} clip
 * @returns {Node[]}
 */
function makeStage(clip) {
  const first = clip.frames.find((frame) => frame.picture)?.picture;
  if (clip.shots)
    return [makeStrip(clip.shots), make("span", clip.video ? "play" : "state", clip.video ? "" : nameState(clip))];
  if (clip.video) {
    const picture = clip.poster || first;
    return [...(picture ? [makePicture(picture, "")] : []), make("span", "play")];
  }
  const parts = [];
  if (first) parts.push(makePicture(first, "", "backdrop"));
  parts.push(make("span", "state", nameState(clip)));
  if (isRunning(clip)) {
    const fill = make("i");
    fill.style.width = `${clip.progress}%`;
    parts.push(make("span", "bar", fill));
  }
  return parts;
}
