"""file: uploads over the socket: in order, bounded, taken up where they stopped, kept once, and counted."""

import asyncio
import fcntl
import os
from contextlib import suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from protocol.client import Client
from protocol.error import (
    Conflict,
    Damaged,
    Flooded,
    Forbidden,
    Full,
    Invalid,
    Missing,
    Overloaded,
    TooLarge,
    Unavailable,
)
from protocol.file import (
    FileBegin,
    FileCancel,
    FileDelete,
    FileFailed,
    FileFinish,
    FileGet,
    FileLink,
    FileList,
    FileStored,
    Purpose,
)
from protocol.frame import Request
from protocol.session import SessionClose, SessionOpen, SessionPing
from server import Server
from server import file as server_file
from server import upload as server_upload
from tests.chat import me
from tests.conftest import Connector, Dial, Person, Starter
from tests.files import address, begin, digest, get, kept, pour, put, upload
from tests.raw import BINARY, TEXT, masked

SOON = 5.0


async def test_a_file_is_what_was_sent(server: Server, ann: Person) -> None:
    data = os.urandom(700_001)
    file = await upload(ann, data, "a letter.pdf", type="application/pdf")
    assert (file.state, file.size, file.hash, file.name) == ("ready", len(data), digest(data), "a letter.pdf")
    assert await ann.call(FileGet(file=file.id)) == file
    assert (await get(await address(ann, file))).body == data
    [path] = kept(server)
    assert path.read_bytes() == data
    assert "letter" not in str(path)


async def test_the_client_uploads_and_downloads(ann: Person, tmp_path: Path) -> None:
    before, seen = tmp_path / "before.png", []
    before.write_bytes(os.urandom(1_500_000))
    file = await ann.upload(before, "sticker", on_progress=seen.append)
    assert (file.purpose, file.type, file.name, seen[-1]) == ("sticker", "image/png", "before.png", 1_500_000)
    await ann.download(file.id, tmp_path / "after.png")
    assert (tmp_path / "after.png").read_bytes() == before.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["after.png", "before.png"]


async def test_what_was_cut_off_goes_on_where_it_was(server: Server, ann: Person, connect: Connector) -> None:
    data = os.urandom(900_000)
    begun = await begin(ann, data)
    await pour(ann, begun, data, 400_000)
    ann._connection._socket.transport.abort()  # type: ignore[union-attr]
    second = await connect()
    await second.open(ann.tokens_given)
    again = await begin(second, data)
    assert (again.file.id, again.offset) == (begun.file.id, 400_000)
    await pour(second, again, data)
    assert (await second.call(FileFinish(file=again.file.id))).state == "ready"
    assert (await get(await address(second, again.file))).body == data


async def test_another_node_takes_over_and_the_first_is_told(server: Server, start: Starter, ann: Person) -> None:
    other = await start(port=0)
    data = os.urandom(600_000)
    begun = await begin(ann, data)
    await pour(ann, begun, data, 300_000)
    async with Client(other.url) as there:
        await there.open(ann.tokens_given)
        again = await begin(there, data)
        assert again.offset == 300_000
        told = await ann.wait_for(FileFailed, SOON)
        assert (told.number, told.file, told.code) == (begun.number, begun.file.id, "conflict")
        await put(ann, begun.number or 0, 300_000, b"x" * 1000)
        await pour(there, again, data)
        file = await there.call(FileFinish(file=again.file.id))
        assert (await get(await address(there, file))).body == data
    with pytest.raises(Conflict):
        await ann.call(FileCancel(file=file.id))


async def test_another_socket_takes_over_at_once(ann: Person, connect: Connector) -> None:
    data = os.urandom(300_000)
    begun = await begin(ann, data)
    second = await connect()
    await second.open(ann.tokens_given)
    again = await begin(second, data)
    assert (await ann.wait_for(FileFailed, SOON)).number == begun.number
    with pytest.raises(Conflict):
        await ann.call(FileFinish(file=begun.file.id))
    await pour(second, again, data)
    await second.call(FileFinish(file=again.file.id))


