"""device: where an account is logged in. One device is one login: a chain of refresh tokens and its sockets."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta

from protocol.frame import Body, DeviceId, Nothing, Request, Secret, Time, Url


class Device(Body, frozen=True):
    """One place where you are logged in."""

    id: UUID
    name: str
    address: Annotated[str, Meta(description="The network address it was last seen from.")]
    created_at: Time
    seen_at: Time
    current: Annotated[bool, Meta(description="Whether it is the one that asks.")]
    push: Annotated[bool, Meta(description="Whether notifications go there.")]


class Devices(Body, frozen=True):
    """All your devices, the one last seen first."""

    devices: list[Device]


class DeviceList(Request[Devices], tag="device.list", frozen=True):
    """Where you are logged in."""


class DeviceRevoke(Request[Nothing], tag="device.revoke", frozen=True):
    """Log one device out; its sockets close within a second."""

    device: DeviceId


class Revoked(Body, frozen=True):
    """How many devices were logged out."""

    count: int


class DeviceRevokeOthers(Request[Revoked], tag="device.revoke_others", frozen=True):
    """Log out everywhere but here."""


class WebPush(Body, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="web"):
    """A browser's push subscription."""

    endpoint: Url
    p256dh: Secret
    auth: Secret


class FcmPush(Body, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="fcm"):
    """A Firebase registration token."""

    token: Secret


class DeviceSetPush(Request[Nothing], tag="device.set_push", frozen=True):
    """Say where notifications for this device go; None turns them off."""

    push: WebPush | FcmPush | None
