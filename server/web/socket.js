// One WebSocket to the server: requests in, promises out, and back again after it broke.
//
// Rule 1: after every hello `greet` comes first, so that a call after a reconnect speaks for the same account.
// Rule 2: a call is never repeated here: when the socket breaks nobody knows whether it was done, and the caller is told.
// Rule 3: a socket that speaks for nobody hangs up by itself, well before the server would (`login_within`).

const SECOND = 1000;
const CALL_WITHIN = 40 * SECOND; // the server gives up after 30
const READY_WITHIN = 12 * SECOND;
const PONG_WITHIN = 10 * SECOND;
const BEATS = [0, 300, 700, 1500]; // then one every few seconds
const BEAT_EVERY = 5 * SECOND;
const LOOK_EVERY = 30 * SECOND;
const FIRST_RETRY = 0.5 * SECOND;
const LAST_RETRY = 30 * SECOND;

export class Refusal extends Error {
  constructor({ code, message = "", field = null, retry_after = null }) {
    super(message);
    this.code = code;
    this.field = field;
    this.retryAfter = retry_after;
  }
}

// Events: `state` (connecting, open, resting, waiting), `beat` (a round trip was measured), `ended` (the login is over),
// `event` (detail: an event frame).
export class Socket extends EventTarget {
  state = "resting";
  hello = null;
  why = ""; // for `waiting`: restart, or nothing special
  roundTrips = [];
  pong = null; // the last answer to a ping

  #address;
  #greet;
  #web = null;
  #calls = new Map();
  #lastId = 0;
  #waiting = [];
  #timers = { life: 0, beat: 0, rest: 0 };
  #failures = 0;
  #openedAt = 0;
  #advice = null;
  #anonymous = true;

