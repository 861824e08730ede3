"""user: what people see of each other, finding and blocking them."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, Label, Limit, Line, Nothing, Request, Time, UserId


class User(Body, frozen=True):
    """An account as others see it: never its address, its sessions or its settings."""

    id: UUID
    username: str
    display_name: str
    bio: str
    avatar: str
    city: str
    interests: list[str]
    created_at: Time


class UserGet(Request[User], tag="user.get", frozen=True):
    """Look at one user."""

    user: UserId


class Users(Body, frozen=True):
    """A page of users; `next` asks for the page after it, None when this is the last."""

    users: list[User]
    next: str | None


class UserList(Request[Users], tag="user.list", frozen=True):
    """Everybody on this server, by name, page by page."""

    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50


class UserSearch(Request[Users], tag="user.search", frozen=True):
    """Users whose name begins with, or contains, these letters; the best matches first."""

    text: Label
    limit: Limit = 20


class UserBlock(Request[Nothing], tag="user.block", frozen=True):
    """Neither see nor be seen by this user any more."""

    user: UserId


class UserUnblock(Request[Nothing], tag="user.unblock", frozen=True):
    """Take a block back."""

    user: UserId


class UserBlocked(Request[Users], tag="user.blocked", frozen=True):
    """Whom you have blocked, by name, page by page."""

    after: Annotated[Line, Meta(description="`next` of the page before.")] | None = None
    limit: Limit = 50
