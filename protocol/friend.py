"""friend: people who have agreed to be friends, who has asked whom, and who may ask at all."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from protocol.frame import AccountFact, Body, Limit, Line, Nothing, Request, Time, UserId
from protocol.user import User

State = Annotated[
    Literal["friend", "asked", "waiting"],
    Meta(description="You are friends; or they have asked you; or you have asked them, and wait."),
]
Requests = Annotated[
    Literal["everyone", "friends_of_friends", "nobody"], Meta(description="Who may ask you to be friends.")
]
Directs = Annotated[
    Literal["everyone", "friends"],
    Meta(description="Who may open a direct channel with you. Those that there are already stay as they are."),
]


class Friend(Body, frozen=True):
    """What somebody is to you."""

    user: UUID
    state: State
    since: Annotated[Time, Meta(description="When they became that.")]


class PrivacyChoice(Body, frozen=True):
    """Who may turn to you; everyone, until you choose otherwise."""

    requests: Requests
    directs: Directs


# Facts, each in the streams of both


class FriendRequested(AccountFact, tag="friend.requested", frozen=True):
    """Somebody asks you to be friends, or you have asked somebody: `state` says which."""

    friend: Friend


class FriendAdded(AccountFact, tag="friend.added", frozen=True):
    """You are friends from now on."""

    friend: Friend


class FriendRemoved(AccountFact, tag="friend.removed", frozen=True):
    """They are no friend of yours, and neither has asked the other. It is not told why: a friendship that ended, a
    request that was declined or taken back, a block, and an account that was deleted look alike.
    """

    user: UUID


# Requests


class FriendRequest(Request[Friend], tag="friend.request", frozen=True):
    """Ask somebody to be friends; the same again is no error. If they have asked you, you are friends with this.

    `forbidden` when they do not take requests from you. You can have 200 requests open and 1,000 friends; more is a
    `conflict`.
    """

    user: UserId


class FriendAccept(Request[Friend], tag="friend.accept", frozen=True):
    """Be friends with who has asked you; again is no error, `conflict` when they have not asked (any more)."""

    user: UserId


class FriendDecline(Request[Nothing], tag="friend.decline", frozen=True):
    """Do not be friends with who has asked you; again is no error.

    Both lists are without the request then. Who has asked is told nothing but that, as if it had ended otherwise, and
    may ask again: block them, or choose who may ask (`friend.set_privacy`), if they should not.
    """

    user: UserId


class FriendRemove(Request[Nothing], tag="friend.remove", frozen=True):
    """Be no friends any more, or take back your request; again is no error."""

    user: UserId


class Friends(Body, frozen=True):
    """A page of friends and requests; `next` asks for the page after it, None when this is the last."""

    friends: list[Friend]
    users: Annotated[list[User], Meta(description="Who they are, in the same order.")]
    next: str | None


class FriendList(Request[Friends], tag="friend.list", frozen=True):
    """Your own requests, then your friends, then who has asked you; of each the newest first, page by page."""

    state: Annotated[State, Meta(description="Only these.")] | None = None
    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class FriendPrivacy(Request[PrivacyChoice], tag="friend.privacy", frozen=True):
    """Who may turn to you."""


class FriendSetPrivacy(Request[PrivacyChoice], tag="friend.set_privacy", frozen=True):
    """Choose who may turn to you; what is not given stays."""

    requests: Requests | None = None
    directs: Directs | None = None