async def test_the_same_bytes_are_kept_once_and_need_not_come_again(server: Server, ann: Person, bob: Person) -> None:
    data = os.urandom(5000)
    first = await upload(ann, data)
    same = await begin(ann, data)
    assert (same.number, same.file) == (None, first)
    other = await begin(ann, data, "another name.txt")
    assert (other.number, other.file.state) == (None, "ready")
    assert other.file.id != first.id
    assert (await ann.call(FileList())).used == 5000
    assert len(kept(server)) == 1
    assert (await begin(bob, data)).number is not None, "whether somebody else has it nobody learns"
    await ann.call(FileDelete(file=first.id))
    await server.files.sweep()
    assert (await get(await address(ann, other.file))).body == data


async def test_two_uploads_of_the_same_bytes_become_one_blob(server: Server, ann: Person) -> None:
    data = os.urandom(5000)
    one, two = await begin(ann, data), await begin(ann, data, purpose="avatar")
    for begun in (one, two):
        await pour(ann, begun, data)
        await ann.call(FileFinish(file=begun.file.id))
    await server.files.sweep()
    assert len(kept(server)) == 1
    assert (await ann.call(FileList())).used == 5000


async def test_another_hash_is_damage_and_nothing_is_kept(server: Server, ann: Person) -> None:
    data = os.urandom(5000)
    begun = await begin(ann, data, hash=digest(b"another"))
    await pour(ann, begun, data)
    with pytest.raises(Damaged):
        await ann.call(FileFinish(file=begun.file.id))
    with pytest.raises(Missing):
        await ann.call(FileGet(file=begun.file.id))
    await server.files.sweep()
    assert kept(server) == []
    assert (await ann.call(FileList())).used == 0


async def test_what_came_over_two_sockets_is_compared_as_a_whole(ann: Person, connect: Connector) -> None:
    data = os.urandom(200_000)
    begun = await begin(ann, data)
    await pour(ann, begun, b"x" * 200_000, 100_000)
    second = await connect()
    await second.open(ann.tokens_given)
    again = await begin(second, data)
    await pour(second, again, data)
    with pytest.raises(Damaged):
        await second.call(FileFinish(file=begun.file.id))


async def test_it_is_not_finished_before_all_of_it_is_there(ann: Person) -> None:
    data = os.urandom(5000)
    begun = await begin(ann, data)
    await pour(ann, begun, data, 4000)
    with pytest.raises(Conflict):
        await ann.call(FileFinish(file=begun.file.id))
    assert begun.number is not None
    await put(ann, begun.number, 4000, data[4000:])
    done = await ann.call(FileFinish(file=begun.file.id))
    assert await ann.call(FileFinish(file=begun.file.id)) == done


# What is refused


@pytest.mark.parametrize(
    ("offset", "data", "why"),
    [(0, b"again", "next"), (1005, b"gap", "next"), (1000, b"x" * 5000, "ends"), (1000, b"", "ends")],
)
async def test_bytes_that_are_not_the_next_end_the_transfer_and_not_the_socket(
    ann: Person, offset: int, data: bytes, why: str
) -> None:
    whole = os.urandom(3000)
    begun = await begin(ann, whole)
    assert begun.number is not None
    await put(ann, begun.number, 0, whole[:1000])
    await ann.wait_for(FileStored, SOON)
    await put(ann, begun.number, offset, data)
    told = await ann.wait_for(FileFailed, SOON)
    assert (told.number, told.file, told.code) == (begun.number, begun.file.id, "invalid")
    assert why in told.message
    again = await begin(ann, whole)
    assert again.offset == 1000
    await pour(ann, again, whole)
    await ann.call(FileFinish(file=again.file.id))


async def test_more_than_the_window_is_refused(start: Starter, connect: Connector) -> None:
    server = await start(file_part_kib=64, file_window_kib=128)
    ann = await connect("ann", to=server)
    whole = bytes(2_000_000)
    begun = await begin(ann, whole)
    assert (begun.window, begun.part) == (131072, 65536)
    assert begun.number is not None
    for at in range(0, 2_000_000, begun.part):
        await put(ann, begun.number, at, whole[at : at + begun.part])
    told = await ann.wait_for(FileFailed, SOON)
    assert told.code == "invalid"
    await ann.call(SessionPing())


async def test_a_number_that_stands_for_nothing_is_told_and_too_many_close(ann: Person) -> None:
    await put(ann, 7, 0, b"what?")
    told = await ann.wait_for(FileFailed, SOON)
    assert (told.number, told.file, told.code) == (7, None, "missing")
    with suppress(Flooded):
        for _ in range(200):
            await put(ann, 8, 0, bytes(20_000))
    assert (await ann.wait_closed())[0] == 4429


