// Offers: what the video can be paid with, as a table.
import { make } from "../../app/web/dom.js";
import { nameNetwork } from "./money.js";
import { readMicro, readObjects, readText, readUsd } from "./values.js";

/** @typedef {import("./types").Data} Data */

const HEADS = ["Pay with", "Price", "In the wallet"];

/** @param {unknown} offers */
export function makeOffers(offers) {
  const rows = readObjects(offers).flatMap(makeRows);
  if (!rows.length) return null;
  const heads = HEADS.map((text) => {
    const head = make("th", "", text);
    head.scope = "col";
    return head;
  });
  return make("table", "", make("thead", "", make("tr", "", ...heads)), make("tbody", "", ...rows));
}

/**
 * Makes the row of an offer, and a second one if it is refused.
 * @param {Data} offer
 */
function makeRows(offer) {
  const fee = readMicro(offer.fee_usd) ? make("small", "", ` + ${readUsd(offer.fee_usd)} fee`) : "";
  const because = readText(offer.refused_because);
  const row = make(
    "tr",
    because ? "out" : "",
    make("td", "", nameNetwork(offer.network)),
    make("td", "", readUsd(offer.price_usd), fee),
    make("td", "", readUsd(offer.balance_usd) || "not known"),
  );
  if (!because) return [row];
  const cell = make("td", "long", make("small", "", because));
  cell.colSpan = HEADS.length;
  return [row, make("tr", "because", cell)];
}
