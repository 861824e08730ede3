// Where the account is logged in, and logging out elsewhere.

import { h, said } from "/dom.js";
import { deed, load, setting } from "/form.js";
import { text } from "/text.js";

const words = text.devices;

export function devices(app) {
  return setting({
    heading: words.heading,
    lead: h("p", { class: "lead" }, words.lead),
    action: words.show,
    open: (body) => load(body, () => list(app, body)),
  });
}

async function list(app, body, note = "") {
  const found = await app.socket.call("device.list");
  const again = (told) => load(body, () => list(app, body, told));
  const others = found.devices.filter(({ current }) => !current);
  const end = async () => {
    const { count } = await app.socket.call("device.revoke_others");
    await again(words.ended(count));
  };
  return [
    h("ul", { class: "devices" }, found.devices.map((one) => row(app, one, again))),
    others.length > 1 ? deed(words.others, end, { class: "secondary small" }) : null,
    h("p", { class: "note", role: "status" }, note),
  ].filter(Boolean);
}

function row(app, { id, name, address, seen_at: seen, current }, again) {
  const end = async () => {
    await app.socket.call("device.revoke", { device: id });
    await again(words.ended(1));
  };
  const when = h("time", { datetime: seen }, text.ago(new Date(seen)));
  return h("li", {},
    h("div", {}, h("p", { class: "name" }, said(name)), h("p", { class: "hint" }, said(address), ` · ${words.seen} `, when)),
    current
      ? h("span", { class: "badge on" }, words.current)
      : deed(words.revoke, end, { class: "secondary small", "aria-label": words.revokeOf(name) }));
}