async def test_before_the_login_bytes_are_refused_and_the_socket_lives(server: Server, dial: Dial) -> None:
    raw = await dial(server)
    raw.say(b"\0\0\0\1" + bytes(8) + b"x", BINARY)
    told = await raw.json()
    assert (told["ev"], told["code"]) == ("file.failed", "unauthenticated")
    raw.ask(SessionPing())
    assert "ok" in await raw.json()


async def test_a_logout_ends_what_was_on_its_way(server: Server, ann: Person) -> None:
    data = os.urandom(5000)
    begun = await begin(ann, data)
    await ann.call(SessionClose())
    assert (len(server.files.uploads), server.files.uploads.granted) == (0, 0)
    await ann.open(ann.tokens_given)
    assert (await begin(ann, data)).file.id == begun.file.id


@pytest.mark.parametrize(
    ("purpose", "most"), [("attachment", 3), ("voice", 2), ("avatar", 1), ("emoji", 1), ("sticker", 1), ("backup", 4)]
)
async def test_each_purpose_has_its_limit(start: Starter, connect: Connector, purpose: Purpose, most: int) -> None:
    server = await start(file_attachment_mib=3, file_voice_mib=2, file_picture_mib=1, file_backup_mib=4)
    ann = await connect("ann", to=server)
    size = most << 20
    with pytest.raises(TooLarge):
        await begin(ann, b"x", size=size + 1, purpose=purpose)
    assert (await begin(ann, b"x", size=size, purpose=purpose)).number == 1


async def test_what_is_being_uploaded_counts_for_the_quota(start: Starter, connect: Connector) -> None:
    server = await start(file_quota_mib=1)
    ann = await connect("ann", to=server)
    first = await begin(ann, b"a", size=1 << 19)
    await begin(ann, b"b", size=1 << 19)
    with pytest.raises(Full):
        await begin(ann, b"c", size=1)
    listed = await ann.call(FileList())
    assert (listed.used, listed.quota) == (1 << 20, 1 << 20)
    await ann.call(FileCancel(file=first.file.id))
    await begin(ann, b"c", size=1)


async def test_racing_uploads_do_not_take_the_same_room(start: Starter, connect: Connector) -> None:
    server = await start(file_quota_mib=1, pool_size=4)
    ann = await connect("ann", to=server)
    some = [begin(ann, str(number).encode(), size=600_000) for number in range(4)]
    found = await asyncio.gather(*some, return_exceptions=True)
    assert sorted(type(one).__name__ for one in found) == ["Begun", "Full", "Full", "Full"]


async def test_a_full_disk_takes_no_more(start: Starter, connect: Connector) -> None:
    server = await start(disk_free_mib=1 << 30)
    ann = await connect("ann", to=server)
    with pytest.raises(Full):
        await begin(ann, b"x")


async def test_four_at_once_over_one_socket_and_the_window_shrinks_with_the_memory(
    start: Starter, connect: Connector
) -> None:
    server = await start(file_memory_mib=2, file_part_kib=128)
    ann, bob = await connect("ann", to=server), await connect("bob", to=server)
    windows = [(await begin(ann, bytes([number]))).window for number in range(4)]
    assert windows == sorted(windows, reverse=True)
    assert sum(windows) <= 2 << 20
    with pytest.raises(Conflict):
        await begin(ann, b"one too many")
    assert server.files.uploads.granted == sum(windows)
    await bob.call(SessionPing())


async def test_a_message_in_fragments_is_one_part(server: Server, ann: Person, dial: Dial) -> None:
    raw = await dial(server)
    raw.ask(SessionOpen(token=ann.tokens_given.access))
    assert "ok" in await raw.json()
    data = os.urandom(200_000)
    raw.ask(FileBegin(purpose="attachment", name="x", size=len(data), hash=digest(data)))
    begun = (await raw.json())["ok"]
    whole = begun["number"].to_bytes(4, "big") + bytes(8) + data
    pieces = [whole[at : at + 65536] for at in range(0, len(whole), 65536)]
    for number, piece in enumerate(pieces):
        raw.send(masked(piece, 0 if number else BINARY, fin=number == len(pieces) - 1))
    assert (await raw.json())["offset"] == len(data)
    raw.ask(FileFinish(file=UUID(begun["file"]["id"])))
    assert (await raw.json())["ok"]["state"] == "ready"


