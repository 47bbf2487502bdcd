// Viewer: one video large, with all that is known of it. Arrows show the next one, Escape closes it.
import { byId, make, makeButton, makeLink, makePicture, setText } from "../dom.js";
import { makeCopyButton } from "../copy.js";
import { makeAgain } from "./again.js";
import { makeStrip } from "./card.js";
import { readRequest, writeCommand } from "./command.js";
import { isRunning, moment, nameFrame, nameState, usd } from "./words.js";

/** @typedef {import("./show").Clip} Clip */

/**
 * Prepares the large view.
 * @param {{
 *   find: (jobId: string, step: number) => Clip | null, place: (jobId: string) => string,
 *   read: (jobId: string) => Clip | undefined, command: string, live: boolean,
 * }} options Finds the neighbour of a video in the list, says where a video stands in it, and returns any video.
 */
export function makeViewer({ find, place, read, command, live }) {
  const dialog = /** @type {HTMLDialogElement} */ (byId("viewer"));
  const stage = byId("viewer-stage"),
    side = byId("viewer-side"),
    position = byId("viewer-position");
  const previous = /** @type {HTMLButtonElement} */ (byId("viewer-previous"));
  const next = /** @type {HTMLButtonElement} */ (byId("viewer-next"));
  /** @type {Clip | null} */
  let shown = null;
  let drawn = "";

  /** @param {Clip} clip */
  function show(clip) {
    const text = JSON.stringify(clip),
      same = shown?.job_id === clip.job_id;
    previous.disabled = !find(clip.job_id, -1);
    next.disabled = !find(clip.job_id, 1);
    setText(position, place(clip.job_id));
    if (same && text === drawn) return;
    const playing = same && clip.video && shown?.video === clip.video;
    shown = clip;
    drawn = text;
    if (!playing) stage.replaceChildren(...makeLarge(clip));
    const open = same && side.querySelector("details.again[open]"); // what is being written there stays
    if (!open) side.replaceChildren(...describe(clip, command, live), ...listParts(clip, read, show));
  }
  /** @param {number} step */
  function move(step) {
    const found = shown && find(shown.job_id, step);
    if (!found) return;
    show(found);
    side.scrollTop = 0;
  }
  previous.addEventListener("click", () => move(-1));
  next.addEventListener("click", () => move(1));
  byId("viewer-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener(
    "keydown",
    (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const writes = event.target instanceof HTMLTextAreaElement || event.target instanceof HTMLInputElement;
      if (!step || writes || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      move(step);
    },
    { capture: true },
  );
  dialog.addEventListener("close", () => {
    stage.replaceChildren(); // nothing plays on unseen
    const jobId = shown?.job_id;
    shown = null;
    const card = [...document.querySelectorAll("article.clip")].find(
      (one) => one instanceof HTMLElement && one.dataset.job === jobId,
    );
    card?.querySelector("button")?.focus();
  });
  return {
    /** @param {Clip} clip */
    open(clip) {
      show(clip);
      if (!dialog.open) dialog.showModal();
      side.scrollTop = 0;
    },
    update() {
      const clip = shown && read(shown.job_id);
      if (clip) show(clip);
    },
  };
}

/**
 * @param {Clip} clip
 * @returns {Node[]}
 */
function makeLarge(clip) {
  if (clip.video) {
    const video = make("video");
    video.controls = video.playsInline = video.loop = video.autoplay = true;
    if (clip.poster) video.poster = clip.poster;
    video.src = clip.video;
    video.setAttribute("aria-label", clip.prompt || clip.job_id);
    return [video];
  }
  const first = clip.frames.find((frame) => frame.picture)?.picture;
  /** @type {Node[]} */
  const parts = clip.shots ? [makeStrip(clip.shots)] : first ? [makePicture(first, "", "backdrop")] : [];
  parts.push(make("span", "state", nameState(clip)));
  if (isRunning(clip)) {
    const fill = make("i");
    fill.style.width = `${clip.progress}%`;
    parts.push(make("span", "bar", fill));
  }
  return parts;
}

/**
 * @param {Clip} clip
 * @param {string} command
 * @param {boolean} live
 * @returns {Node[]}
 */
function describe(clip, command, live) {
  const prompt = make("h2", "whole", clip.prompt || "(no prompt)");
  prompt.id = "viewer-title";
  const request = readRequest(clip);
  const actions = make("div", "actions");
  if (clip.video) {
    const download = make("a", "copy main", "Download");
    download.href = clip.video;
    download.download = clip.download;
    actions.append(download);
  }
  actions.append(
    makeCopyButton(
      "Copy prompt",
      () => clip.prompt,
      () => prompt,
    ),
  );
  if (live && !clip.shots) actions.append(makeCopyButton("Copy command", () => writeCommand(command, request)));
  return [
    prompt,
    ...describeProblem(clip),
    actions,
    describeFacts(clip),
    makeFrames(clip),
    ...(live && !clip.shots ? [makeAgain(clip, command)] : []),
  ];
}

/** @param {Clip} clip */
function describeProblem(clip) {
  if (!clip.error && !clip.claim && !clip.missing) return [];
  const box = make("section", "trouble");
  box.append(make("h3", "", nameState(clip)));
  if (clip.error) box.append(make("p", "problem", clip.error));
  if (clip.next_step) box.append(make("p", "", clip.next_step));
  if (clip.claim) {
    const text = clip.claim,
      claim = make("blockquote", "", text);
    box.append(
      claim,
      makeCopyButton(
        "Copy claim",
        () => text,
        () => claim,
      ),
    );
  }
  return [box];
}

/** @param {Clip} clip */
function describeFacts(clip) {
  const list = make("dl", "details");
  /**
   * @param {string} name
   * @param {...(Node | string)} value
   */
  const add = (name, ...value) => list.append(make("dt", "", name), make("dd", "", ...value));
  add("Price", usd(clip.price_micro_usdc), ...(clip.receipt_url ? [" ", makeLink(clip.receipt_url, "receipt")] : []));
  if (clip.receipt && !clip.receipt_url) add("Transaction", make("code", "", clip.receipt));
  add("Model", [clip.model, clip.size].filter(Boolean).join(" · "));
  for (const [name, value] of Object.entries(clip.options))
    if (!["model", "duration", "resolution"].includes(name)) add(name.replaceAll("_", " "), String(value));
  add("Bought", moment(clip.created_at));
  addCopied(list, "Job", clip.job_id);
  if (clip.file) addCopied(list, "File", clip.file);
  if (clip.video_url) {
    const seen = clip.url_seen_at ? ` named ${moment(clip.url_seen_at)}, expires about 20 minutes later` : "";
    add("At the studio", makeLink(clip.video_url, "video"), seen);
  }
  return list;
}

/**
 * @param {HTMLElement} list
 * @param {string} name
 * @param {string} value
 */
function addCopied(list, name, value) {
  const code = make("code", "", value);
  const copy = makeCopyButton(
    "Copy",
    () => value,
    () => code,
  );
  copy.setAttribute("aria-label", `Copy ${name.toLowerCase()}`);
  list.append(make("dt", "", name), make("dd", "copied", code, copy));
}

/**
 * Lists the shots of a film, or the film of a shot.
 * @param {Clip} clip
 * @param {(jobId: string) => Clip | undefined} read
 * @param {(clip: Clip) => void} show
 * @returns {Node[]}
 */
function listParts(clip, read, show) {
  const film = clip.film ? read(clip.film) : undefined;
  if (film) return [makeButton("Show the film", () => show(film), "copy")];
  const list = make("ol", "shots");
  for (const shot of clip.shots ?? []) {
    const video = shot.job_id ? read(shot.job_id) : undefined;
    const words = make(
      "span",
      "",
      make("span", "what", shot.prompt),
      make("span", "quiet", video ? nameState(video) : "Not bought"),
    );
    const parts = [...(shot.poster ? [makePicture(shot.poster, "")] : []), words];
    const row = video ? makeButton("", () => show(video), "part") : make("div", "part");
    row.append(...parts);
    list.append(make("li", "", row));
  }
  return list.childElementCount ? [list] : [];
}

/** @param {Clip} clip */
function makeFrames(clip) {
  const row = make("div", "frames");
  for (const frame of clip.frames) {
    if (frame.picture) {
      const link = make("a", "", makePicture(frame.picture, nameFrame(frame.name)));
      link.href = frame.picture;
      link.target = "_blank";
      link.rel = "noopener noreferrer";
      row.append(make("figure", "", link, make("figcaption", "label", nameFrame(frame.name))));
    } else if (frame.url) row.append(makeLink(frame.url, nameFrame(frame.name)));
  }
  return row;
}
