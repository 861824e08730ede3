// The pages behind links: owning the server, confirming an address, setting a new password, coming back from outside.

import { h, show, svg } from "/dom.js";
import { cameBack, device, enter, secondStep } from "/enter.js";
import { card, deed, form } from "/form.js";
import { kept } from "/session.js";
import { explain, text } from "/text.js";

const CLAIM = "onesocket.claim";

const to = (href, label, style = "button primary") => h("p", {}, h("a", { class: style, href }, label));
const lead = (...words) => h("p", { class: "lead" }, ...words);

// claim: the ticket stays in this tab until it is used, for a reload or an outside login must not lose the server.
export function claim(app, signal, { ticket }) {
  const words = text.claim;
  if (ticket) kept.set(CLAIM, ticket);
  const held = kept.get(CLAIM);
  if (held === null) return card(words.title, lead(words.none), h("p", {}, words.noneHelp), to("/", text.verify.toStart));
  const place = h("div", { class: "stack" });
  let entering = false;

  async function own() {
    app.session.account = await app.socket.call("account.claim", { ticket: held });
    kept.remove(CLAIM);
    show(place, owned(app.session.account));
  }

  // Whoever has just come in by this page's form did so to own the server; whoever was here already is asked.
  function update() {
    const { account, resuming } = app.session;
    if (kept.get(CLAIM) === null || resuming) return;
    if (account === null) {
      entering = true;
      const why = h("header", { class: "why" }, h("h1", {}, words.title), lead(words.lead), h("p", {}, words.how));
      return show(place, why, enter(app, { first: "register" }));
    }
    const asking = ask(app, account, own);
    show(place, asking);
    if (entering) asking.querySelector("form").requestSubmit();
    entering = false;
  }

  app.session.addEventListener("change", update, { signal });
  show(place, card(words.title, lead(words.lead)));
  update();
  return place;
}

function ask(app, { username }, own) {
  const words = text.claim;
  return card(words.title, lead(words.lead), h("p", {}, words.as(`@${username}`)),
    form({ submit: words.button(`@${username}`), action: own }),
    deed(words.other, () => app.session.logout(), { class: "link" }),
    h("p", { class: "hint" }, words.again));
}

function owned({ username }) {
  const words = text.claim;
  return done(words.doneTitle, lead(words.done(`@${username}`)), to("/", words.toHome));
}

function done(title, ...content) {
  const tick = svg("svg", { viewBox: "0 0 24 24" }, svg("path", { d: "M5 12.5l4.5 4.5L19 7.5" }));
  return h("section", { class: "card" }, h("div", { class: "mark", "aria-hidden": "true" }, tick), h("h1", {}, title), ...content);
}

export function verify(app, signal, { ticket }) {
  const words = text.verify;
  if (!ticket) return card(words.failedTitle, lead(words.none), h("p", {}, words.again), to("/", words.toStart));
  const place = h("div", { class: "stack" });

  async function go() {
    show(place, card(words.title, lead(words.busy)));
    try {
      await app.socket.call("account.verify_email", { ticket });
      show(place, done(words.doneTitle, lead(words.done), to("/", words.toStart)));
    } catch (error) {
      if (!error.code) throw error;
      const used = error.code === "expired" || error.code === "conflict";
      show(place, card(words.failedTitle, lead(explain(error)),
        used ? h("p", {}, words.again) : form({ submit: words.retry, style: "secondary", action: go }),
        to("/", words.toStart)));
    }
  }

  go();
  return place;
}

export function reset(app, signal, { ticket }) {
  const place = h("div", { class: "stack" });
  show(place, ticket ? newPassword(app, place, ticket) : askForMail(app, place));
  return place;
}

function newPassword(app, place, ticket) {
  const words = text.reset;
  const field = {
    name: "password", label: text.enter.newPassword, type: "password", autocomplete: "new-password",
    hint: text.enter.passwordHint, shortest: 10,
  };
  const action = async (values) => {
    await app.socket.call("account.reset_password", { ticket, ...values });
    show(place, done(words.doneTitle, lead(words.done), to("/", words.toLogin)));
  };
  return card(words.title, lead(words.lead), form({ submit: words.button, fields: [field], action }), to("/reset", words.again, "link"));
}

function askForMail(app, place) {
  const words = text.reset;
  const field = { name: "email", label: text.enter.email, type: "email", autocomplete: "email", inputmode: "email" };
  const action = async ({ email }) => {
    await app.socket.call("account.forgot_password", { email });
    show(place, card(words.sentTitle, lead(words.sent(email)), to("/", words.toStart, "link")));
  };
  return card(words.askTitle, lead(words.askLead), form({ submit: words.ask, fields: [field], action }), to("/", words.toStart, "link"));
}

// external: the provider sent the person back.
export function external(app, signal, { query }) {
  const words = text.external;
  const started = cameBack();
  const back = () => app.go(started?.from ?? "/");
  const failed = (why) => card(words.failedTitle, lead(why), to(started?.from ?? "/", words.toStart));
  if (query.has("error")) return failed(words.denied);
  if (started === null || !query.has("code")) return failed(words.lost);
  const place = h("div", { class: "stack" });

  async function go() {
    const fields = { ticket: started.ticket, code: query.get("code"), state: query.get("state") ?? "", device: device() };
    if (query.has("iss")) fields.issuer = query.get("iss");
    const reply = await app.socket.call("account.login_external", fields);
    if (reply.kind === "second_step") return show(place, h("section", { class: "card" }, secondStep(app, reply.ticket, "h1", back)));
    await app.session.begin(reply);
  }

  app.session.addEventListener("change", () => app.session.account !== null && back(), { signal });
  show(place, card(words.title, lead(words.busy)));
  go().catch((error) => {
    if (!error.code) throw error;
    show(place, failed(explain(error)));
  });
  return place;
}