async def test_a_text_in_fragments_is_no_larger_than_others(server: Server, ann: Person, dial: Dial) -> None:
    raw = await dial(server)
    raw.ask(SessionOpen(token=ann.tokens_given.access))
    assert "ok" in await raw.json()
    raw.send(masked(b"a" * 60_000, TEXT, fin=False) + masked(b"a" * 10_000, 0, fin=False))
    assert await raw.closed() == 1009


# What goes wrong


async def test_who_dies_between_keeping_a_file_and_noting_it_leaves_it_to_the_next(
    server: Server, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object) -> None:
        raise Unavailable

    data = os.urandom(5000)
    begun = await begin(ann, data)
    await pour(ann, begun, data)
    with monkeypatch.context() as broken:
        broken.setattr(server.files, "_keep", die)
        with pytest.raises(Unavailable):
            await ann.call(FileFinish(file=begun.file.id))
    again = await begin(ann, data)
    assert (again.file.id, again.offset) == (begun.file.id, 5000)
    assert (await ann.call(FileFinish(file=begun.file.id))).state == "ready"
    assert (await get(await address(ann, begun.file))).body == data


async def test_a_file_that_another_process_holds_is_not_written(
    server: Server, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_file, "_BUSY_TRIES", 2)
    data = os.urandom(5000)
    begun = await begin(ann, data)
    await server.files.uploads.take_over(begun.file.id)
    [partial] = kept(server)
    with partial.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Overloaded):
            await begin(ann, data)
    again = await begin(ann, data)
    await pour(ann, again, data)
    await ann.call(FileFinish(file=begun.file.id))


async def test_who_begins_and_sends_nothing_makes_room_for_others(
    server: Server, ann: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_upload, "_PATIENCE", 0.5)
    begun = await begin(ann, b"x")
    told = await ann.wait_for(FileFailed, SOON)
    assert (told.number, told.code, server.files.uploads.granted) == (begun.number, "conflict", 0)


# What one does with one's own


async def test_a_cancelled_file_leaves_nothing(server: Server, ann: Person) -> None:
    data = os.urandom(5000)
    begun = await begin(ann, data)
    await pour(ann, begun, data, 3000)
    await ann.call(FileCancel(file=begun.file.id))
    for frame in (FileGet(file=begun.file.id), FileFinish(file=begun.file.id)):
        with pytest.raises(Missing):
            await ann.call(frame)
    await server.files.sweep()
    assert kept(server) == []
    assert await server.pool.fetchval("SELECT count(*) FROM upload") == 0


async def test_a_file_that_is_being_uploaded_can_be_cancelled_from_another_node(
    server: Server, start: Starter, ann: Person
) -> None:
    other = await start()
    begun = await begin(ann, os.urandom(5000))
    async with Client(other.url) as there:
        await there.open(ann.tokens_given)
        await there.call(FileCancel(file=begun.file.id))
    assert (await ann.wait_for(FileFailed, SOON)).file == begun.file.id
    await server.files.sweep()
    assert kept(server) == []


async def test_what_was_deleted_is_gone_with_its_links(server: Server, ann: Person) -> None:
    file = await upload(ann, os.urandom(5000))
    url = await address(ann, file)
    assert (await get(url)).status == 200
    await ann.call(FileDelete(file=file.id))
    assert (await get(url)).status == 404
    await server.files.sweep()
    assert kept(server) == []


async def test_files_are_listed_page_by_page(ann: Person) -> None:
    made = [await upload(ann, bytes([number])) for number in range(5)]
    found, after = [], None
    while True:
        page = await ann.call(FileList(after=after, limit=2))
        found += page.files
        if (after := page.next) is None:
            break
    assert found == made[::-1]
    assert (await ann.call(FileList(after="nonsense"))).files == found


async def test_what_nobody_goes_on_with_or_sends_is_swept(server: Server, ann: Person) -> None:
    begun = await begin(ann, os.urandom(5000))
    unsent, kept_ = await upload(ann, b"unsent"), await upload(ann, b"a picture", purpose="avatar")
    await ann.call(SessionClose())
    await server.files.sweep()
    assert len(kept(server)) == 3
    await server.pool.execute("UPDATE upload SET moved_at = now() - interval '25 h'")
    await server.pool.execute("UPDATE file_loose SET due = now()")
    await server.files.sweep()
    await ann.open(ann.tokens_given)
    assert [one.id for one in (await ann.call(FileList())).files] == [kept_.id]
    assert len(kept(server)) == 1
    assert unsent.id != begun.file.id


