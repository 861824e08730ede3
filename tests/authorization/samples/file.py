"""file: one's own; ann has one that nothing carries, one that she has begun, and one in message 1 of the group."""

from protocol.file import FileBegin, FileCancel, FileDelete, FileFinish, FileGet, FileLink, FileList
from tests.authorization.kinds import OUTSIDERS
from tests.authorization.sample import Sample, Wrong
from tests.authorization.samples import hall
from tests.authorization.samples.proofs import changed
from tests.authorization.world import World


def _begin(world: World) -> FileBegin:
    return FileBegin(purpose="attachment", name="a file", size=10, hash="a" * 64)


def _finish(world: World) -> FileFinish:
    return FileFinish(file=world.files["ann"])


def _cancel(world: World) -> FileCancel:
    return FileCancel(file=world.files["ann has begun"])


def _get(world: World) -> FileGet:
    return FileGet(file=world.files["ann"])


def _link(world: World) -> FileLink:
    return FileLink(file=world.files["ann"])


def _link_in_group(world: World) -> FileLink:
    return FileLink(file=world.files["tom in group"], channel=world.channels["group"].id, seq=2, variant="small")


def _delete(world: World) -> FileDelete:
    return FileDelete(file=world.files["ann"])


SAMPLES = hall.FILES | {
    "begin": Sample(_begin, proves=lambda reply: reply["number"] == 1 and reply["offset"] == 0),
    "finish": Sample(
        _finish,
        wrong={
            "one that comes over no socket": Wrong(
                "conflict", changed(_finish, file=lambda world: world.files["ann has begun"])
            )
        },
        proves=lambda reply: reply["state"] == "ready",
    ),
    "cancel": Sample(
        _cancel,
        touches=frozenset({None}),
        wrong={"one that is finished": Wrong("conflict", changed(_cancel, file=lambda world: world.files["ann"]))},
    ),
    "get": Sample(_get, proves=lambda reply: reply["state"] == "ready" and reply["size"] == 10),
    "list": Sample(lambda world: FileList(), proves=lambda reply: len(reply["files"]) == 4 and reply["used"] == 39),
    "link": Sample(_link, proves=lambda reply: reply["until"] is not None),
    "link: of what somebody else has sent": Sample(
        _link_in_group,
        outsiders=OUTSIDERS,
        reaches=frozenset({"a member's, in a message that I read"}),
        wrong={
            "one of a message that I do not want to see": Wrong(
                "missing", changed(_link_in_group, file=lambda world: world.files["kim in group"], seq=3)
            ),
            "one of another message there": Wrong("missing", changed(_link_in_group, seq=1)),
            "one's own, that it does not carry": Wrong(
                "missing", changed(_link_in_group, file=lambda world: world.files["ann"])
            ),
            "a message without its channel": Wrong("missing", changed(_link_in_group, channel=None)),
            "a channel without its message": Wrong("missing", changed(_link_in_group, seq=None)),
        },
        proves=lambda reply: "/small/" in reply["url"],
    ),
    "link: of a picture of mine": Sample(
        changed(_link, file=lambda world: world.files["ann's picture"]), proves=lambda reply: reply["until"] is None
    ),
    "delete": Sample(
        _delete,
        wrong={
            "one that a message carries": Wrong(
                "conflict", changed(_delete, file=lambda world: world.files["ann in group"])
            )
        },
    ),
}
