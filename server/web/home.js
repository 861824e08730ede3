// The start page of somebody who is logged in: who they are, and what keeps the account safe.

import { avatar, h, said } from "/dom.js";
import { devices } from "/devices.js";
import { deed, load, setting } from "/form.js";
import { password, twoFactor } from "/security.js";
import { line } from "/status.js";
import { text } from "/text.js";
import { connect } from "/welcome.js";

export function home(app, signal) {
  const portrait = h("span", { class: "portrait" }, avatar(app.session.account.avatar, 88));
  return h("div", {},
    identity(app, portrait),
    h("section", { class: "settings", "aria-labelledby": "settings-heading" },
      h("h2", { id: "settings-heading", class: "visually-hidden" }, text.home.settings),
      h("div", { class: "card rows" }, picture(app, portrait), password(app), twoFactor(app), devices(app))),
    h("div", { class: "side" }, line(app.socket, signal), connect(app.socket, signal)));
}

function identity(app, portrait) {
  const { account } = app.session;
  const role = account.role === "member" ? null : h("span", { class: "badge" }, text.home.roles[account.role]);
  return h("header", { class: "identity" },
    portrait,
    h("div", { class: "who" },
      h("h1", {}, said(account.display_name || account.username)),
      h("p", { class: "lead" }, `${text.home.as} `, said(`@${account.username}`), role),
      h("p", { class: "mail" }, mail(app, account))),
    deed(text.home.logout, () => app.session.logout(), { class: "secondary" }));
}

function mail(app, { email, email_verified: confirmed }) {
  const words = text.home;
  if (email === null) return [words.emailNone];
  if (confirmed) return [said(email), ` · ${words.emailConfirmed}`];
  const again = async () => {
    await app.socket.call("account.send_verification");
    return words.emailSent;
  };
  return [said(email), ` · ${words.emailOpen} · `, deed(words.emailAgain, again, { class: "link" })];
}

function picture(app, portrait) {
  const words = text.avatar;
  const choose = async (name) => {
    app.session.account = await app.socket.call("account.set_avatar", { avatar: name });
    portrait.replaceChildren(avatar(name, 88));
    return h("p", { class: "note", role: "status" }, words.saved);
  };
  const choices = async () => {
    const { avatars } = await app.socket.call("account.avatars");
    const note = h("div", { "aria-live": "polite" });
    const choice = (name) => {
      const checked = name === app.session.account.avatar;
      const input = h("input", { type: "radio", name: "avatar", value: name, checked, onchange: () => load(note, () => choose(name)) });
      return h("label", { title: name }, input, avatar(name, 56), h("span", { class: "visually-hidden" }, name));
    };
    return [h("fieldset", { class: "avatars" }, h("legend", { class: "visually-hidden" }, words.heading), avatars.map(choice)), note];
  };
  return setting({
    heading: words.heading,
    lead: h("p", { class: "lead" }, words.lead),
    action: words.change,
    open: (body) => load(body, choices),
  });
}
