// Failure: an error of a tool, which begins with what happened to the money.
import { make } from "../../app/web/dom.js";
import { makeActions, makeHostLink, makeNote, makeTitle } from "./elements.js";
import { findText } from "./results.js";
import { formatMicro, readObject, readText } from "./values.js";

/** @typedef {import("./types").Data} Data */
/** @typedef {import("./types").Part} Part */

/**
 * @param {Data} result
 * @returns {Part[]}
 */
export function makeFailure(result) {
  const error = readObject(readObject(result._meta)["seedance-mcp/error"]);
  const code = readText(error.code);
  const text = readText(findText(result));
  const body = code && text.startsWith(`${code}: `) ? text.slice(code.length + 2) : text;
  return [
    makeTitle(nameMoney(error) ?? (result.isError ? "That did not work" : "Done")),
    makeNote(body, "long"),
    code ? make("p", "quiet", make("code", "", code)) : null,
    makeActions(makeHostLink("Open the video", error.video_url, "button")),
  ];
}

/** @param {Data} error */
function nameMoney(error) {
  const micro = formatMicro(error.amount_micro_usdc);
  const amount = micro ? `$${micro}` : "The price";
  if (error.payment_state === "none") return "Nothing was paid";
  if (error.payment_state === "held") return `${amount} is held until the payment is certain`;
  return error.payment_state === "settled" ? `${amount} was paid` : null;
}
