// Money: what was spent against the limits, what the wallet holds, and payments that are not over.
import { byId, make, setText } from "../dom.js";
import { clock, usd } from "./words.js";

/** @typedef {import("./show").Show} Show */
/** @typedef {import("./show").OpenPayment} OpenPayment */
/** @typedef {import("./show").Balance} Balance */

/** @type {Record<string, string>} */
const NOUNS = { upload: "Upload of a picture", film: "A film" };

/** @param {Omit<Show, "clips">} show */
export function drawMoney({ money }) {
  const day = {
    name: "24 hours",
    spent_micro_usdc: money.spent_last_day_micro_usdc,
    max_micro_usdc: money.max_per_day_micro_usdc,
  };
  byId("windows").replaceChildren(...[day, ...money.windows].map(makeWindow));
  setText(byId("total"), usd(money.spent_total_micro_usdc));
  const total = money.max_total_micro_usdc;
  setText(byId("total-limit"), total === null ? "no limit in all" : `of ${usd(total)} in all`);
  const asks = money.ask_above_micro_usdc;
  setText(
    byId("video-limit"),
    [
      `At most ${usd(money.max_price_per_video_micro_usdc)} a video`,
      asks === null ? "" : asks ? `asks you above ${usd(asks)}` : "asks you for each",
    ]
      .filter(Boolean)
      .join(", "),
  );
}

/** @param {{ name: string, spent_micro_usdc: number, max_micro_usdc: number }} window */
function makeWindow({ name, spent_micro_usdc: spent, max_micro_usdc: most }) {
  const share = Math.min(1, most ? spent / most : 1);
  const fill = make("i", share > 0.9 ? "full" : "");
  fill.style.width = `${share * 100}%`;
  const meter = make("div", "meter", fill);
  meter.setAttribute("aria-hidden", "true");
  const label = make("span", "label", `Last ${name}`);
  return make(
    "div",
    "figure",
    label,
    make("strong", "", usd(spent)),
    make("span", "quiet", `of ${usd(most)} in any ${name}`),
    meter,
  );
}

/** @param {{ balances: Balance[], note: string }} told */
export function drawBalances({ balances, note }) {
  byId("wallet").hidden = false;
  const known = balances.filter((one) => one.micro_usdc !== null);
  const sum = known.reduce((all, one) => all + (one.micro_usdc ?? 0), 0);
  setText(byId("balance"), known.length ? usd(sum) : "–");
  const parts =
    known.length > 1 ? known.map((one) => `${usd(one.micro_usdc ?? 0)} ${one.name}`) : known.map((one) => one.name);
  setText(byId("balance-note"), [parts.join(", "), note].filter(Boolean).join(". "));
}

/** @param {OpenPayment} payment */
export function hasExpired(payment) {
  return payment.hold_until * 1000 < Date.now();
}

/** @param {OpenPayment[]} payments */
export function drawOpen(payments) {
  const held = payments.filter((one) => one.state !== "settled").reduce((sum, one) => sum + one.amount_micro_usdc, 0);
  setText(byId("open-title"), held ? `Not settled yet: ${usd(held)} held` : "Paid, video not found yet");
  byId("open-payments").replaceChildren(
    ...payments.map((payment) => {
      const what = payment.prompt || NOUNS[payment.purpose] || "A video";
      const past = hasExpired(payment) && "its credential has expired, the chain will show the outcome";
      const state = {
        reserved: "is being paid",
        signed: `no answer yet; ${past || `its credential expires at ${clock(payment.hold_until)}`}`,
        refused: past ? `refused; ${past}` : `refused, held until ${clock(payment.hold_until)}`,
        film: "reserved for the shots that are not bought yet",
        settled: "paid; its job is being searched for at the studio",
      }[payment.state];
      return make(
        "li",
        "",
        make("b", "", usd(payment.amount_micro_usdc)),
        make("span", "what", what),
        make("span", "quiet", payment.payment_id ? `${state} · payment ${payment.payment_id}` : state),
      );
    }),
  );
  byId("open").hidden = payments.length === 0;
}
