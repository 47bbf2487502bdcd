// Values: checks each value of the host, the server and the studio before the page uses it.

/** @typedef {import("./types").Data} Data */

const TEXT_MAX = 2000;
const ITEMS_MAX = 50;
const MICRO = 1e6;
const LOOPBACK = ["127.0.0.1", "localhost", "[::1]"];

/**
 * @param {unknown} value
 * @returns {Data}
 */
export function readObject(value) {
  return value && typeof value === "object" && !Array.isArray(value) ? /** @type {Data} */ (value) : {};
}

/**
 * @param {unknown} value
 * @returns {unknown[]}
 */
export function readList(value) {
  return Array.isArray(value) ? value.slice(0, ITEMS_MAX) : [];
}

/** @param {unknown} value */
export function readObjects(value) {
  return readList(value).map(readObject);
}

/** @param {unknown} value */
export function readText(value) {
  return typeof value === "string" ? value.slice(0, TEXT_MAX) : "";
}

/**
 * Returns a text of the studio without the marks that the server puts around it.
 * @param {unknown} value
 */
export function unquote(value) {
  return readText(value).replace(/^«|»$/g, "");
}

/**
 * Returns an amount as `$0.32`, or an empty text.
 * @param {unknown} value
 */
export function readUsd(value) {
  return typeof value === "string" && /^\d+(\.\d+)?$/.test(value) ? `$${value}` : "";
}

/** @param {unknown} value */
export function readMicro(value) {
  return readUsd(value) ? Math.round(Number(value) * MICRO) : 0;
}

/**
 * Returns micro-USDC as `0.32`, with at least two decimals, or an empty text.
 * @param {unknown} value
 */
export function formatMicro(value) {
  return Number.isInteger(value) ? (Number(value) / MICRO).toFixed(6).replace(/(\.\d\d\d*?)0+$/, "$1") : "";
}

/**
 * Returns an address that may be opened: https, or http on this machine.
 * @param {unknown} value
 */
export function readUrl(value) {
  let url;
  try {
    url = new URL(readText(value));
  } catch {
    return null;
  }
  const here = url.protocol === "http:" && LOOPBACK.includes(url.hostname);
  return (url.protocol === "https:" || here) && !url.username && !url.password ? url.href : null;
}

/**
 * Returns a picture that is in the message itself: a path or a URL of elsewhere is not for a page.
 * @param {unknown} value
 */
export function readPicture(value) {
  const safe = typeof value === "string" && /^data:image\/(jpeg|png|webp|gif);base64,[A-Za-z0-9+/=]+$/.test(value);
  return safe ? value : null;
}

/**
 * @param {unknown} blob
 * @param {unknown} kind
 */
export function readVideo(blob, kind) {
  if (typeof blob !== "string" || !/^[A-Za-z0-9+/=]+$/.test(blob)) return null;
  const type = /^video\/[a-z0-9-]+$/.test(readText(kind)) ? readText(kind) : "video/mp4";
  return `data:${type};base64,${blob}`;
}
