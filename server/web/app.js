// The door of the server: picks the page for the address, and keeps it in step with who is logged in.
//
// Rule: what a link carries (a ticket in the fragment, a code in the query) leaves the address bar before anything else
// happens, so that it stays neither in the history nor in a screenshot.

import { focusHeading, h } from "/dom.js";
import { home } from "/home.js";
import { claim, external, reset, verify } from "/link.js";
import { Session } from "/session.js";
import { Socket } from "/socket.js";
import { pill } from "/status.js";
import { text } from "/text.js";
import { welcome } from "/welcome.js";

const PAGES = { "/claim": claim, "/verify": verify, "/reset": reset, "/external": external };

const session = new Session();
const socket = new Socket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/`, (call) => session.resume(call));
session.use(socket);

const main = h("main", { id: "main" });
const app = { session, socket, go };
let leaving = new AbortController();

function render({ moved = true } = {}) {
  leaving.abort();
  leaving = new AbortController();
  const given = { ticket: location.hash.slice(1), query: new URLSearchParams(location.search) };
  if (location.hash || location.search) history.replaceState(null, "", location.pathname);
  const page = PAGES[location.pathname] ?? (session.account === null ? welcome : home);
  const hadFocus = main.contains(document.activeElement);
  main.className = page.name;
  main.replaceChildren(page(app, leaving.signal, given));
  const title = main.querySelector("h1").textContent;
  document.title = `${title} · ${text.product}`;
  if (moved) scrollTo(0, 0);
  if (moved || hadFocus) focusHeading(main);
}

function go(path) {
  history.pushState(null, "", path);
  render();
}

// Links between these pages do not load them again: the login in memory goes along.
function followed(event) {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(link.pathname);
}

let shown = null;
session.addEventListener("change", () => {
  const somebodyElse = session.account?.id !== shown;
  shown = session.account?.id;
  if (!(location.pathname in PAGES)) render({ moved: somebodyElse });
});
addEventListener("popstate", () => render());
addEventListener("hashchange", () => location.hash && render()); // a link pasted over its own page
addEventListener("click", followed);

document.body.append(
  h("a", { class: "skip", href: "#main", onclick: (event) => (event.preventDefault(), focusHeading(main)) }, text.skip),
  h("header", { class: "top" },
    h("a", { class: "brand", href: "/", "aria-label": text.toStart },
      h("img", { src: "/favicon.svg", alt: "", width: 28, height: 28 }), h("span", {}, text.product)),
    pill(socket)),
  main);
socket.connect();
render({ moved: false });
