// Chart: what was spent on each day or in each month. A pointer, a finger or the arrow keys read one bar.
import { byId, draw, make, setText } from "../dom.js";
import { countOf, usd } from "./words.js";

/** @typedef {import("./show").Spending} Spending */

const HEIGHT = 168,
  HEAD = 12,
  FOOT = 22,
  LABEL_GAP = 6,
  LETTER_WIDTH = 6.6,
  LETTER_DROP = 4;
const TICKS_MAX = 4;
const TOP_MICRO_USDC_MIN = 1000000;
/** How far above the largest bar the limit's line may be: further, it would leave the bars too small to read. */
const LIMIT_REACH = 2.5;

/** Prepares the chart. */
export function makeChart() {
  const place = byId("chart"),
    slider = byId("chart-slider"),
    read = byId("chart-read");
  const buttons = { days: byId("range-days"), months: byId("range-months") };
  /** @type {{ days: Spending[], months: Spending[], max_per_day_micro_usdc: number } | null} */
  let money = null;
  /** @type {"days" | "months"} */
  let range = "days";
  /** @type {number | null} */
  let chosen = null;
  let right = 0,
    left = 0;

  function list() {
    return money ? money[range] : [];
  }
  function drawAll() {
    if (!money) return;
    for (const [name, button] of Object.entries(buttons)) button.setAttribute("aria-pressed", String(name === range));
    drawBars(list(), range === "days" ? money.max_per_day_micro_usdc : null);
    drawModelSums(list());
    drawChosen();
  }
  /**
   * @param {Spending[]} bars
   * @param {number | null} limit
   */
  function drawBars(bars, limit) {
    const most = Math.max(...bars.map((bar) => bar.micro_usdc), TOP_MICRO_USDC_MIN);
    const shownLimit = limit !== null && limit > 0 && limit <= most * LIMIT_REACH ? limit : null;
    const ticks = listTicks(Math.max(most, shownLimit ?? 0)),
      top = ticks[ticks.length - 1];
    const width = Math.max(place.clientWidth, 240),
      foot = HEIGHT - FOOT;
    left = Math.max(...ticks.map((tick) => shorten(tick).length)) * LETTER_WIDTH + LABEL_GAP;
    right = width - (shownLimit === null ? 1 : "limit".length * LETTER_WIDTH + LABEL_GAP);
    /** @param {number} value */
    const y = (value) => HEAD + (foot - HEAD) * (1 - value / top);
    const step = (right - left) / bars.length,
      bar = Math.min(step * 0.66, 30);
    const svg = draw("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, "aria-hidden": "true" });
    for (const tick of ticks) {
      svg.append(draw("line", { x1: left, x2: right, y1: y(tick), y2: y(tick) }));
      svg.append(draw("text", { x: left - LABEL_GAP, y: y(tick) + LETTER_DROP, "text-anchor": "end" }, shorten(tick)));
    }
    bars.forEach((one, index) => {
      const last = index === bars.length - 1,
        size = Math.max(foot - y(one.micro_usdc), 2);
      const x = left + index * step + (step - bar) / 2;
      if (one.micro_usdc)
        svg.append(
          draw("rect", { class: last ? "day today" : "day", x, y: foot - size, width: bar, height: size, rx: 2 }),
        );
      svg.append(draw("rect", { class: "mark", x: left + index * step, y: HEAD, width: step, height: foot - HEAD }));
    });
    if (shownLimit !== null) {
      svg.append(draw("line", { class: "limit", x1: left, x2: right, y1: y(shownLimit), y2: y(shownLimit) }));
      svg.append(draw("text", { x: right + LABEL_GAP, y: y(shownLimit) + LETTER_DROP }, "limit"));
    }
    svg.append(draw("text", { x: left, y: HEIGHT - 5 }, nameBar(bars[0])));
    svg.append(
      draw("text", { x: right, y: HEIGHT - 5, "text-anchor": "end" }, range === "days" ? "today" : "this month"),
    );
    place.replaceChildren(svg);
  }
  function drawChosen() {
    const bars = list(),
      bar = chosen === null ? null : bars[chosen];
    const marks = place.querySelectorAll("rect.mark");
    marks.forEach((mark, index) => mark.classList.toggle("chosen", index === chosen));
    const sum = bars.reduce((all, one) => all + one.micro_usdc, 0),
      videos = bars.reduce((all, one) => all + one.videos, 0);
    const text = bar
      ? `${nameBar(bar)}: ${usd(bar.micro_usdc)}, ${countOf(bar.videos, "video")}`
      : `${bars.length} ${range}: ${usd(sum)}, ${countOf(videos, "video")}`;
    setText(read, text);
    slider.setAttribute("aria-label", range === "days" ? "Day of the chart" : "Month of the chart");
    slider.setAttribute("aria-valuemax", String(bars.length - 1));
    slider.setAttribute("aria-valuenow", String(chosen ?? bars.length - 1));
    slider.setAttribute("aria-valuetext", text);
  }
  /** @param {number | null} index */
  function choose(index) {
    chosen = index === null ? null : Math.max(0, Math.min(list().length - 1, index));
    drawChosen();
  }
  /** @param {PointerEvent} event */
  function point(event) {
    const box = place.getBoundingClientRect();
    choose(Math.floor(((event.clientX - box.left - left) / (right - left)) * list().length));
  }
  /** @param {"days" | "months"} name */
  function turn(name) {
    range = name;
    chosen = null;
    drawAll();
  }
  buttons.days.addEventListener("click", () => turn("days"));
  buttons.months.addEventListener("click", () => turn("months"));
  slider.addEventListener("pointerdown", point);
  slider.addEventListener("pointermove", point);
  slider.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && choose(null));
  slider.addEventListener("blur", () => choose(null));
  slider.addEventListener("keydown", (event) => {
    const end = list().length - 1,
      at = chosen ?? end + 1;
    /** @type {Record<string, number>} */
    const targets = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1, Home: 0, End: end };
    if (!(event.key in targets)) return;
    event.preventDefault();
    choose(targets[event.key]);
  });
  addEventListener("resize", drawAll);
  return {
    /** @param {{ days: Spending[], months: Spending[], max_per_day_micro_usdc: number }} changed */
    update(changed) {
      money = changed;
      byId("spent").hidden = money.months.every((month) => month.micro_usdc === 0);
      drawAll();
    },
  };
}

