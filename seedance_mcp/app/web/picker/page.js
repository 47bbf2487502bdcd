// The page for a picture: takes one over its link, until the link expires.
import { byId, setText } from "../dom.js";
import { openDropZone } from "../drop.js";

const EXPIRED = "This link has expired. Ask your assistant for a new one.";

/** @type {{ state: string, expires_at: number, profile: string, hosted?: boolean }} */
const link = JSON.parse(byId("data").textContent || "");
const expires = new Date(link.expires_at * 1000);

function finish() {
  document.title = "The picture is here";
  setText(byId("title"), document.title);
  setText(byId("lead"), "Tell your assistant that it is there. You can close this page.");
  byId("expiry").hidden = true;
}
/** @param {{ width: number, height: number, changes: string[] }} received */
function describe({ width, height, changes }) {
  finish();
  return [`${width} × ${height} pixels`, ...changes].join(" · ");
}
const zone = openDropZone({ address: location.href, area: document.documentElement, tell: describe, once: true });
function expire() {
  if (["sending", "done"].includes(byId("drop").dataset.state ?? "")) return;
  zone.close(EXPIRED);
  byId("expiry").hidden = true;
}
if (link.hosted) setText(byId("place"), "this server");
byId("profile").hidden = link.profile === "live";
setText(byId("profile"), link.profile === "sandbox" ? "sandbox, play money" : link.profile);
const until = expires.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
setText(byId("expiry"), `This link takes one picture, until ${until}.`);
if (link.state === "filled") {
  finish();
  zone.done("");
} else if (link.state === "expired") expire();
else setTimeout(expire, Math.max(0, expires.getTime() - Date.now()));
