"""The newest messages of a channel, as they go over the wire.

Rule 1: a page is as new as its stream's head, or it is thrown away.
Rule 2: only what is small is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from uuid import UUID

import msgspec

from protocol.codec import encode
from protocol.message import Messages
from server.core import payload

SIZE, MOST_BYTES = 50, 65536
_CREATED = b'{"ev":"message.created"'
_MESSAGE = b',"message":'


class Page:
    """Encoded messages; `whole`: there are no older ones; `hiders` do not see all of them."""

    __slots__ = ("_messages", "bytes", "head", "hiders", "whole")

    def __init__(self, messages: Messages, hiders: frozenset[UUID]) -> None:
        self._messages = deque((encode(one) for one in messages.messages), maxlen=SIZE)
        self.bytes = sum(map(len, self._messages))
        self.head, self.hiders = messages.head, hiders
        self.whole = not messages.earlier

    def add(self, frames: Sequence[bytes], head: int) -> bool:
        """Follow the stream; False when something came that is not simply one more message, or it gets too large."""
        for one in frames:
            body = payload(one)
            if not body.startswith(_CREATED):
                return False
            if len(self._messages) == SIZE:
                self.whole = False
                self.bytes -= len(self._messages[0])
            self._messages.append(body[body.index(_MESSAGE) + len(_MESSAGE) : -1])
            self.bytes += len(self._messages[-1])
        self.head = head
        return self.bytes <= MOST_BYTES

    def serve(self, limit: int) -> msgspec.Raw:
        """The reply to somebody who asks for the newest messages, has hidden none of them, and wants no more."""
        messages = list(self._messages)[-limit:]
        earlier = b"true" if len(messages) < len(self._messages) or not self.whole else b"false"
        text = b'{"messages":[%b],"head":%d,"earlier":%b,"later":false}'
        return msgspec.Raw(text % (b",".join(messages), self.head, earlier))
