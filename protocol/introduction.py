"""What somebody who writes a client must know before the list of ops: the text that opens every document."""

from collections.abc import Iterable, Mapping

from protocol import VERSION
from protocol.document import Surface, prose
from protocol.error import Refusal

WELCOME = """
One WebSocket carries everything. Connect to `/` (or `/socket`), without a subprotocol and without a token in the
address; a browser's page must come from the server's own origin, or from one that its operator allows. Each text
message in either direction is one JSON object, a *frame*; binary
messages are parts of files ([file](#file)).

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
| event | server | `{"ev":"message.created","stream":"…","seq":42,…}` or `{"ev":"typing.started",…}` |

- `op` is the address of what you want, `ev` of what has happened: a domain, a dot, a name.
- `id` is a number of your choice from 0 to 2⁵³ − 1 that none of your unanswered requests has; left out, it is 0. Every
  request gets exactly one reply, whose `re` is its `id`. Replies come as they are ready, not in the order of the
  requests: to do one thing after another, wait for the first reply. Only behind a few ops, `session.open` first of all,
  requests wait by themselves until it is answered.
- A request with a field or an op that the server does not know, or with a value out of bounds, is refused as
  `invalid`; when not even its `id` could be read, `re` is 0. The other way round, ignore the fields, events and error
  codes that you do not know: newer servers have more.
- An event with `stream` and `seq` is a *fact*: it is kept, and nobody misses it (see [streams](#streams)). Any other is
  passing: it is told to who is there, and forgotten.
- Ids are UUIDs. Times are RFC 3339 in UTC (`2026-03-14T09:26:53Z`). Durations are in seconds. Where a table says
  *required*, give a value, which may be `null` where the type says so; where it says *optional*, leave out what you do
  not want to change; elsewhere the default counts for what you leave out. Replies and events come with all fields, but
  for a [Message](#type-message), which leaves out what is empty.
- A server of the same major version never takes an op, a field or an event away and never gives one another meaning.
"""

CONVERSATION = """
## A conversation

1. The server speaks first: [`session.hello`](#event-sessionhello), with its limits.
2. Without tokens, get some: `account.register` or `account.login`, and `account.login_second_step` where the reply
   asks for it. Keep both tokens; the refresh token is as good as a password.
3. `session.open` with the access token (or an API key) logs the socket in; `session.resume` does the same for a client
   that was here before and wants exactly what it missed. Do it within `login_within` seconds of the hello, or the
   socket is closed with 4408.
4. Send requests, take events. `wants` chooses what this socket is told by itself; without it, that is everything. The
   server pings a quiet socket, and closes one from which nothing, not even a pong, comes for two `heartbeat`s, with
   4504.
5. An access token is good for `access_expires_in` seconds. Before it ends, `account.refresh` trades the refresh token
   for two new ones. Each refresh token works once: make a nonce, keep it until you hold the new tokens, and when the
   reply got lost ask again with the same token *and* the same nonce.
6. When the socket closes, its code says whether to come back: see [close codes](#close-codes). Come back after a
   random delay that grows with each failure; after `session.going_away`, after the delay that it names.
"""

STREAMS = """
## Streams

Whatever lasts is told as a fact, and each fact stands in one *stream*: that of a channel (what is said and done there),
or that of an account (what concerns nobody else: channels entered and left, marks, drafts, scheduled messages and
friends). A stream's facts are numbered without gaps: `seq` 1, 2, 3 and so on; the last number is its `head`. A message
is addressed by its channel and the `seq` of its `message.created`.

So a stream and a number, a *cursor*, say exactly what a client has. Keep one for each stream, beside what you know of
it, and do this with every fact, where `known` is the cursor of its stream:

| `seq` is | then |
|---|---|
| `known` or less | you have it: drop it |
| `known + 1` | apply it; `known` is now `seq` |
| more | it can't be, on one socket: close it, and resume on a new one |
| of a stream without a cursor | apply it and begin one there |

**Where cursors come from.** `session.open` replies the `head` of your account's stream and, with each channel, the
channel's; the facts behind them follow by themselves, perhaps before the reply. It tells the channels that moved last;
the others come by `channel.list` with `next`. A cursor that is there already stays. `channel.joined` brings the `head`
of the channel that you have entered; after `channel.left` forget its cursor. What else you read, like a page of
`message.history`, says in `head` as of which fact it is true: facts up to there are in it, apply those after it.

**Coming back.** `session.resume` takes your cursors: at most 1,000, and no more than fit into a frame, so name the
streams that moved last. Everything behind them comes first, in order, then the reply, then what is new, each fact once.
In `reset` are streams that can't be continued: you were away for longer than facts are kept (about a month), or are
many thousands of them behind, or the stream is not yours any more. Read those anew (`channel.get`, `message.history`)
and begin at the head that you are told. A stream that is not named goes on from its present head: a ping with your
cursor tells whether you lack something of it, and if so, read it anew, too.

**Looking whether all is there.** Send `session.ping` now and then, once in a `heartbeat` will do, with your cursors as
`heads`. `behind` in its reply names the streams that are further on. If their facts do not come within two seconds,
resume.

**What a fact says.** It says what is true since then, in absolute words: `count` is how many there are, `members` how
many members; apply it twice and nothing changes. A fact that was missed tells of a message as it is by now: with its
later words, its reactions, or as a deleted one.

**What passes.** Events without `seq` (who types, who is there, how far others have read) are never repeated. Ask for
what you need when you come back: `message.readers`, for one.
"""

SAYING = """
## Sending once

`message.send`, `message.forward` and `channel.create` have a `nonce`: a UUID that you make for each, and keep until you
hold the reply. If the socket closes before the reply comes, or the reply is `unavailable`, `overloaded` or `internal`,
send the same request with the same nonce again, on any socket: if it was done before, the reply is that of the first
time, and nothing happens twice. The same nonce in another channel is a `conflict`. Most other requests about channels
and messages can simply be repeated; what is gone already is `missing`.

- A reply means that it is stored for good. The fact itself comes to all of your sockets, before or after the reply.
- What one socket puts into one channel by `message.send` is stored in the order in which it was sent: there is no need
  to wait for replies.
- `seq` in the reply of `message.send` is the message's; in those of other ops it is that of the fact which says so, 0
  when there was nothing to change.

## Counting

`read` and `delivered` are cursors into a channel, too: they only move forward, and what is read has been delivered.
`unread` and `mentions` are counted by the server from there on, without your own messages and those taken back, up to
1,000, which means that or more; what is older than the newest 2,000 messages (or mentions) is not looked at any more.
They are absolute wherever they stand, as of the channel's fact `head` that stands with them: put them in the place of
yours, and from there on add one for each `message.created` by somebody else with a `seq` above `head`. What else
changes them is rare: when messages above `read` that you do not hold are deleted, edited (their mentions may be others)
or hidden, ask `channel.get`; also when counts come with a smaller `head` than those you have, but a larger `read`.

The newest messages of a channel may come from memory. With `known` in `message.history`, the last `seq` that you know
of from wherever, they are at least as new as that: a client that sends its cursor is never thrown back.
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
        STREAMS,
        SAYING,
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
