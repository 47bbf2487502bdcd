// Every text is set as text, never as markup: prompts and the studio's texts are untrusted.
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const LIVE_MS = 2000, IDLE_MS = 5000;
const LETTER_WIDTH = 6.3, LETTER_DROP = 4, LINE_HEIGHT = 15, LABEL_GAP = 6;  // of the chart's labels, in its units
let show = JSON.parse($("data").textContent);
let drawn = "";  // what the page shows: unchanged data is not drawn again, so that nothing closes or loses its focus
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
const running = (clip) => clip.status === "pending" || clip.status === "loading" || (clip.status === "complete" && !clip.video && !clip.missing);
const clock = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
const ended = (payment) => payment.hold_until * 1000 < Date.now();
const moment = (seconds) => new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
function say(id, text) { if ($(id).textContent !== text) $(id).textContent = text; }

function drawMoney() {
  const money = show.money, limit = money.max_per_day_micro_usdc;
  $("day").textContent = usd(money.spent_last_day_micro_usdc);
  $("day-limit").textContent = `of ${usd(limit)} in any 24 hours`;
  $("total").textContent = usd(money.spent_total_micro_usdc);
  $("total-limit").textContent = money.max_total_micro_usdc === null ? "no limit in all" : `of ${usd(money.max_total_micro_usdc)}`;
  const share = Math.min(1, limit ? money.spent_last_day_micro_usdc / limit : 1);
  $("meter").style.width = `${share * 100}%`;
  $("meter").classList.toggle("full", share > 0.9);
  $("days").textContent = `${money.days.length} days`;
  drawChart(money.days, limit);
}
function drawChart(days, limit) {
  const width = Math.max($("chart").clientWidth, 240), height = 144, foot = 20, head = 18;
  const today = days.at(-1).micro_usdc, labels = [`limit ${usd(limit)}`, today ? usd(today) : ""];
  const right = width - Math.max(...labels.map((text) => text.length)) * LETTER_WIDTH - LABEL_GAP;  // labels are beside the bars, which cover none
  const top = Math.max(limit, ...days.map((day) => day.micro_usdc), 1);
  const y = (value) => head + (height - head - foot) * (1 - value / top);
  const step = right / days.length, bar = Math.min(step * 0.62, 28);
  const spent = days.filter((day) => day.micro_usdc).map((day) => `${day.name} ${usd(day.micro_usdc)}`);
  const words = `Spent per day; the limit is ${usd(limit)} in any 24 hours. ${spent.join(", ") || "Nothing yet"}.`;
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": words });
  svg.append(draw("line", { x1: 0, x2: right, y1: y(0) + 0.5, y2: y(0) + 0.5 }));
  svg.append(draw("line", { class: "limit", x1: 0, x2: right, y1: y(limit), y2: y(limit) }));
  svg.append(draw("text", { x: right + LABEL_GAP, y: y(limit) + LETTER_DROP }, labels[0]));
  if (today) {
    const near = Math.abs(y(today) - y(limit)) < LINE_HEIGHT;
    const place = near ? y(limit) + (today > limit ? -LINE_HEIGHT : LINE_HEIGHT) : Math.min(y(today), y(0) - 2);
    svg.append(draw("text", { x: right + LABEL_GAP, y: place + LETTER_DROP }, labels[1]));
  }
  days.forEach((day, index) => {
    const x = index * step + (step - bar) / 2, size = Math.max(y(0) - y(day.micro_usdc), 2), last = index === days.length - 1;
    if (day.micro_usdc) svg.append(draw("rect", { class: last ? "day today" : "day", x, y: y(0) - size, width: bar, height: size, rx: 2 }));
    const hit = draw("rect", { class: "hit", x: index * step, y: head, width: step, height: height - head - foot });
    hit.append(draw("title", {}, `${day.name}: ${usd(day.micro_usdc)}`));
    svg.append(hit);
    if (last || index === 0) {
      const place = last ? { x: right, "text-anchor": "end" } : { x: 0 };
      svg.append(draw("text", { ...place, y: height - 4 }, last ? "today" : day.name));
    }
  });
  $("chart").replaceChildren(svg);
}
function drawOpen() {
  const held = show.open.filter((payment) => payment.state !== "settled").reduce((sum, payment) => sum + payment.amount_micro_usdc, 0);
  say("open-title", held ? `Not settled yet: ${usd(held)} held` : "Paid, video not found yet");
  $("open").querySelector("ul").replaceChildren(...show.open.map((payment) => {
    const line = make("li"), what = payment.prompt || (payment.purpose === "upload" ? "Upload of a picture" : "A video");
    const past = ended(payment) && "its credential has expired, the chain will show the outcome";
    const state = {
      reserved: "is being paid",
      signed: `no answer yet; ${past || `its credential expires at ${clock(payment.hold_until)}`}`,
      refused: past ? `refused; ${past}` : `refused, held until ${clock(payment.hold_until)}`,
      settled: "paid; its job is being searched for at the studio",
    }[payment.state];
    line.append(make("b", "", usd(payment.amount_micro_usdc)), make("span", "what", what), make("span", "quiet", `${state} · payment ${payment.payment_id}`));
    return line;
  }));
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
  } else {
    const first = clip.frames.find((frame) => frame.picture);
    if (first) {
      const image = make("img", "backdrop");
      image.src = first.picture; image.alt = ""; image.loading = "lazy";
      stage.append(image);
    }
    const state = clip.missing ? "The file does not exist any more"
      : { failed: clip.claim ? "Paid, result expired" : "Failed at the studio", complete: "Being saved", pending: "Waiting" }[clip.status] || (clip.progress ? `${clip.progress}%` : "Running");
    stage.append(make("span", "state", state));
    if (running(clip)) {
      const bar = make("div", "bar"), fill = make("i");
      fill.style.width = `${clip.progress}%`;
      bar.append(fill);
      stage.append(bar);
    }
  }
  return stage;
}
function drawPrompt(clip) {
  const prompt = make("p", "prompt", clip.prompt || "(no prompt)"), more = make("button", "more", "more");
  more.type = "button";
  more.hidden = true;
  more.addEventListener("click", () => {
    const whole = prompt.classList.toggle("whole");
    more.textContent = whole ? "less" : "more";
    more.setAttribute("aria-expanded", whole);
  });
  more.setAttribute("aria-expanded", "false");
  return [prompt, more];
}
function offerMore() {
  for (const prompt of document.querySelectorAll(".prompt:not(.whole)")) prompt.nextElementSibling.hidden = prompt.scrollHeight <= prompt.clientHeight + 1;
}
function drawFrames(clip) {
  const row = make("div", "frames"), names = { first: "First frame", last: "Last frame" };
  for (const frame of clip.frames) {
    if (frame.picture) {
      const open = make("a"), image = make("img");
      open.href = frame.picture; open.target = "_blank"; open.rel = "noopener noreferrer";
      image.src = frame.picture; image.alt = names[frame.name]; image.loading = "lazy"; image.title = names[frame.name];
      open.append(image);
      row.append(open);
    } else if (frame.url) row.append(link(frame.url, names[frame.name].toLowerCase()));
  }
  const shown = clip.frames.filter((frame) => frame.picture).map((frame) => frame.name);
  if (shown.length) row.append(make("span", "label", shown.length > 1 ? "first and last frame" : `${shown[0]} frame`));
  return row;
}
function drawClip(clip) {
  const card = make("article", "clip"), text = make("div", "text");
  card.dataset.job = clip.job_id;
  text.append(...drawPrompt(clip));
  if (clip.error) text.append(make("p", "problem", clip.error));
  if (clip.claim) text.append(make("p", "facts quiet", clip.claim));
  if (clip.video_url) {
    const there = make("p", "facts quiet"), seen = clip.url_seen_at ? `named ${moment(clip.url_seen_at)}, expires about 20 minutes later` : "";
    there.append(link(clip.video_url, "video at the studio"), make("span", "", seen));
    text.append(there);
  }
  const facts = make("p", "facts quiet"), paid = make("p", "facts quiet");
  facts.append(make("b", "", usd(clip.price_micro_usdc)), make("span", "", clip.model));
  if (clip.size) facts.append(make("span", "", clip.size));
  const when = make("time", "", moment(clip.created_at));
  when.dateTime = new Date(clip.created_at * 1000).toISOString();
  paid.append(when);
  if (clip.receipt_url) paid.append(link(clip.receipt_url, "receipt"));
  else if (clip.receipt) { const receipt = make("span", "", "paid"); receipt.title = clip.receipt; paid.append(receipt); }
  text.append(drawFrames(clip), facts, paid);
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
    return card && card.signature === JSON.stringify(clip) ? card : drawClip(clip);  // a playing video continues
  });
  if (cards.length !== $("clips").children.length || cards.some((card, index) => $("clips").children[index] !== card)) $("clips").replaceChildren(...cards);
  $("count").textContent = found.length === 1 ? "1 video" : `${found.length} videos`;
  offerMore();
  $("empty").hidden = found.length > 0;
  $("empty").textContent = show.clips.length ? "No video matches." : "No videos yet. They appear here as they are made.";
}
function drawModels() {
  const chosen = $("model").value, models = [...new Set(show.clips.map((clip) => clip.model))].sort();
  if (models.join() === [...$("model").options].slice(1).map((option) => option.value).join()) return;
  $("model").replaceChildren($("model").firstElementChild, ...models.map((name) => { const option = make("option", "", name); option.value = name; return option; }));
  $("model").value = models.includes(chosen) ? chosen : "";
}
function drawAll() {
  const { made_at, ...seen } = show, text = JSON.stringify([seen, show.open.map(ended)]), count = show.clips.filter(running).length;
  say("live", show.live ? (count ? `${count} running` : "up to date") : `as of ${moment(made_at)}`);
  $("live").classList.toggle("busy", show.live && count > 0);
  if (text === drawn) return;
  drawn = text;
  $("profile").hidden = show.profile === "live";
  $("profile").textContent = show.profile === "sandbox" ? "sandbox, play money" : show.profile;
  drawMoney(); drawOpen(); drawModels(); drawClips();
}
let timer = 0;
async function refresh() {
  clearTimeout(timer);
  try {
    const answer = await fetch("data.json", { cache: "no-store" });
    if (answer.ok) { show = await answer.json(); drawAll(); }
    else say("live", "The gallery cannot read the ledger now.");
  } catch { say("live", "The gallery was closed; this is its last state."); }
  clearTimeout(timer);
  timer = setTimeout(refresh, show.clips.some(running) || show.open.length ? LIVE_MS : IDLE_MS);
}
for (const id of ["words", "status", "model"]) $(id).addEventListener("input", drawClips);
$("search").addEventListener("submit", (event) => event.preventDefault());
addEventListener("resize", () => { drawChart(show.money.days, show.money.max_per_day_micro_usdc); offerMore(); });
function offerPicture({ image, width, height }) {
  const told = document.createDocumentFragment(), copy = make("button", "copy", "Copy");
  const words = `Use the picture ${image}`, name = make("code", "", words);
  copy.type = "button";
  copy.addEventListener("click", () => navigator.clipboard.writeText(words).then(() => { copy.textContent = "Copied"; }, () => getSelection().selectAllChildren(name)));
  told.append(make("span", "", `${width} × ${height} pixels. Tell your assistant: `), name, " ", copy);
  return told;
}
drawAll();
if (show.live) {
  openDropZone({ address: "pictures", area: $("drop"), tell: offerPicture, once: false });
  timer = setTimeout(refresh, LIVE_MS);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
}
