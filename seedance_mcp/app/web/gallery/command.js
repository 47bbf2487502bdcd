// Command: how a video is asked for, as a command line and as a sentence for an assistant.

/** @typedef {import("./show").Clip} Clip */

/**
 * What a video is asked for with.
 * @typedef {{ prompt: string, options: Record<string, string | number | boolean>, pictures: { first: string | null, last: string | null } }} VideoRequest
 */

export const PLACEHOLDER = "PICTURE";

/**
 * Returns what a video was asked for with. Its picture is named where the studio has it, or by a placeholder.
 * @param {Clip} clip
 * @returns {VideoRequest}
 */
export function readRequest(clip) {
  /** @param {string} name */
  const find = (name) => {
    const frame = clip.frames.find((one) => one.name === name);
    return frame ? frame.url || PLACEHOLDER : null;
  };
  return { prompt: clip.prompt, options: { ...clip.options }, pictures: { first: find("first"), last: find("last") } };
}

/**
 * Returns the command line that asks for it.
 * @param {string} command
 * @param {VideoRequest} request
 */
export function writeCommand(command, request) {
  const parts = [command];
  if (request.pictures.first) parts.push(quote(request.pictures.first));
  parts.push("--prompt", quote(request.prompt));
  if (request.pictures.last) parts.push("--last-image", quote(request.pictures.last));
  for (const [name, value] of Object.entries(request.options)) {
    const option = name.replaceAll("_", "-");
    if (value === true) parts.push(`--${option}`);
    else if (value === false) parts.push(`--no-${option}`);
    else parts.push(`--${option}`, quote(String(value)));
  }
  return parts.join(" ");
}

/**
 * Returns a sentence that asks an assistant for it.
 * @param {VideoRequest} request
 */
export function writeSentence(request) {
  const { first, last } = request.pictures;
  const known = first && first !== PLACEHOLDER ? ` of ${first}` : " of the same picture";
  const end = last && last !== PLACEHOLDER ? `, ending with ${last}` : "";
  const options = Object.entries(request.options).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`);
  return `Make a video${known}${end}${options.length ? `, with ${options.join(", ")}` : ""}. Prompt: ${request.prompt}`;
}

/**
 * Returns a text as one word of a command line, for this machine's shell: PowerShell doubles a quote, others escape it.
 * @param {string} text
 */
function quote(text) {
  if (/^[\w@%+=:,./-]+$/.test(text)) return text;
  const inner = navigator.userAgent.includes("Windows") ? "''" : `'\\''`;
  return `'${text.replaceAll("'", inner)}'`;
}
