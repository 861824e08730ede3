// Elements without markup. Whatever a person or the server said becomes a text node: nothing here parses HTML, and under
// this page's Trusted Types policy nothing could.

import { text } from "/text.js";

const SVG = "http://www.w3.org/2000/svg";
const SLUG = /^[a-z0-9][a-z0-9_.-]{0,63}$/;

// h("p", { class: "hint", onclick: f }, "text", element, null)
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// A person's own words: isolated, so that their direction does not turn ours around.
export const said = (words, properties = {}) => h("bdi", properties, words);

export function avatar(name, size) {
  if (!SLUG.test(name)) return h("span", { class: "avatar", "aria-hidden": "true" });
  return h("img", { class: "avatar", src: `/avatar/${name}.svg`, alt: "", width: size, height: size });
}

export function button(label, onclick, properties = {}) {
  return h("button", { type: "button", onclick, ...properties }, label);
}

// A piece of text with a button that copies it.
export function copyable(label, content) {
  const code = h("code", { tabindex: "0", role: "group", "aria-label": label }, content);
  const copy = button(text.copy.button, async () => {
    copy.textContent = (await copied(code)) ? text.copy.done : text.copy.failed;
    setTimeout(() => (copy.textContent = text.copy.button), 2000);
  }, { class: "small", "aria-label": text.copy.of(label), "aria-live": "polite" });
  return h("div", { class: "copyable" }, code, copy);
}

// The clipboard needs https or localhost; elsewhere the text is at least selected.
async function copied(element) {
  getSelection().selectAllChildren(element);
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch (error) {
    if (error instanceof TypeError || error instanceof DOMException) return false;
    throw error;
  }
}

// Show `element` as the whole content of `place`, and tell a screen reader where it is now.
export function show(place, ...elements) {
  const wasInside = place.contains(document.activeElement);
  place.replaceChildren(...elements.filter((one) => one !== null));
  if (wasInside) focusHeading(place);
}

export function focusHeading(place) {
  const heading = place.querySelector("h1, h2, h3");
  if (!heading) return;
  heading.tabIndex = -1;
  heading.focus({ preventScroll: true });
}
