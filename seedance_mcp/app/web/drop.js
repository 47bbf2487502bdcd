"use strict";
// The zone that takes a picture: chosen, dropped or pasted, and sent byte for byte. Texts are set as text, never as markup.
function openDropZone({ address, area, tell, once }) {
  const zone = document.getElementById("drop"), input = zone.querySelector("input"), image = zone.querySelector("img");
  const outcome = zone.querySelector(".outcome"), bytesMax = Number(zone.dataset.bytes);
  const show = (state, text) => { zone.dataset.state = state; outcome.replaceChildren(text); input.disabled = state === "closed" || (once && state === "done"); };
  const see = (source) => { image.hidden = !source; if (source) image.src = source; else image.removeAttribute("src"); };
  const closed = () => zone.dataset.state === "sending" || input.disabled;
  async function send(file) {
    if (file.size > bytesMax) return `The picture is larger than ${bytesMax / 1e6} MB. Make it smaller and try again.`;
    const answer = await fetch(address, { method: "PUT", body: file, headers: { "content-type": "application/octet-stream" } });
    const told = await answer.json().catch(() => ({}));
    if (!answer.ok) return told.error || "The picture was refused. Ask your assistant for a new link.";
    see(told.preview);
    show("done", tell(told));
    return "";
  }
  async function take(files) {
    if (closed() || files.length === 0) return;
    if (files.length > 1) { show("failed", "That is more than one picture. Give one."); return; }
    const local = URL.createObjectURL(files[0]);
    see(local);
    show("sending", "Reading the picture …");
    const problem = await send(files[0]).catch(() => "This page was closed. Ask your assistant for a new link.");
    URL.revokeObjectURL(local);
    if (problem) { see(""); show("failed", problem); }
    input.value = "";  // the same file can be chosen again
  }
  image.addEventListener("error", () => { image.hidden = true; });  // a browser cannot show every kind that is accepted
  input.addEventListener("change", () => take([...input.files]));
  area.addEventListener("dragover", (event) => { event.preventDefault(); zone.classList.toggle("over", !closed()); });
  area.addEventListener("dragleave", (event) => { if (!area.contains(event.relatedTarget)) zone.classList.remove("over"); });
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = [...event.dataTransfer.files];
    if (files.length === 0 && !closed()) show("failed", "Only a file can be dropped here. Save the picture first, then choose the file.");
    take(files);
  });
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());  // a file that misses the zone must not replace the page
  addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    if (files.length) { event.preventDefault(); take(files); }
  });
  zone.hidden = false;
  return { close: (text) => { see(""); show("closed", text); }, done: (text) => show("done", text) };
}
