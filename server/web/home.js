// The start page of somebody who is logged in: who they are, and what keeps the account safe.

import { avatar, button, h, said, show } from "/dom.js";
import { deed, form } from "/form.js";
import { connect } from "/welcome.js";
import { devices } from "/devices.js";
import { line } from "/status.js";
import { text } from "/text.js";
import { twoFactor } from "/two_factor.js";

export function home(app, signal) {
  const { account } = app.session;
  return h("div", { class: "home" },
    identity(app, account),
    h("section", { class: "settings", "aria-labelledby": "settings-heading" },
      h("h2", { id: "settings-heading" }, text.home.settings),
      h("div", { class: "card rows" }, picture(app), password(app), twoFactor(app), devices(app, signal))),
    h("div", { class: "side" }, line(app.socket, signal), connect(app.socket, signal)));
}

function identity(app, account) {
  const words = text.home;
  const name = account.display_name || account.username;
  return h("header", { class: "identity" },
    portrait(app),
    h("div", { class: "who" },
      h("h1", {}, said(name)),
      h("p", { class: "lead" }, h("span", { class: "visually-hidden" }, words.as, " "), said(`@${account.username}`),
        account.role === "member" ? null : h("span", { class: "badge" }, words.roles[account.role])),
      h("p", { class: "mail" }, mail(app, account))),
    deed(words.logout, () => app.session.logout(), { properties: { class: "secondary" } }));
}

function portrait(app) {
  const place = h("span", { class: "portrait" }, avatar(app.session.account.avatar, 88));
  app.portrait = (name) => place.replaceChildren(avatar(name, 88));
  return place;
}

function mail(app, { email, email_verified: verified }) {
  const words = text.home;
  if (email === null) return [words.emailNone];
  if (verified) return [said(email), " · ", words.emailConfirmed];
  const again = async () => {
    await app.socket.call("account.send_verification");
    return words.emailSent;
  };
  return [said(email), " · ", words.emailOpen, " · ", deed(words.emailAgain, again, { properties: { class: "link" } })];
}

// One setting: a line that says how it is, and opens to change it. `open` makes what is inside.
export function setting({ heading, lead, action, open }) {
  const body = h("div", { class: "body" });
  const status = h("p", { class: "lead" }, lead);
  const summary = h("summary", {}, h("div", {}, h("h3", {}, heading), status), h("span", { class: "act", "aria-hidden": "true" }, action));
  const element = h("details", { class: "setting", ontoggle: () => element.open && body.replaceChildren(...[open(body, status)].flat()) }, summary, body);
  return element;
}

function picture(app) {
  const words = text.avatar;
  return setting({
    heading: words.heading,
    lead: words.lead,
    action: words.change,
    open: (body) => {
      offer(app, body);
      return [];
    },
  });
}

async function offer(app, body) {
  const { avatars } = await app.socket.call("account.avatars");
  const note = h("p", { class: "note", role: "status" });
  const choose = async (name) => {
    const changed = await app.socket.call("account.set_avatar", { avatar: name });
    app.session.account = changed;
    app.portrait(changed.avatar);
    note.textContent = text.avatar.saved;
  };
  const choices = avatars.map((name) => {
    const input = h("input", { type: "radio", name: "avatar", value: name, checked: name === app.session.account.avatar, onchange: () => choose(name) });
    return h("label", { title: name }, input, avatar(name, 56), h("span", { class: "visually-hidden" }, name));
  });
  body.replaceChildren(h("fieldset", { class: "avatars" }, h("legend", { class: "visually-hidden" }, text.avatar.heading), choices), note);
}

function password(app) {
  const words = text.password;
  const had = app.session.account.has_password;
  return setting({
    heading: words.heading,
    lead: had ? words.lead : words.none,
    action: had ? words.change : words.set,
    open: (body) => passwordForm(app, body, had),
  });
}

function passwordForm(app, body, had) {
  const words = text.password;
  const current = { name: "password", label: words.current, type: "password", autocomplete: "current-password" };
  const next = {
    name: "new_password", label: words.next, type: "password", autocomplete: "new-password",
    hint: text.enter.passwordHint, shortest: 10,
  };
  return form({
    submit: words.save,
    fields: had ? [current, next] : [next],
    action: async (values) => {
      await app.socket.call("account.change_password", { password: "", ...values });
      show(body, h("p", { class: "note", role: "status" }, words.saved));
      app.session.account = { ...app.session.account, has_password: true };
    },
  });
}
