// Live: takes changes from the server as they happen, while the page is visible.

/** @typedef {import("./show").Change} Change */

const RETRY_MS = 4000;

/**
 * Follows the server.
 * @param {{ version: () => string, change: (change: Change) => void, trouble: (text: string) => void }} options
 */
export function follow({ version, change, trouble }) {
  /** @type {EventSource | null} */
  let source = null;
  let timer = 0;

  function open() {
    close();
    source = new EventSource(`events?version=${version()}`);
    source.addEventListener("change", (event) => change(JSON.parse(event.data)));
    source.addEventListener("trouble", (event) => trouble(JSON.parse(event.data)));
    source.addEventListener("error", () => {
      close();
      trouble("The gallery was closed; this is its last state.");
      timer = setTimeout(open, RETRY_MS);
    });
  }
  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  if (!document.hidden) open();
}
