// Money: names the networks, and marks play money.
import { byId } from "../../app/web/dom.js";
import { readText } from "./values.js";

/** @type {Map<string, string>} */
const NETWORKS = new Map([
  ["eip155:8453", "USDC on Base"],
  ["eip155:4217", "Dollars on Tempo"],
  ["eip155:402402", "Sandbox USDC"],
  ["eip155:4024217", "Sandbox dollars"],
]);
const PLAY_NETWORKS = ["eip155:402402", "eip155:4024217"];

/** @param {unknown} network */
export function nameNetwork(network) {
  return NETWORKS.get(readText(network)) ?? readText(network);
}

/** Shows the mark of play money if the server's settings are those of a sandbox. */
export function markProfile() {
  byId("mark").hidden = document.body.dataset.money !== "play";
}

/**
 * Shows the mark of play money if a payment is on a sandbox's network.
 * @param {unknown} network
 */
export function markNetwork(network) {
  if (PLAY_NETWORKS.includes(readText(network))) byId("mark").hidden = false;
}
