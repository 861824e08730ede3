// Who this page speaks for.
//
// The access token lives in memory. The refresh token is kept in sessionStorage, so that a reload does not cost the
// password: it is this tab's alone, gone when the tab closes, and this origin runs no script but the server's own (see the
// Content-Security-Policy). A client that stays should keep its token where scripts cannot read it.
//
// Rule: a refresh token is traded with the nonce that was stored beside it, so that a trade whose answer was lost (a
// reload, a broken socket) can be repeated, and does not look like theft.

const KEPT = "onesocket.login";
const OVER = new Set(["session_revoked", "unauthenticated", "wrong_credentials", "expired", "invalid"]);
const EARLY = 20_000;
const LOCK_WITHIN = 500;

// Events: `change` (somebody else, nobody any more, or an account that looks different now).
export class Session extends EventTarget {
  account = null;
  device = null;
  notice = ""; // why there is no login any more: a key of text.enter
  #socket;
  #access = null;
  #freshUntil = 0;
  #own = new Set();

  use(socket) {
    this.#socket = socket;
    socket.addEventListener("ended", () => this.#forget("revoked"));
  }

  // There is a login that waits for the socket.
  get resuming() {
    return this.account === null && kept.get(KEPT) !== null;
  }

  // Log in with fresh tokens.
  async begin(tokens) {
    this.#keep(tokens);
    await this.#owns(tokens.device);
    try {
      await this.#open((op, fields) => this.#socket.call(op, fields));
    } catch (error) {
      if (error.code !== "connection_lost") throw error; // the next hello goes on with it
    }
  }

  // Called after every hello, before anything else.
  async resume(call) {
    const login = kept.get(KEPT);
    if (login === null) return;
    if (!(await this.#owns(login.device))) return this.#forget("inUse");
    try {
      if (Date.now() > this.#freshUntil) await this.#refresh(call, login);
      await this.#open(call);
    } catch (error) {
      if (!OVER.has(error.code)) throw error;
      this.#forget("revoked");
    }
  }

  // Read the account again, and show it.
  async reload() {
    this.#became(await this.#socket.call("account.get"));
  }

  async logout() {
    try {
      await this.#socket.call("account.logout");
    } catch (error) {
      if (!OVER.has(error.code)) throw error; // ended already
    }
    this.#forget("");
  }

  #keep({ device, refresh, access, access_expires_in }) {
    kept.set(KEPT, { device, refresh, nonce: nonce() });
    this.#access = access;
    this.#freshUntil = Date.now() + access_expires_in * 1000 - EARLY;
  }

  async #refresh(call, { refresh, nonce }) {
    this.#keep(await call("account.refresh", { refresh, nonce }));
  }

  async #open(call) {
    const opened = await call("session.open", { token: this.#access });
    this.device = opened.device;
    this.notice = "";
    this.#socket.anonymous = false;
    // The same account after a reconnect is no change: a page is not drawn again under somebody's fingers.
    if (this.account?.id === opened.account) this.account = opened.me;
    else this.#became(opened.me);
  }

  #became(account) {
    this.account = account;
    this.dispatchEvent(new Event("change"));
  }

  #forget(notice) {
    kept.remove(KEPT);
    this.#access = this.device = null;
    this.#freshUntil = 0;
    this.notice = notice;
    this.#socket.anonymous = true;
    this.#became(null);
  }

  // A duplicated tab begins with a copy of this storage; if both used the token, the server would see a theft and end the
  // login. The lock is held as long as the page lives, so only one of them gets it.
  #owns(device) {
    if (!navigator.locks || this.#own.has(device)) return true;
    return new Promise((resolve) => {
      const held = () => {
        this.#own.add(device);
        resolve(true);
        return new Promise(() => {});
      };
      const options = { signal: AbortSignal.timeout(LOCK_WITHIN) };
      navigator.locks.request(`${KEPT}.${device}`, options, held).catch(() => resolve(false));
    });
  }
}

// sessionStorage as objects; where it is switched off, the page forgets at reload.
export const kept = {
  get(key) {
    try {
      return JSON.parse(sessionStorage.getItem(key));
    } catch {
      return null;
    }
  },
  set(key, value) {
    try {
      sessionStorage.setItem(key, JSON.stringify(value));
    } catch {
      return;
    }
  },
  remove(key) {
    try {
      sessionStorage.removeItem(key);
    } catch {
      return;
    }
  },
};

// A random UUID; crypto.randomUUID exists on https only, and this page must work on a home network, too.
function nonce() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