/** @param {Spending[]} bars */
function drawModelSums(bars) {
  /** @type {Map<string, number>} */
  const sums = new Map();
  for (const bar of bars)
    for (const [name, micro] of Object.entries(bar.models)) sums.set(name, (sums.get(name) ?? 0) + micro);
  const rows = [...sums].sort(([, one], [, other]) => other - one);
  byId("models").hidden = rows.length === 0;
  byId("model-sums").replaceChildren(
    ...rows.map(([name, micro]) => {
      const head = make("th", "", name || "pictures");
      head.scope = "row";
      return make("tr", "", head, make("td", "", usd(micro)));
    }),
  );
}

/**
 * Returns round values from zero to at least a value.
 * @param {number} value
 */
function listTicks(value) {
  const magnitude = 10 ** Math.floor(Math.log10(value / TICKS_MAX));
  const step = [1, 2, 5, 10].map((factor) => factor * magnitude).find((one) => one * TICKS_MAX >= value) ?? value;
  return Array.from({ length: Math.ceil(value / step) + 1 }, (_, index) => index * step);
}

/** @param {number} micro */
function shorten(micro) {
  return micro % 1e6 ? usd(micro) : `$${(micro / 1e6).toLocaleString("en-US")}`;
}

/** @param {Spending} bar */
function nameBar(bar) {
  const [year, month, day] = bar.name.split("-").map(Number);
  if (day) return new Date(year, month - 1, day).toLocaleDateString([], { month: "short", day: "numeric" });
  return new Date(year, month - 1, 1).toLocaleDateString([], { month: "short", year: "numeric" });
}
