"use strict";
// Every text is set as text, never as markup: prompts and the studio's words are a stranger's.
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const LIVE_MS = 2000, IDLE_MS = 15000;
let show = JSON.parse($("data").textContent);
const playing = new Set();

function make(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}
function draw(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  if (text !== undefined) node.textContent = text;
  return node;
}
function usd(micro) {
  const cents = micro % 10000 === 0;
  return "$" + (micro / 1e6).toFixed(cents ? 2 : 6).replace(/(\.\d\d\d*?)0+$/, "$1");
}
function link(url, text) {
  const node = make("a", "", text);
  if (/^https?:\/\//.test(url)) node.href = url;
  node.target = "_blank";
  node.rel = "noopener noreferrer";
  return node;
}
const running = (clip) => clip.status === "pending" || clip.status === "loading" || (clip.status === "complete" && !clip.video);

function drawMoney() {
  const money = show.money, limit = money.max_per_day_micro_usdc;
  $("day").textContent = usd(money.spent_last_day_micro_usdc);
  $("day-limit").textContent = `of ${usd(limit)} in any 24 hours`;
  $("total").textContent = usd(money.spent_total_micro_usdc);
  $("total-limit").textContent = money.max_total_micro_usdc === null ? "no limit in all" : `of ${usd(money.max_total_micro_usdc)}`;
  const share = Math.min(1, limit ? money.spent_last_day_micro_usdc / limit : 1);
  $("meter").style.width = `${share * 100}%`;
  $("meter").classList.toggle("full", share > 0.9);
  drawChart(money.days, limit);
}
function drawChart(days, limit) {
  const width = Math.max($("chart").clientWidth, 240), height = 144, foot = 20, head = 18, right = 8;
  const top = Math.max(limit, ...days.map((day) => day.micro_usdc), 1);
  const y = (value) => head + (height - head - foot) * (1 - value / top);
  const step = (width - right) / days.length, bar = Math.min(step * 0.62, 28);
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.append(draw("title", {}, `Spent per day, the last ${days.length} days; the limit is ${usd(limit)} in any 24 hours`));
  svg.append(draw("line", { x1: 0, x2: width, y1: y(0) + 0.5, y2: y(0) + 0.5 }));
  svg.append(draw("line", { class: "limit", x1: 0, x2: width, y1: y(limit), y2: y(limit) }));
  svg.append(draw("text", { x: width, y: y(limit) - 5, "text-anchor": "end" }, `limit ${usd(limit)}`));
  days.forEach((day, index) => {
    const x = index * step + (step - bar) / 2, size = y(0) - y(day.micro_usdc);
    const text = `${day.name}: ${usd(day.micro_usdc)}`;
    if (day.micro_usdc) svg.append(draw("rect", { x, y: y(0) - Math.max(size, 2), width: bar, height: Math.max(size, 2), rx: 2 }));
    const hit = draw("rect", { class: "hit", x: index * step, y: head, width: step, height: height - head - foot });
    hit.append(draw("title", {}, text));
    svg.append(hit);
    const last = index === days.length - 1;
    if (last || index === 0) {
      const place = last ? { x: width, "text-anchor": "end" } : { x: 0 };
      svg.append(draw("text", { ...place, y: height - 4 }, last ? "today" : day.name));
    }
    if (last && day.micro_usdc && size < height - head - foot - 20) {
      svg.append(draw("text", { x: x + bar / 2, y: y(0) - Math.max(size, 2) - 5, "text-anchor": "middle" }, usd(day.micro_usdc)));
    }
  });
  $("chart").replaceChildren(svg);
}
function drawOpen() {
  const list = $("open").querySelector("ul");
  list.replaceChildren(...show.open.map((payment) => make("li", "", payment.text)));
  $("open").hidden = show.open.length === 0;
}
function drawStage(clip) {
  const stage = make("div", "stage");
  if (clip.video) {
    const player = () => {
      const video = make("video");
      video.controls = true; video.playsInline = true; video.loop = true; video.src = clip.video;
      if (clip.poster) video.poster = clip.poster;
      return video;
    };
    if (clip.poster && !playing.has(clip.job_id)) {
      const button = make("button");
      button.type = "button";
      button.setAttribute("aria-label", `Play: ${clip.prompt || clip.job_id}`);
      const image = make("img");
      image.src = clip.poster; image.alt = ""; image.loading = "lazy";
      button.append(image, make("span", "play"));
      button.addEventListener("click", () => {
        playing.add(clip.job_id);
        const video = player();
        stage.replaceChildren(video);
        video.play().catch(() => {});
        video.focus();
      });
      stage.append(button);
    } else {
      const video = player();
      video.preload = "metadata";
      stage.append(video);
    }
  } else if (clip.status === "failed") {
    stage.append(make("span", "", "Failed at the studio"));
  } else if (clip.missing) {
    stage.append(make("span", "", "The file is not there any more"));
  } else {
    stage.append(make("span", "", clip.status === "complete" ? "Being saved" : clip.status === "pending" ? "Waiting" : `${clip.progress} %`));
    const bar = make("div", "bar"), fill = make("i");
    fill.style.width = `${clip.progress}%`;
    bar.append(fill);
    stage.append(bar);
  }
  return stage;
}
function drawClip(clip) {
  const card = make("article", "clip"), text = make("div", "text");
  card.dataset.job = clip.job_id;
  const prompt = make("p", "prompt", clip.prompt || "(no prompt)");
  prompt.title = clip.prompt;
  prompt.addEventListener("click", () => prompt.classList.toggle("whole"));
  text.append(prompt);
  if (clip.error) text.append(make("p", "problem", clip.error));
  const facts = make("p", "facts quiet");
  facts.append(make("b", "", usd(clip.price_micro_usdc)), make("span", "", clip.model));
  if (clip.size) facts.append(make("span", "", clip.size));
  const when = make("time", "", new Date(clip.created_at * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }));
  when.dateTime = new Date(clip.created_at * 1000).toISOString();
  facts.append(when);
  if (clip.receipt_url) facts.append(link(clip.receipt_url, "receipt"));
  else if (clip.receipt) { const receipt = make("span", "", "paid"); receipt.title = clip.receipt; facts.append(receipt); }
  if (clip.first_frame) facts.append(link(clip.first_frame, "first frame"));
  if (clip.last_frame) facts.append(link(clip.last_frame, "last frame"));
  text.append(facts);
  card.append(drawStage(clip), text);
  card.signature = JSON.stringify(clip);
  return card;
}
function drawClips() {
  const words = $("words").value.toLowerCase().split(/\s+/).filter(Boolean), status = $("status").value, model = $("model").value;
  const found = show.clips.filter((clip) =>
    words.every((word) => `${clip.prompt} ${clip.job_id}`.toLowerCase().includes(word)) &&
    (!model || clip.model === model) &&
    (!status || (status === "running" ? running(clip) : clip.status === status && !running(clip))));
  const known = new Map([...$("clips").children].map((card) => [card.dataset.job, card]));
  const cards = found.map((clip) => {
    const card = known.get(clip.job_id);
    return card && card.signature === JSON.stringify(clip) ? card : drawClip(clip);  // a playing clip plays on
  });
  if (cards.length !== $("clips").children.length || cards.some((card, index) => $("clips").children[index] !== card)) $("clips").replaceChildren(...cards);
  $("count").textContent = found.length === 1 ? "1 clip" : `${found.length} clips`;
  $("empty").hidden = found.length > 0;
  $("empty").textContent = show.clips.length ? "No clip fits." : "No clips yet. They appear here as they are made.";
}
function drawModels() {
  const chosen = $("model").value, models = [...new Set(show.clips.map((clip) => clip.model))].sort();
  $("model").replaceChildren($("model").firstElementChild, ...models.map((name) => { const option = make("option", "", name); option.value = name; return option; }));
  $("model").value = models.includes(chosen) ? chosen : "";
}
function drawAll() {
  $("profile").hidden = show.profile === "live";
  $("profile").textContent = show.profile === "sandbox" ? "sandbox, play money" : show.profile;
  const count = show.clips.filter(running).length;
  $("live").textContent = show.live ? (count ? `${count} running` : "") : `as of ${new Date(show.made_at * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}`;
  drawMoney(); drawOpen(); drawModels(); drawClips();
}
async function refresh() {
  try {
    const answer = await fetch("data.json", { cache: "no-store" });
    if (answer.ok) { show = await answer.json(); drawAll(); }
    else $("live").textContent = "The gallery cannot read the ledger now.";
  } catch { $("live").textContent = "The gallery was closed; what you see is the last it knew."; }
  setTimeout(refresh, show.clips.some(running) ? LIVE_MS : IDLE_MS);
}
for (const id of ["words", "status", "model"]) $(id).addEventListener("input", drawClips);
$("search").addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", () => drawChart(show.money.days, show.money.max_per_day_micro_usdc));
drawAll();
if (show.live) setTimeout(refresh, LIVE_MS);
