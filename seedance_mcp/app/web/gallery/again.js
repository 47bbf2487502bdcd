// Again: the request of a video with something changed, to copy. The page itself buys nothing.
import { make } from "../dom.js";
import { makeCopyButton } from "../copy.js";
import { PLACEHOLDER, readRequest, writeCommand, writeSentence } from "./command.js";

/** @typedef {import("./show").Clip} Clip */

/**
 * Makes the part of the large view that changes a request.
 * @param {Clip} clip
 * @param {string} command
 */
export function makeAgain(clip, command) {
  const details = make("details", "again", make("summary", "", "Again with a change"));
  const prompt = make("textarea");
  prompt.value = clip.prompt;
  prompt.rows = 4;
  const take = make("input");
  take.type = "checkbox";
  const line = make("code"),
    note = make("p", "quiet");

  function readChanged() {
    const request = readRequest(clip);
    request.prompt = prompt.value.trim();
    if (take.checked) request.options.take = Number(request.options.take || 1) + 1;
    return request;
  }
  function update() {
    const request = readChanged(),
      written = writeCommand(command, request);
    line.textContent = written;
    const same = request.prompt === clip.prompt && !take.checked;
    note.textContent = [
      same ? "Nothing is changed: the same request gives this video again and costs nothing." : "",
      written.includes(PLACEHOLDER) ? `Put the path of your picture where ${PLACEHOLDER} stands.` : "",
    ]
      .filter(Boolean)
      .join(" ");
  }
  for (const control of [prompt, take]) control.addEventListener("input", update);
  const copies = make("div", "actions");
  copies.append(
    makeCopyButton(
      "Copy command",
      () => line.textContent || "",
      () => line,
    ),
    makeCopyButton("Copy for your assistant", () => writeSentence(readChanged())),
  );
  details.append(
    make("label", "field", make("span", "label", "Prompt"), prompt),
    make("label", "check", take, make("span", "", "Another take of the same request")),
    line,
    note,
    copies,
  );
  update();
  return details;
}
