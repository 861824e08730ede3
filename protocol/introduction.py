"""What somebody who writes a client must know before the list of ops: the text that opens every document."""

from collections.abc import Iterable, Mapping

from protocol import VERSION
from protocol.document import Surface, prose
from protocol.error import Refusal

WELCOME = """
One WebSocket carries everything. Connect to `/` (or `/socket`), without a subprotocol and without a token in the
address; a browser's page must come from the server's own origin, or from one that its operator allows. Each text
message in either direction is one JSON object, a *frame*; a binary message is refused.

This is version {version}. A running server tells its own protocol, an embedder's additions included, with
[`session.describe`](#sessiondescribe); the same as files: [asyncapi.json](asyncapi.json) (AsyncAPI 3) and
[schema.json](schema.json) (JSON Schema 2020-12).
"""

FRAMES = """
## Frames

| frame | from | looks like |
|---|---|---|
| request | client | `{"op":"user.get","id":7,"user":"…"}` |
| reply | server | `{"re":7,"ok":{…}}` or `{"re":7,"error":{"code":"missing","message":"…"}}` |
| event | server | `{"ev":"session.hello",…}` |

- `op` is the address of what you want, `ev` of what has happened: a domain, a dot, a name.
- `id` is a number of your choice from 0 to 2⁵³ − 1 that none of your unanswered requests has; left out, it is 0. Every
  request gets exactly one reply, whose `re` is its `id`. Replies come as they are ready, not in the order of the
  requests: to do one thing after another, wait for the first reply. Only behind a few ops, `session.open` first of all,
  requests wait by themselves until it is answered.
- A request with a field or an op that the server does not know, or with a value out of bounds, is refused as
  `invalid`; when not even its `id` could be read, `re` is 0. The other way round, ignore the fields, events and error
  codes that you do not know: newer servers have more.
- Ids are UUIDs. Times are RFC 3339 in UTC (`2026-03-14T09:26:53Z`). Durations are in seconds. Where a table says
  *required*, give a value, which may be `null` where the type says so; where it says *optional*, leave out what you do
  not want to change; elsewhere the default counts for what you leave out. Replies and events come with all fields.
- A server of the same major version never takes an op, a field or an event away and never gives one another meaning.
"""

CONVERSATION = """
## A conversation

1. The server speaks first: [`session.hello`](#event-sessionhello), with its limits.
2. Without tokens, get some: `account.register` or `account.login`, and `account.login_second_step` where the reply
   asks for it. Keep both tokens; the refresh token is as good as a password.
3. `session.open` with the access token (or an API key) logs the socket in. Do it within `login_within` seconds of the
   hello, or the socket is closed with 4408.
4. Send requests, take events. The server pings a quiet socket, and closes one from which nothing, not even a pong,
   comes for two `heartbeat`s, with 4504.
5. An access token is good for `access_expires_in` seconds. Before it ends, `account.refresh` trades the refresh token
   for two new ones. Each refresh token works once: make a nonce, keep it until you hold the new tokens, and when the
   reply got lost ask again with the same token *and* the same nonce.
6. When the socket closes, its code says whether to come back: see [close codes](#close-codes). Come back after a
   random delay that grows with each failure; after `session.going_away`, after the delay that it names.
"""

REFUSALS = """
## Refusals

`error` has a `code` for programs and a `message` for people, whose wording may change; `field` where one value is to
blame (`location.latitude`); `retry_after`, in seconds, where the same request is welcome again later. The socket lives
on, unless the table names a close code, which then may be all that tells. What you may not see does not exist: hidden
and missing things are both `missing`, to the byte.

| code | closes | meaning |
|---|---|---|
"""

CLOSES = """
## Close codes

Close codes are 4000 plus an HTTP status. **44xx**: you have to change something before you connect again. **45xx**: it
is not your fault, back off and come back. After 4429, come back too, but slower. A refused handshake gets an HTTP
status instead: 403 (origin), 404 (path), 429 (too many sockets from your address) or 503 (restarting), the last two
with `Retry-After`.

| code | meaning |
|---|---|
"""

STANDARD_CLOSES = {
    1002: "The client broke the WebSocket protocol.",
    1003: "A binary message came, and none was asked for.",
    1007: "A text message was not UTF-8.",
    1009: "A message was larger than `limits.frame_bytes`, or before login `limits.frame_bytes_before_login`.",
}

LIMITS = """
## Limits

- Each socket: `session.hello` has them in `limits`. Frames faster than `frames_per_second` (but for a burst of
  `frames_in_burst`) are refused as `rate_limited` without being looked at; going on regardless closes with 4429. While
  `requests_in_flight` requests are unanswered, the server reads nothing more.
- Each op: where it says so below, for one account, or before login for one address.
- Passwords, codes, tickets, registrations and mails have stricter counts, for names and for addresses, which no number
  of sockets or accounts evades.

`rate_limited` tells in `retry_after` how long to wait.
"""

RULES = """
## Who may call what

Each op names its rules. *anybody* needs no login. An id in a request must name something that *you* may use in this
way, or the reply is `missing`; where a rule speaks of the *viewer*, that is you.

| rule | meaning |
|---|---|
"""


def introduction(surface: Surface) -> str:
    """The opening text, in Markdown."""
    rules = {f"`{word}`": text for word, text in surface.rules.items() if ": " not in word}
    parts = (
        WELCOME.format(version=VERSION),
        FRAMES,
        CONVERSATION,
        REFUSALS + _rows(_refusals(surface.refusals)),
        CLOSES + _rows(_closes(surface.refusals)),
        LIMITS,
        RULES + _rows(rules),
    )
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _refusals(refusals: Iterable[type[Refusal]]) -> dict[str, str]:
    return {f"`{kind.code}` | {kind.close or ''}": kind.default for kind in refusals}


def _closes(refusals: Iterable[type[Refusal]]) -> dict[int, str]:
    told = dict(STANDARD_CLOSES)
    for kind in sorted((kind for kind in refusals if kind.close), key=lambda kind: kind.close or 0):
        text = f"`{kind.code}`: {kind.default}"
        told[kind.close or 0] = f"{told[kind.close or 0]}<br>{text}" if kind.close in told else text
    return told


def _rows(told: Mapping[str, str] | Mapping[int, str]) -> str:
    return "".join(f"| {key} | {prose(text)} |\n" for key, text in told.items())
