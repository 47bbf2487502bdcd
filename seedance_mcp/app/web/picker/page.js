const page = JSON.parse(document.getElementById("data").textContent), part = (id) => document.getElementById(id);
const EXPIRED = "This link has expired. Ask your assistant for a new one.";
function finish() {
  part("title").textContent = document.title = "The picture is here";
  part("lead").textContent = "Tell your assistant that it is there. You can close this page.";
  part("expiry").hidden = true;
}
function describe({ width, height, changes }) {
  finish();
  return [`${width} × ${height} pixels`, ...changes].join(" · ");
}
const zone = openDropZone({ address: location.href, area: document.documentElement, tell: describe, once: true });
if (page.hosted) part("place").textContent = "this server";
part("profile").hidden = page.profile === "live";
part("profile").textContent = page.profile === "sandbox" ? "sandbox, play money" : page.profile;
const expires = new Date(page.expires_at * 1000);
part("expiry").textContent = `This link takes one picture, until ${expires.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })}.`;
function expire() {
  if (["sending", "done"].includes(part("drop").dataset.state)) return;
  zone.close(EXPIRED);
  part("expiry").hidden = true;
}
if (page.state === "filled") { finish(); zone.done(""); }
else if (page.state === "expired") expire();
else setTimeout(expire, Math.max(0, expires - Date.now()));
