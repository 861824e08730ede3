// Getting in: log in, create an account, the second step, and outside services.

import { button, h, show } from "/dom.js";
import { form } from "/form.js";
import { kept } from "/session.js";
import { text } from "/text.js";

const EXTERNAL = "onesocket.external";
const words = text.enter;

// What user agents contain, with the name of whose it is; the first that fits counts.
const BROWSERS = [["Edg/", "Edge"], ["OPR/", "Opera"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]];
const SYSTEMS = [
  ["Android", "Android"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["Windows", "Windows"],
  ["Mac OS", "Mac"], ["CrOS", "ChromeOS"], ["Linux", "Linux"],
];

// A card that ends in a login; `session` then changes. `first` is the form to begin with: login or register.
export function enter(app, { first = "login", level = "h2" } = {}) {
  const place = h("section", { class: "card enter" });
  const outside = h("div", { class: "outside" });
  const forms = { login, register };

  function turn(which, notice = "") {
    show(place,
      h(level, {}, words[which]),
      h("p", { class: "lead" }, words[`${which}Lead`]),
      notice ? h("p", { class: "notice", role: "status" }, words[notice]) : null,
      forms[which](),
      outside,
      other(which));
  }

  function other(which) {
    const to = which === "login" ? "register" : "login";
    const question = which === "login" ? words.toRegister : words.toLogin;
    return h("p", { class: "turn" }, question, " ", button(words[to], () => turn(to), { class: "link" }));
  }

  function login() {
    return form({
      op: "login",
      submit: words.login,
      fields: [
        { name: "login", label: words.usernameOrMail, autocomplete: "username" },
        { name: "password", label: words.password, type: "password", autocomplete: "current-password" },
      ],
      action: async (values) => entered(await app.socket.call("account.login", { ...values, device: device() })),
      extra: h("a", { class: "aside", href: "/reset" }, words.forgot),
    });
  }

  function register() {
    return form({
      submit: words.register,
      fields: [
        { name: "username", label: words.username, autocomplete: "username", hint: words.usernameHint, shortest: 2 },
        {
          name: "password", label: words.password, type: "password", autocomplete: "new-password",
          hint: words.passwordHint, shortest: 10,
        },
        {
          name: "email", label: words.email, type: "email", autocomplete: "email", inputmode: "email",
          hint: words.emailHint, optional: true,
        },
      ],
      action: async ({ email, ...values }) => {
        const fields = { ...values, ...(email ? { email } : {}), locale: locale(), device: device() };
        await entered(await app.socket.call("account.register", fields));
      },
    });
  }

  async function entered(reply) {
    if (reply.kind === "second_step") show(place, secondStep(app, reply.ticket, level, () => turn("login")));
    else await app.session.begin(reply);
  }

  turn(first, app.session.notice);
  offer(app, outside);
  return place;
}

// The authenticator's turn.
export function secondStep(app, ticket, level, back) {
  return h("div", {},
    h(level, {}, words.secondStep),
    h("p", { class: "lead" }, words.secondStepLead),
    form({
      submit: words.verify,
      fields: [{ name: "code", label: words.code, autocomplete: "one-time-code" }],
      action: async ({ code }) => {
        const fields = { ticket, code: code.replaceAll(" ", "") };
        await app.session.begin(await app.socket.call("account.login_second_step", fields));
      },
    }),
    h("p", { class: "turn" }, button(words.back, back, { class: "link" })));
}

// Buttons for the outside services of this server, as soon as it has named them.
async function offer(app, place) {
  let providers;
  try {
    ({ providers } = await app.socket.call("account.providers"));
  } catch (error) {
    if (!error.code) throw error;
    return; // whoever is offline reads so in the status
  }
  if (providers.length === 0) return;
  place.replaceChildren(
    h("p", { class: "or" }, words.or),
    ...providers.map(({ name, title }) =>
      form({ submit: words.with(title), style: "secondary", action: () => leaveFor(app, name) })));
}

// The ticket stays in this tab: an answer that comes back anywhere else is worth nothing.
async function leaveFor(app, provider) {
  const fields = { provider, redirect: `${location.origin}/external` };
  const { url, ticket } = await app.socket.call("account.start_external", fields);
  kept.set(EXTERNAL, { ticket, from: location.pathname });
  location.assign(url);
}

// What `leaveFor` kept, once.
export function cameBack() {
  const started = kept.get(EXTERNAL);
  kept.remove(EXTERNAL);
  return started;
}

function locale() {
  return /^[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}$/.test(navigator.language) ? navigator.language : "en";
}

// What the list of devices calls this one.
export function device() {
  const agent = navigator.userAgent;
  const named = (table) => table.find(([mark]) => agent.includes(mark))?.[1];
  return text.device(named(BROWSERS), named(SYSTEMS));
}