async def test_others_files_do_not_exist(ann: Person, bob: Person) -> None:
    file = await upload(ann, b"a secret")
    begun = await begin(ann, b"another secret")
    frames: list[Request[object]] = [
        kind(file=id)  # type: ignore[misc]
        for kind in (FileGet, FileFinish, FileCancel, FileDelete, FileLink)
        for id in (file.id, begun.file.id, uuid4())
    ]
    for frame in frames:
        with pytest.raises(Missing):
            await bob.call(frame)
    assert (await bob.call(FileList())).files == []


async def test_a_seam_for_what_looks_into_files(server: Server, ann: Person) -> None:
    from protocol.file import Details, File, FileChanged
    from server.file import Keep, Looked

    async def look(file: File, path: Path, keep: Keep) -> Looked:
        if file.name != "good":
            return Looked("refused")
        for name in ("small", "original"):
            (path.parent / "made").write_bytes(name.encode())
            await keep(name, "image/webp", path.parent / "made")
        (path.parent / "made").unlink()
        return Looked("ready", Details(width=len(path.read_bytes()), variants=["small"]), "image/webp")

    server.files.process = look
    good = await upload(ann, b"12345", "good")
    assert good.state == "processing"
    told = await ann.wait_for(FileChanged, SOON)
    assert (told.file.id, told.file.state, told.file.type) == (good.id, "ready", "image/webp")
    assert told.file.details == Details(width=5, variants=["small"])
    small = await ann.call(FileLink(file=good.id, variant="small"))
    assert [(await get(url)).body for url in (small.url, await address(ann, good))] == [b"small", b"original"]
    with pytest.raises(Missing):
        await ann.call(FileLink(file=good.id, variant="large"))
    bad = await upload(ann, b"bad", "bad")
    assert (await ann.wait_for(FileChanged, SOON)).file.state == "refused"
    with pytest.raises(Conflict):
        await ann.call(FileLink(file=bad.id))
    for file in (good, bad):
        await ann.call(FileDelete(file=file.id))
    await server.files.sweep()
    assert kept(server) == []


async def test_what_nobody_has_looked_into_to_the_end_is_looked_into_again(server: Server, ann: Person) -> None:
    from protocol.file import File
    from server.file import Keep, Looked

    async def look(file: File, path: Path, keep: Keep) -> Looked:
        return Looked("ready")

    file = await upload(ann, b"x")
    await server.pool.execute("UPDATE file SET state = 'processing', created_at = now() - interval '2 h'")
    server.files.process = look
    await server.files.sweep()
    assert (await ann.call(FileGet(file=file.id))).state == "ready"


async def test_programs_need_the_scope(ann: Person, connect: Connector) -> None:
    from protocol.api_key import ApiKeyCreate

    key = await ann.call(ApiKeyCreate(name="a program", scopes=["user"], password=Person.password))
    program = await connect()
    await program.open(key.secret)
    with pytest.raises(Forbidden):
        await begin(program, b"x")


async def test_whoever_has_begun_fifty_finishes_one_first(server: Server, ann: Person) -> None:
    await server.pool.execute(
        """
        INSERT INTO file (id, owner, purpose, name, type, size, hash, state)
        SELECT gen_random_uuid(), $1, 'attachment', 'x', 'a/b', 1, decode(md5(n::text), 'hex'), 'uploading'
          FROM generate_series(1, 50) n
        """,
        me(ann),
    )
    with pytest.raises(Conflict):
        await begin(ann, b"x")


@pytest.mark.parametrize("field", ["size", "hash", "name", "type"])
async def test_what_is_announced_is_checked(ann: Person, field: str) -> None:
    wrong = {"size": 0, "hash": "F" * 64, "name": "a\nb", "type": "text/html\r\nX: y"}[field]
    values = {"purpose": "attachment", "size": 1, "hash": digest(b"x"), "name": "x", field: wrong}
    with pytest.raises(Invalid) as refused:
        await ann.call(FileBegin(**values))
    assert refused.value.field == field