  constructor(address, greet) {
    super();
    this.#address = address;
    this.#greet = greet;
    addEventListener("online", () => this.#lookAgain());
    addEventListener("visibilitychange", () => this.#lookAgain());
  }

  get address() {
    return this.#address;
  }

  // The reply's `ok`, or a Refusal.
  async call(op, fields = {}) {
    await this.#ready();
    return this.#request(op, fields, CALL_WITHIN);
  }

  connect() {
    if (this.#web !== null) return;
    clearTimeout(this.#timers.life);
    this.#become("connecting");
    this.#web = new WebSocket(this.#address);
    this.#web.onmessage = ({ data }) => this.#receive(JSON.parse(data));
    this.#web.onclose = ({ code }) => this.#lost(code);
    this.#timers.life = setTimeout(() => this.#hangUp(), READY_WITHIN);
  }

  // Whether the socket speaks for nobody: then it rests when nothing is asked.
  set anonymous(value) {
    this.#anonymous = value;
    clearTimeout(this.#timers.rest);
    if (value && this.state === "open") this.#restSoon((this.hello.login_within / 2) * SECOND);
  }

  // In

  #receive(frame) {
    if ("re" in frame) this.#answered(frame);
    else if (frame.ev === "session.hello") this.#welcomed(frame);
    else if (frame.ev === "session.going_away") this.#leave(frame.reconnect_after * SECOND);
    else this.dispatchEvent(new CustomEvent("event", { detail: frame }));
  }

  #answered({ re, ok, error }) {
    const call = this.#calls.get(re);
    if (!call) return;
    this.#calls.delete(re);
    clearTimeout(call.timer);
    if (error) call.reject(new Refusal(error));
    else call.resolve(ok);
    if (this.#advice !== null && this.#calls.size === 0) this.#hangUp();
  }

  async #welcomed(hello) {
    const web = this.#web;
    this.hello = hello;
    try {
      await this.#greet((op, fields) => this.#request(op, fields, READY_WITHIN));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (this.#web === web) this.#hangUp();
      return;
    }
    if (this.#web !== web || this.#advice !== null) return;
    this.#openedAt = Date.now();
    clearTimeout(this.#timers.life);
    this.#become("open");
    this.anonymous = this.#anonymous;
    for (const { resolve } of this.#waiting.splice(0)) resolve();
    this.#beat(0);
  }

  // Out

  #ready() {
    if (this.state === "open") return Promise.resolve();
    if (this.#advice === null) this.connect();
    return new Promise((resolve, reject) => {
      const waiting = { resolve, reject };
      this.#waiting.push(waiting);
      setTimeout(() => {
        this.#waiting = this.#waiting.filter((one) => one !== waiting);
        reject(new Refusal({ code: "offline" }));
      }, READY_WITHIN);
    });
  }

  #request(op, fields, within) {
    if (this.#web?.readyState !== WebSocket.OPEN) return Promise.reject(new Refusal({ code: "connection_lost" }));
    const id = (this.#lastId += 1);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#calls.delete(id);
        reject(new Refusal({ code: "timeout" }));
      }, within);
      this.#calls.set(id, { resolve, reject, timer });
      this.#web.send(JSON.stringify({ ...fields, op, id }));
    });
  }

  // Life

  async #beat(count) {
    const web = this.#web;
    const started = performance.now();
    try {
      this.pong = await this.#request("session.ping", {}, PONG_WITHIN);
    } catch (error) {
      if (error.code === "timeout" && this.#web === web) this.#hangUp();
      if (error.code !== "rate_limited") return;
    }
    if (this.#web !== web) return;
    this.roundTrips = [...this.roundTrips, performance.now() - started].slice(-24);
    this.dispatchEvent(new Event("beat"));
    const usual = document.hidden ? this.hello.heartbeat * SECOND : BEAT_EVERY;
    const wait = count + 1 < BEATS.length ? BEATS[count + 1] - BEATS[count] : usual;
    this.#timers.beat = setTimeout(() => this.#beat(count + 1), wait);
  }

  #restSoon(wait) {
    this.#timers.rest = setTimeout(() => {
      if (this.#calls.size > 0) return this.#restSoon(SECOND / 4);
      this.#drop();
      this.#become("resting");
      this.#timers.life = setTimeout(() => this.#lookAgain(), LOOK_EVERY);
    }, wait);
  }

  #lookAgain() {
    if (document.hidden || this.#advice !== null) return;
    if (this.state === "resting" || this.state === "waiting") this.connect();
  }

  // The server stops soon and says when to come back: what is in flight may finish.
  #leave(wait) {
    this.#advice = wait;
    this.#become("waiting", "restart");
    if (this.#calls.size === 0) this.#hangUp();
  }

  #hangUp() {
    this.#drop();
    this.#lost(0);
  }

  // A dead connection may take minutes to close: do not wait for it.
  #drop() {
    const web = this.#web;
    this.#web = null;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    if (web === null) return;
    web.onmessage = web.onclose = null;
    web.close();
  }

  #lost(code) {
    this.#drop();
    for (const { reject, timer } of this.#calls.values()) {
      clearTimeout(timer);
      reject(new Refusal({ code: "connection_lost" }));
    }
    this.#calls.clear();
    if (code === 4401) this.dispatchEvent(new Event("ended"));
    this.#retryIn(this.#pause(), this.#advice === null ? "" : "restart");
  }

  #pause() {
    if (this.#advice !== null) return this.#advice;
    if (this.#openedAt && Date.now() - this.#openedAt > 5 * SECOND) this.#failures = 0;
    this.#openedAt = 0;
    const pause = Math.min(LAST_RETRY, FIRST_RETRY * 2 ** this.#failures);
    this.#failures += 1;
    return pause * (0.5 + Math.random());
  }

  #retryIn(wait, why) {
    this.#become("waiting", why);
    this.#timers.life = setTimeout(() => {
      this.#advice = null;
      this.connect();
    }, wait);
  }

  #become(state, why = state === "connecting" ? this.why : "") {
    this.state = state;
    this.why = why;
    this.dispatchEvent(new Event("state"));
  }
}
