// Quote: the price of a video or film, whether the limits allow it, and the button that asks for it.
import { make } from "../../app/web/dom.js";
import { makePrompt, nameBuyingTool, nameSize } from "./call.js";
import { makeActions, makeFacts, makeMessageButton, makeNote, makeNotes } from "./elements.js";
import { markNetwork } from "./money.js";
import { makeOffers } from "./offers.js";
import { formatMicro, readMicro, readObjects, readText, readUsd } from "./values.js";

/** @typedef {import("./types").Data} Data */
/** @typedef {import("./types").Part} Part */

/**
 * @param {Data} quote
 * @returns {Part[]}
 */
export function makeQuote(quote) {
  const { allowed, fee, free, price, upload } = readPrices(quote);
  const whole = `$${formatMicro(readMicro(quote.cost_usd) || readMicro(quote.price_usd))}`;
  for (const offer of readObjects(quote.offers)) markNetwork(offer.network);
  const uncertain = quote.exact !== true ? "about " : fee > 0 ? "at most " : "";
  const prefix = price && uncertain && !free ? make("small", "", uncertain) : "";
  const amount = make("h1", "price", prefix, !price ? "No price" : free ? "$0.00" : whole);
  const verdict = free ? "Bought before" : allowed ? "Within your limits" : "Not within your limits";
  const parts = [
    `${price} the video`,
    upload ? `$${formatMicro(upload)} to host the picture, once` : "",
    fee > 0 ? `at most $${formatMicro(fee)} network fee` : "",
  ];
  return [
    make("div", "head", amount, make("span", `verdict ${allowed ? "yes" : "no"}`, verdict)),
    !free && price && whole !== price ? makeFacts(...parts) : null,
    makePrompt(),
    makeFacts(nameSize()),
    makeNote(allowed ? "" : readText(quote.refused_because), "warn long"),
    makeNote(readText(quote.warning), "warn long"),
    makeOffers(quote.offers),
    makeFacts(
      readUsd(quote.left_today_usd) && `${readUsd(quote.left_today_usd)} left today`,
      readUsd(quote.max_price_per_video_usd) && `at most ${readUsd(quote.max_price_per_video_usd)} a video`,
    ),
    makeNotes(quote.notes),
    allowed && price ? makeActions(makeBuyButton(free, fee > 0 ? `at most ${whole}` : whole, whole)) : null,
  ];
}

/** @param {Data} quote */
function readPrices(quote) {
  const upload = readMicro(quote.upload_price_usd);
  return {
    allowed: quote.allowed === true,
    price: readUsd(quote.price_usd),
    upload,
    fee: readMicro(quote.cost_usd) - readMicro(quote.price_usd) - upload,
    free: /^0(\.0+)?$/.test(readText(quote.cost_usd)), // paid before, or being paid
  };
}

/**
 * @param {boolean} free True if the video was bought before.
 * @param {string} cost What leaves the wallet, in words.
 * @param {string} whole The same as an amount.
 */
function makeBuyButton(free, cost, whole) {
  const tool = nameBuyingTool();
  const call = `call ${tool} with the same arguments as the quote`;
  if (free) return makeMessageButton("Show it", `Please ${call}: it costs nothing.`, "main");
  const what = tool === "animate_image" ? "video" : "film";
  const message = `Please make this ${what}: ${call} and max_price_usd "${whole.slice(1)}".`;
  return makeMessageButton(`Make it for ${cost}`, message, "main");
}
