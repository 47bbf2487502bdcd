// Copy: puts a text on the clipboard, and says so on the button.
import { make, makeButton } from "./dom.js";

const COPIED_MS = 2500;

/**
 * Makes a button that copies a text; where the browser refuses, it selects the text for the keyboard.
 * @param {string} label
 * @param {() => string} read Returns the text at the moment of the click.
 * @param {() => Node | null} [shown] Returns the element that shows the text.
 */
export function makeCopyButton(label, read, shown = () => null) {
  const words = make("span", "", label);
  words.setAttribute("aria-live", "polite");
  const button = makeButton("", copy, "copy");
  button.append(words);

  async function copy() {
    try {
      await navigator.clipboard.writeText(read());
      words.textContent = "Copied";
    } catch {
      const node = shown();
      if (node) getSelection()?.selectAllChildren(node);
      words.textContent = node ? "Selected: press Ctrl+C" : "This browser refuses";
    }
    setTimeout(() => (words.textContent = label), COPIED_MS);
  }
  return button;
}
