// How the socket does: a short word in the header of every page, and the whole line on the start page.

import { h, svg } from "/dom.js";
import { text } from "/text.js";

const words = text.status;
const BARS = 24;

// The short word. A screen reader hears it when it changes, not at every beat.
export function pill(socket) {
  const label = h("span", { role: "status" });
  const element = h("p", { class: "pill" }, h("span", { class: "dot", "aria-hidden": "true" }), label);
  const update = () => {
    element.dataset.state = socket.state;
    label.textContent = words.short[socket.state];
  };
  socket.addEventListener("state", update);
  update();
  return element;
}

// The whole line; `signal` ends its listening.
export function line(socket, signal) {
  const state = h("p", { class: "state" });
  const chart = svg("svg", { viewBox: `0 0 ${BARS} 8`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const pulse = h("span", { class: "pulse" });
  const facts = Object.fromEntries(["roundTrip", "protocol", "node", "heartbeat"].map((name) => [name, h("dd", {})]));
  const element = h("section", { class: "line", "aria-labelledby": "line-heading" },
    h("h2", { id: "line-heading" }, words.heading),
    h("div", { class: "wire", "aria-hidden": "true" },
      h("span", { class: "end" }, words.you), h("span", { class: "cable" }, pulse), h("span", { class: "end" }, words.server)),
    state,
    h("dl", { class: "facts" },
      Object.entries(facts).map(([name, value]) => h("div", { class: name }, h("dt", {}, words[name]), value))));
  facts.roundTrip.after(chart);

  function update() {
    const { hello } = socket;
    element.dataset.state = socket.state;
    state.textContent = navigator.onLine ? words.long[socket.why || socket.state] : words.long.offline;
    facts.protocol.textContent = hello?.protocol ?? words.unknown;
    facts.node.textContent = hello?.node ?? words.unknown;
    facts.heartbeat.textContent = hello ? words.seconds(hello.heartbeat) : words.unknown;
    measured();
  }

  function measured() {
    const times = socket.roundTrips;
    facts.roundTrip.textContent = times.length ? words.milliseconds(median(times.slice(-5))) : words.unknown;
    const top = Math.max(...times);
    chart.replaceChildren(...times.map((time, index) => bar(BARS - times.length + index, 1 + 7 * (time / top))));
  }

  function beat() {
    measured();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    pulse.animate({ left: ["0%", "100%", "0%"], opacity: [0, 1, 1, 1, 0] }, { duration: 900, easing: "ease-in-out" });
  }

  socket.addEventListener("state", update, { signal });
  socket.addEventListener("beat", beat, { signal });
  update();
  return element;
}

function bar(x, height) {
  return svg("rect", { x: x + 0.2, y: 8 - height, width: 0.6, height, rx: 0.2 });
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
