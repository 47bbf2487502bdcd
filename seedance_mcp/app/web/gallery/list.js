// List: search, filters, order and pages of the videos. The address keeps the choice, so that a reload shows the same.
import { byId, make, makeButton, setText } from "../dom.js";
import { makeCard } from "./card.js";
import { countOf, isRunning, nameDay } from "./words.js";

/** @typedef {import("./show").Clip} Clip */

const PAGE_CLIPS = 24;
const CHOICES = /** @type {const} */ (["words", "status", "model", "order"]);
/** @type {Record<string, (one: Clip, other: Clip) => number>} */
const ORDERS = {
  newest: (one, other) => other.created_at - one.created_at,
  oldest: (one, other) => one.created_at - other.created_at,
  dearest: (one, other) => other.price_micro_usdc - one.price_micro_usdc || other.created_at - one.created_at,
};

/**
 * Prepares the list.
 * @param {(clip: Clip) => void} open Shows a video large.
 */
export function makeList(open) {
  const controls = Object.fromEntries(
    CHOICES.map((id) => [id, /** @type {HTMLInputElement | HTMLSelectElement} */ (byId(id))]),
  );
  const place = byId("clips");
  /** @type {Clip[]} */
  let clips = [];
  /** @type {Clip[]} */
  let found = [];
  let page = 0;
  /** @type {Map<string, { text: string, card: HTMLElement }>} */
  const cards = new Map();

  function find() {
    const words = controls.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const status = controls.status.value,
      model = controls.model.value;
    found = clips.filter((clip) => {
      if (clip.film) return false; // its film is in the list
      const text = `${clip.prompt} ${clip.job_id}`.toLowerCase();
      const state = isRunning(clip) ? "running" : clip.status;
      return (
        words.every((word) => text.includes(word)) && (!model || clip.model === model) && (!status || state === status)
      );
    });
    found.sort(ORDERS[controls.order.value]);
    page = Math.max(0, Math.min(page, countPages() - 1));
  }
  function countPages() {
    return Math.ceil(found.length / PAGE_CLIPS);
  }
  function draw() {
    const grouped = controls.order.value !== "dearest";
    /** @type {HTMLElement[]} */
    const sections = [];
    let heading = "";
    const seen = found.slice(page * PAGE_CLIPS, (page + 1) * PAGE_CLIPS);
    for (const clip of seen) {
      const name = grouped ? nameDay(clip.created_at) : "The dearest first";
      if (name !== heading) sections.push(make("section", "day", make("h2", "", name), make("div", "clips")));
      heading = name;
      sections.at(-1)?.lastElementChild?.append(findCard(clip));
    }
    const kept = new Set(seen.map((clip) => clip.job_id));
    for (const jobId of [...cards.keys()]) if (!kept.has(jobId)) cards.delete(jobId);
    const focused = document.activeElement;
    place.replaceChildren(...sections);
    if (focused instanceof HTMLElement && place.contains(focused)) focused.focus({ preventScroll: true });
    setText(byId("count"), countOf(found.length, "video"));
    byId("empty").hidden = found.length > 0 || clips.length === 0;
    byId("welcome").hidden = clips.length > 0;
    byId("search").hidden = clips.length === 0;
    drawPages();
  }
  /** @param {Clip} clip */
  function findCard(clip) {
    const text = JSON.stringify(clip),
      known = cards.get(clip.job_id);
    if (known?.text === text) return known.card;
    const card = makeCard(clip, open);
    cards.set(clip.job_id, { text, card });
    return card;
  }
  function drawPages() {
    const pages = countPages(),
      bar = byId("pages");
    bar.hidden = pages < 2;
    const near = [0, page - 1, page, page + 1, pages - 1].filter((number) => number >= 0 && number < pages);
    const parts = [step("Previous", page - 1)];
    let before = -1;
    for (const number of [...new Set(near)].sort((one, other) => one - other)) {
      if (number > before + 1) parts.push(make("span", "quiet", "…"));
      const button = step(String(number + 1), number);
      button.setAttribute("aria-label", `Page ${number + 1}`);
      if (number === page) button.setAttribute("aria-current", "page");
      parts.push(button);
      before = number;
    }
    bar.replaceChildren(...parts, step("Next", page + 1));

    /**
     * @param {string} text
     * @param {number} number
     * @returns {HTMLElement}
     */
    function step(text, number) {
      const button = makeButton(text, () => turn(number), "page");
      button.disabled = number < 0 || number >= pages;
      return button;
    }
  }
  /** @param {number} number */
  function turn(number) {
    page = number;
    draw();
    remember();
    place.scrollIntoView();
    place.focus({ preventScroll: true });
  }
  function remember() {
    const kept = new URLSearchParams();
    for (const id of CHOICES)
      if (controls[id].value && controls[id].value !== "newest") kept.set(id, controls[id].value);
    if (page) kept.set("page", String(page + 1));
    history.replaceState(null, "", kept.size ? `#${kept}` : location.href.split("#")[0]);
  }
  function recall() {
    const kept = new URLSearchParams(location.hash.slice(1));
    for (const id of CHOICES) if (kept.has(id)) controls[id].value = kept.get(id) ?? "";
    if (!controls.order.value) controls.order.value = "newest";
    page = Math.max(0, (Number(kept.get("page")) || 1) - 1);
  }
  function choose() {
    page = 0;
    find();
    draw();
    remember();
  }
  for (const id of CHOICES) controls[id].addEventListener("input", choose);
  byId("search").addEventListener("submit", (event) => event.preventDefault());
  byId("clear").addEventListener("click", () => {
    for (const id of CHOICES) controls[id].value = id === "order" ? controls[id].value : "";
    choose();
    controls.words.focus();
  });

  let recalled = false;
  return {
    /** @param {Clip[]} changed */
    update(changed) {
      clips = changed;
      offerModels(clips);
      if (!recalled) recall();
      recalled = true;
      find();
      draw();
    },
    /**
     * @param {string} jobId
     * @param {number} step
     */
    find(jobId, step) {
      const at = found.findIndex((clip) => clip.job_id === jobId);
      return at < 0 ? null : found[at + step] || null;
    },
    /** @param {string} jobId */
    place(jobId) {
      const at = found.findIndex((clip) => clip.job_id === jobId);
      return at < 0 ? "" : `${at + 1} of ${found.length}`;
    },
  };
}

/** @param {Clip[]} clips */
function offerModels(clips) {
  const select = /** @type {HTMLSelectElement} */ (byId("model"));
  const models = [...new Set(clips.map((clip) => clip.model))].sort(),
    chosen = select.value;
  if (
    models.join() ===
    [...select.options]
      .slice(1)
      .map((option) => option.value)
      .join()
  )
    return;
  select.replaceChildren(select.options[0], ...models.map((name) => new Option(name, name)));
  select.value = models.includes(chosen) ? chosen : "";
}
