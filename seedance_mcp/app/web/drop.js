// The zone that takes a picture: chosen, dropped or pasted, and sent byte for byte. Texts are set as text, never as markup.
import { byId, findIn } from "./dom.js";

/** @typedef {{ image: string, width: number, height: number, changes: string[], preview: string }} Received */

const CLOSED = "This page was closed. Ask your assistant for a new link.";

/**
 * Opens the zone.
 * @param {{ address: string, area: HTMLElement, once: boolean, tell: (received: Received) => string | Node }} options
 *   Where the picture goes, what a file may be dropped on, whether one picture is all, and what to say of it.
 */
export function openDropZone({ address, area, tell, once }) {
  const zone = byId("drop");
  const input = findIn(zone, "input");
  const image = findIn(zone, "img");
  const outcome = findIn(zone, "p");
  const bytesMax = Number(zone.dataset.bytes);

  /**
   * @param {string} state
   * @param {string | Node} text
   */
  function show(state, text) {
    zone.dataset.state = state;
    outcome.replaceChildren(text);
    input.disabled = state === "closed" || (once && state === "done");
  }
  /** @param {string} source */
  function see(source) {
    image.hidden = !source;
    if (source) image.src = source;
    else image.removeAttribute("src");
  }
  function isClosed() {
    return zone.dataset.state === "sending" || input.disabled;
  }
  /**
   * Returns why a picture was not taken, or nothing.
   * @param {File} file
   */
  async function send(file) {
    if (file.size > bytesMax) return `The picture is larger than ${bytesMax / 1e6} MB. Make it smaller and try again.`;
    const headers = { "content-type": "application/octet-stream" };
    const answer = await fetch(address, { method: "PUT", body: file, headers });
    const received = await answer.json().catch(() => ({}));
    if (!answer.ok) return received.error || "The picture was refused. Ask your assistant for a new link.";
    see(received.preview);
    show("done", tell(received));
    return "";
  }
  /** @param {File[]} files */
  async function take(files) {
    if (isClosed() || files.length === 0) return;
    if (files.length > 1) return show("failed", "That is more than one picture. Give one.");
    const local = URL.createObjectURL(files[0]);
    see(local);
    show("sending", "Reading the picture …");
    const problem = await send(files[0]).catch(() => CLOSED);
    URL.revokeObjectURL(local);
    if (problem) {
      see("");
      show("failed", problem);
    }
    input.value = ""; // the same file can be chosen again
  }
  // A browser cannot show every kind that is accepted.
  image.addEventListener("error", () => (image.hidden = true));
  input.addEventListener("change", () => take([...(input.files ?? [])]));
  area.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.toggle("over", !isClosed());
  });
  area.addEventListener("dragleave", (event) => {
    if (!(event.relatedTarget instanceof Node && area.contains(event.relatedTarget))) zone.classList.remove("over");
  });
  area.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    const files = [...(event.dataTransfer?.files ?? [])];
    if (files.length === 0 && !isClosed())
      show("failed", "Only a file can be dropped here. Save the picture first, then choose the file.");
    take(files);
  });
  // A file that misses the zone must not replace the page.
  for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
  addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    take(files);
  });
  zone.hidden = false;
  return {
    /** @param {string} text */
    close(text) {
      see("");
      show("closed", text);
    },
    /** @param {string} text */
    done(text) {
      show("done", text);
    },
  };
}
