// Password and second factor of the account that is logged in.

import { button, copyable, h, show } from "/dom.js";
import { form, setting } from "/form.js";
import { text } from "/text.js";

const CURRENT = { name: "password", label: text.password.current, type: "password", autocomplete: "current-password" };

export function password(app) {
  const words = text.password;
  const had = app.session.account.has_password;
  const next = {
    name: "new_password", label: words.next, type: "password", autocomplete: "new-password",
    hint: text.enter.passwordHint, shortest: 10,
  };
  const change = (body) => form({
    submit: words.save,
    fields: had ? [CURRENT, next] : [next],
    action: async (values) => {
      await app.socket.call("account.change_password", { password: "", ...values });
      show(body, h("p", { class: "note", role: "status" }, words.saved));
      app.session.account = await app.socket.call("account.get");
    },
  });
  return setting({
    heading: words.heading,
    lead: h("p", { class: "lead" }, had ? words.lead : words.none),
    action: had ? words.change : words.set,
    open: (body) => show(body, change(body)),
  });
}

export function twoFactor(app) {
  const words = text.twoFactor;
  const on = app.session.account.two_factor;
  const badge = h("span", { class: on ? "badge on" : "badge" }, on ? words.on : words.off);
  return setting({
    heading: words.heading,
    lead: h("p", { class: "lead" }, words.lead, " ", badge),
    action: on ? words.turnOff : words.setUp,
    open: (body) => show(body, on ? turnOff(app) : begin(app, body, badge)),
  });
}

// The password again; an account that has none proves itself by a fresh login.
function proof(app) {
  return app.session.account.has_password ? [{ ...CURRENT, label: text.twoFactor.password }] : [];
}

function begin(app, body, badge) {
  return form({
    submit: text.twoFactor.begin,
    fields: proof(app),
    action: async (values) => {
      const secret = await app.socket.call("two_factor.enable", { password: "", ...values });
      show(body, ...confirm(app, body, badge, secret));
    },
  });
}

function confirm(app, body, badge, { secret, uri }) {
  const words = text.twoFactor;
  return [
    h("p", {}, words.scan),
    copyable(words.secret, secret.match(/.{1,4}/g).join(" ")),
    h("p", {}, h("a", { class: "uri", href: uri }, uri)),
    h("p", {}, words.confirmLead),
    form({
      submit: words.confirm,
      fields: [{ name: "code", label: text.enter.code, autocomplete: "one-time-code", inputmode: "numeric" }],
      action: async ({ code }) => {
        const { codes } = await app.socket.call("two_factor.confirm", { code: code.replaceAll(" ", "") });
        badge.textContent = words.on;
        badge.classList.add("on");
        show(body, ...recovery(app, codes));
      },
    }),
  ];
}

function recovery(app, codes) {
  const words = text.twoFactor;
  return [
    h("h4", {}, words.codesHeading),
    h("p", {}, words.codesLead),
    h("div", { class: "codes" }, copyable(words.codes, codes.join("\n"))),
    button(words.codesKept, () => app.session.reload(), { class: "primary" }),
  ];
}

function turnOff(app) {
  const words = text.twoFactor;
  return form({
    submit: words.turnOff,
    style: "danger",
    fields: [...proof(app), { name: "code", label: words.code, autocomplete: "one-time-code" }],
    action: async ({ code, ...values }) => {
      await app.socket.call("two_factor.disable", { password: "", ...values, code: code.replaceAll(" ", "") });
      await app.session.reload();
    },
  });
}
