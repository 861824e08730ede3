// Every word these pages say, in one place. Functions take what varies; nothing here is markup.

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

export const text = {
  product: "onesocket",
  skip: "Skip to the content",
  toStart: "onesocket, start page",

  welcome: {
    title: "One socket. Everything in it.",
    lead: "This is a onesocket server. Accounts, devices and everything that people do here travel through a single WebSocket, in frames that any program can speak. Make an account here, then bring the client you like.",
  },

  status: {
    heading: "The line to this server",
    short: {
      connecting: "Connecting",
      open: "Connected",
      resting: "Reachable",
      waiting: "Not connected",
    },
    long: {
      connecting: "Opening the socket.",
      open: "The socket is open.",
      resting: "The socket rests: this server hangs up on strangers who do not log in. The page looks again every half minute.",
      waiting: "The server does not answer. This page keeps trying.",
      restart: "The server restarts. This page reconnects by itself.",
      offline: "This device is offline. The page connects when it is back.",
    },
    you: "this browser",
    server: "server",
    roundTrip: "Round trip",
    protocol: "Protocol",
    node: "Node",
    heartbeat: "Heartbeat",
    milliseconds: (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`,
    seconds: (value) => `${value} s`,
    unknown: "–",
  },

  connect: {
    heading: "Connect a client",
    lead: "Open a WebSocket, read the hello, send a frame. No login is needed for this one.",
    address: "Address",
    frame: "First frame",
    answer: "What comes back",
    noAnswer: "waiting for the socket",
  },

  copy: { button: "Copy", done: "Copied", of: (what) => `Copy ${what}`, failed: "Press Ctrl+C" },

  enter: {
    login: "Log in",
    register: "Create an account",
    loginLead: "Welcome back.",
    registerLead: "A name and a password are enough.",
    toRegister: "New here?",
    toLogin: "Have an account?",
    forgot: "Forgot your password?",
    username: "Username",
    usernameOrMail: "Username or email",
    usernameHint: "Letters and digits of any script, and _ . -",
    password: "Password",
    newPassword: "New password",
    passwordHint: "At least 10 characters. A few random words do well.",
    email: "Email",
    emailHint: "Only to get back in when you forget the password.",
    optional: "optional",
    show: "Show",
    hide: "Hide",
    showPassword: "Show password",
    or: "or",
    with: (title) => `Continue with ${title}`,
    secondStep: "Two-factor code",
    secondStepLead: "Enter the six digits from your authenticator app, or one of your recovery codes.",
    code: "Code",
    verify: "Continue",
    back: "Start over",
    resuming: "Logging you in again",
    resumingLead: "This tab was logged in before. One moment.",
    inUse: "The login of this tab is in use in another tab. Log in here to have one of its own.",
    revoked: "This device was logged out. Log in again to go on.",
  },

  home: {
    as: "Logged in as",
    roles: { owner: "Owner", admin: "Admin", moderator: "Moderator", member: "Member" },
    emailNone: "No email address",
    emailConfirmed: "confirmed",
    emailOpen: "not confirmed yet",
    emailAgain: "Send the mail again",
    emailSent: "Sent. Look into your mailbox.",
    logout: "Log out",
    settings: "Your account",
    close: "Close",
  },

  avatar: {
    heading: "Picture",
    lead: "Shown next to your name.",
    change: "Choose",
    saved: "Picture saved.",
  },

  devices: {
    heading: "Devices",
    lead: "Where you are logged in.",
    current: "This device",
    seen: "seen",
    revoke: "Log out",
    revokeOf: (name) => `Log out ${name}`,
    others: "Log out all others",
    show: "Show",
    ended: (count) => (count === 1 ? "1 device was logged out." : `${count} devices were logged out.`),
  },

  password: {
    heading: "Password",
    lead: "Changing it logs out every other device.",
    none: "You log in with an outside service. A password is a second way in.",
    change: "Change",
    set: "Set one",
    current: "Current password",
    next: "New password",
    save: "Save password",
    saved: "Password saved. Every other device is logged out.",
  },

  twoFactor: {
    heading: "Two-factor login",
    lead: "A code from your phone besides the password.",
    on: "On",
    off: "Off",
    setUp: "Set up",
    turnOff: "Turn off",
    begin: "Continue",
    password: "Your password",
    scan: "Add this secret to your authenticator app, or open the link on the device that has the app.",
    secret: "Secret",
    confirmLead: "Then enter the code that the app shows.",
    confirm: "Turn on",
    codesHeading: "Two-factor login is on",
    codesLead: "Keep these recovery codes somewhere safe. Each gets you in once if you lose your phone. They are not shown again.",
    codes: "the recovery codes",
    codesKept: "I have kept them",
    code: "Code or recovery code",
  },

  claim: {
    title: "Take ownership of this server",
    lead: "Whoever opens this link first owns the server. It works once, and for one day after the server printed it.",
    how: "Log in or create the account that shall own it.",
    as: (name) => `You are logged in as ${name}.`,
    button: (name) => `Make ${name} the owner`,
    other: "Use another account",
    doneTitle: "This server is yours",
    done: (name) => `${name} owns this server now. The link has done its work and is void.`,
    none: "This page needs the link that the server printed at its first start.",
    noneHelp: "Restart the server to get a fresh one, as long as nobody owns it.",
    again: "Is the link used or too old? While nobody owns the server, every start prints a fresh one.",
    toHome: "Go to your account",
  },

  verify: {
    title: "Confirm your address",
    busy: "One moment.",
    doneTitle: "Address confirmed",
    done: "You can log in with this address from now on, and get back in with it when you forget your password.",
    failedTitle: "This link did not work",
    none: "This page needs the link from the mail.",
    again: "Log in and ask for the mail once more.",
    toStart: "Go to the start page",
    retry: "Try again",
  },

  reset: {
    title: "Set a new password",
    lead: "Every device that is logged in with the old one is logged out.",
    button: "Set password",
    doneTitle: "Password changed",
    done: "Log in with it now.",
    toLogin: "Log in",
    again: "Ask for a new link",
    askTitle: "Forgot your password?",
    askLead: "Enter the confirmed address of your account. If there is one, we send a link there.",
    ask: "Send the link",
    sentTitle: "Look into your mailbox",
    sent: (email) => `If ${email} is the confirmed address of an account, a link is on its way. It is good for an hour.`,
    toStart: "Back to the start page",
  },

  external: {
    title: "Logging you in",
    busy: "One moment.",
    failedTitle: "This login did not work",
    denied: "The other service did not let you in.",
    lost: "This login was not started in this tab, or took too long.",
    toStart: "Start again",
  },

  error: {
    required: "This is missing.",
    short: (count) => `At least ${count} characters.`,
    mail: "This is no email address.",
    connection_lost: "The connection broke before the answer came. Try again in a moment.",
    offline: "The server does not answer right now. Try again in a moment.",
    timeout: "The server took too long to answer. Try again in a moment.",
    wrong_credentials: { login: "Name or password is wrong." },
    fields: {
      username: "2 to 32 letters and digits, with _ . - between them.",
      login: "Write the name or address of your account.",
      password: "10 to 256 characters.",
      new_password: "10 to 256 characters.",
      email: "This is no email address.",
      code: "Six digits, or a recovery code.",
      ticket: "This link is not complete.",
    },
    wait: (count) => `Try again in ${count < 100 ? `${Math.ceil(count)} s` : `${Math.ceil(count / 60)} min`}.`,
    unknown: "Something went wrong. Try again.",
  },

  ago(date) {
    const passed = (Date.now() - date) / 1000;
    const units = [["day", 86400], ["hour", 3600], ["minute", 60]];
    const [unit, size] = units.find(([, length]) => passed >= length) ?? ["second", 60];
    return unit === "second" ? "just now" : relative.format(-Math.floor(passed / size), unit);
  },

  device: (browser, system) => [browser, system].filter(Boolean).join(" on ") || "Browser",
};

// What a person reads when `error` refused something; `op` picks words that fit where the code alone is too general.
export function explain(error, op = "") {
  const known = text.error[error.code];
  const machineMade = error.code === "invalid" && /^(Expected|Invalid|Object)\b/.test(error.message);
  let said = error.message;
  if (typeof known === "string") said = known;
  else if (known?.[op]) said = known[op];
  else if (machineMade) said = text.error.fields[error.field] ?? text.error.unknown;
  if (!said) said = text.error.unknown;
  said = said[0].toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
  return error.retryAfter ? `${said} ${text.error.wait(error.retryAfter)}` : said;
}
