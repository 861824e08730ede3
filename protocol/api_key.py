"""api_key: long-lived keys for programs that act for an account, each with its own scopes."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import ApiKeyId, Body, Label, Nothing, Password, Request, Time

Scope = Annotated[
    str,
    Meta(
        pattern=r"^(\*|[a-z][a-z_]{1,30}(\.[a-z][a-z_]{1,30})?)$(?!\n)",
        description="`*`, a domain (`user`) or one op (`user.search`).",
    ),
]


class ApiKey(Body, frozen=True):
    """A key without its secret."""

    id: UUID
    name: str
    scopes: list[str]
    created_at: Time
    expires_at: Time | None
    used_at: Time | None


class NewApiKey(Body, frozen=True):
    """A key with its secret, which is shown this once."""

    key: ApiKey
    secret: str


class ApiKeyCreate(Request[NewApiKey], tag="api_key.create", frozen=True):
    """Make a key for a program. It can do and hear what its scopes say, and never account, device or key matters."""

    name: Label
    password: Password
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=50)]
    days: Annotated[int, Meta(ge=1, le=3650, description="Until it expires; None is never.")] | None = None


class ApiKeys(Body, frozen=True):
    """Your keys, the newest first."""

    keys: list[ApiKey]


class ApiKeyList(Request[ApiKeys], tag="api_key.list", frozen=True):
    """Which keys exist, and when each was last used."""


class ApiKeyRevoke(Request[Nothing], tag="api_key.revoke", frozen=True):
    """End a key; its sockets close within a second."""

    key: ApiKeyId
