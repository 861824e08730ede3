"""device: one's own logins."""

from protocol.device import DeviceList, DeviceRevoke, DeviceRevokeOthers, DeviceSetPush, WebPush
from tests.authorization.sample import Sample

_PUSH = WebPush(endpoint="https://push.example/new", p256dh="new", auth="new")

SAMPLES = {
    "list": Sample(lambda world: DeviceList(), proves=lambda reply: len(reply["devices"]) == 2),
    "revoke": Sample(lambda world: DeviceRevoke(device=world.ann.laptop.id)),
    "revoke_others": Sample(lambda world: DeviceRevokeOthers(), proves=lambda reply: reply["count"] >= 1),
    "set_push": Sample(lambda world: DeviceSetPush(push=_PUSH)),
}
