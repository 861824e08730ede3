// Forms that say what is wrong next to where it is wrong.

import { button, h } from "/dom.js";
import { explain, text } from "/text.js";

let forms = 0;

// fields: [{ name, label, type, hint, autocomplete, optional, shortest, value }]
// action(values): the op, whose Refusal is shown; `op` chooses words for it (see explain).
export function form({ fields = [], submit, action, op = "", extra = null, style = "primary" }) {
  const prefix = `form${(forms += 1)}`;
  const rows = fields.map((field) => row(field, `${prefix}-${field.name}`));
  const alert = h("div", { class: "alert", role: "alert" });
  const send = h("button", { type: "submit", class: style }, h("span", {}, submit));
  let busy = false;

  async function go(event) {
    event.preventDefault();
    if (busy) return;
    alert.replaceChildren();
    const wrong = rows.filter((one) => !one.check());
    if (wrong.length > 0) return wrong[0].input.focus();
    setBusy(true);
    try {
      await action(Object.fromEntries(rows.map(({ name, value }) => [name, value()])));
    } catch (error) {
      if (!error.code) throw error;
      refused(error);
    } finally {
      setBusy(false);
    }
  }

  function refused(error) {
    const said = explain(error, op);
    const at = rows.find(({ name }) => name === error.field);
    if (!at) return alert.replaceChildren(h("p", {}, said));
    at.complain(said);
    at.input.focus();
  }

  function setBusy(value) {
    busy = value;
    send.setAttribute("aria-disabled", value);
    send.classList.toggle("busy", value);
  }

  return h("form", { novalidate: true, onsubmit: go }, rows.map((one) => one.element), alert, send, extra);
}

function row({ name, label, type = "text", hint, autocomplete, optional, shortest, value = "", inputmode }, id) {
  const input = h("input", {
    id, name, type, value, autocomplete, inputmode,
    autocapitalize: "none", spellcheck: "false",
    "aria-required": optional ? null : "true",
    "aria-describedby": [hint && `${id}-hint`, `${id}-error`].filter(Boolean).join(" "),
    oninput: () => complain(""),
  });
  const error = h("p", { class: "error", id: `${id}-error` });

  function complain(said) {
    error.textContent = said;
    if (said) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  }

  function check() {
    const typed = type === "password" ? input.value : input.value.trim();
    if (typed === "") complain(optional ? "" : text.error.required);
    else if (shortest && [...typed].length < shortest) complain(text.error.short(shortest));
    else if (type === "email" && !/^[^\s@]+@[^\s@]+$/.test(typed)) complain(text.error.mail);
    else complain("");
    return error.textContent === "";
  }

  const element = h("div", { class: "field" },
    h("label", { for: id }, label, optional ? h("span", { class: "optional" }, text.enter.optional) : null),
    h("div", { class: "control" }, input, type === "password" ? reveal(input) : null),
    hint ? h("p", { class: "hint", id: `${id}-hint` }, hint) : null,
    error);
  const read = () => (type === "password" ? input.value : input.value.trim());
  return { name, input, element, complain, check, value: read };
}

function reveal(input) {
  const toggle = button(text.enter.show, () => {
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    toggle.textContent = shown ? text.enter.hide : text.enter.show;
    toggle.setAttribute("aria-pressed", shown);
  }, { class: "reveal", "aria-label": text.enter.showPassword, "aria-pressed": "false" });
  return toggle;
}

// A button that does something at once; what came of it is said beside it.
export function deed(label, action, { op = "", ...properties } = {}) {
  const note = h("span", { class: "note", role: "status" });
  const press = button(label, async () => {
    if (press.getAttribute("aria-disabled") === "true") return;
    press.setAttribute("aria-disabled", "true");
    note.className = "note";
    note.textContent = "";
    try {
      const done = await action();
      note.textContent = typeof done === "string" ? done : "";
    } catch (error) {
      if (!error.code) throw error;
      note.className = "note bad";
      note.textContent = explain(error, op);
    } finally {
      press.removeAttribute("aria-disabled");
    }
  }, properties);
  return h("span", { class: "deed" }, press, note);
}

// Fill `place` with what `make` gets from the server, or with why it did not.
export async function load(place, make) {
  try {
    place.replaceChildren(...[await make()].flat());
  } catch (error) {
    if (!error.code) throw error;
    place.replaceChildren(h("p", { class: "note bad", role: "status" }, explain(error)));
  }
}

// One setting: a line that says how it is, and opens to change it. `open` puts into `body` what is inside.
export function setting({ heading, lead, action, open }) {
  const body = h("div", { class: "body" });
  const summary = h("summary", {},
    h("div", {}, h("h3", {}, heading), lead),
    h("span", { class: "act", "aria-hidden": "true" }, h("span", {}, action), h("span", {}, text.home.close)));
  const element = h("details", { class: "setting", ontoggle: () => element.open && open(body) }, summary, body);
  return element;
}

// A card with a heading, for pages that say one thing.
export function card(heading, ...content) {
  return h("section", { class: "card" }, h("h1", {}, heading), ...content);
}
