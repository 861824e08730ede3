// The start page of a visitor: what this is, whether it works, how to get in, and how to connect a client.

import { copyable, h } from "/dom.js";
import { enter } from "/enter.js";
import { line } from "/status.js";
import { text } from "/text.js";

const FIRST_FRAME = { op: "session.ping", id: 1 };

export function welcome(app, signal) {
  const words = text.welcome;
  return h("div", {},
    h("header", { class: "intro" },
      h("p", { class: "host" }, location.host),
      h("h1", {}, words.title),
      h("p", { class: "lead" }, words.lead)),
    app.session.resuming ? resuming() : enter(app),
    line(app.socket, signal),
    connect(app.socket, signal));
}

function resuming() {
  return h("section", { class: "card enter" }, h("h2", {}, text.enter.resuming), h("p", { class: "lead" }, text.enter.resumingLead));
}

// How to say the first word; the answer shown is the one that this page got for it.
export function connect(socket, signal) {
  const words = text.connect;
  const answer = h("code", {});
  const update = () => {
    answer.textContent = socket.pong ? JSON.stringify({ re: FIRST_FRAME.id, ok: socket.pong }) : words.noAnswer;
  };
  socket.addEventListener("beat", update, { signal });
  update();
  return h("section", { class: "connect", "aria-labelledby": "connect-heading" },
    h("h2", { id: "connect-heading" }, words.heading),
    h("p", { class: "lead" }, words.lead),
    h("dl", { class: "steps" },
      h("div", {}, h("dt", {}, words.address), h("dd", {}, copyable(words.address, socket.address))),
      h("div", {}, h("dt", {}, words.frame), h("dd", {}, copyable(words.frame, JSON.stringify(FIRST_FRAME)))),
      h("div", {}, h("dt", {}, words.answer), h("dd", { class: "answer" }, answer))));
}
