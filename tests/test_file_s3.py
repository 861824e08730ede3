"""file: a bucket as the store, over HTTP: here moto's server, which checks parts and tags as AWS does."""

import asyncio
import datetime as times
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import storage.store_s3
from protocol.client import Client
from protocol.error import Damaged, Unavailable
from protocol.file import FileCancel, FileDelete, FileFinish
from server import Server
from storage.s3 import Bucket, Signer
from storage.store_s3 import S3
from tests.conftest import Connector, Starter
from tests.files import address, begin, digest, get, pour, upload

PART = 5 << 20
KEY = ("an id", "a secret")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # takes a second

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
async def bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Settings of an empty one."""
    monkeypatch.setattr(storage.store_s3, "_PART", PART)
    name = f"files-{os.urandom(4).hex()}"
    making = Bucket(Signer(endpoint, name, "us-east-1", KEY))
    assert (await making.ask("PUT", "")).status == 200
    await making.stop()
    return {"s3_endpoint": endpoint, "s3_bucket": name, "s3_access_key": KEY[0], "s3_secret_key": KEY[1]}


async def names(server: Server) -> list[str]:
    """What is in the bucket, and (with a +) what is on its way there."""
    assert isinstance(server.files.store, S3)
    whole = await server.files.store.bucket.ask("GET", "", {"list-type": "2"})
    begun = await server.files.store.bucket.ask("GET", "", {"uploads": ""})
    found = [[part.split("<")[0] for part in reply.body.decode().split("<Key>")[1:]] for reply in (whole, begun)]
    return [*found[0], *(f"+{one}" for one in found[1])]


def left(folder: Path) -> list[Path]:
    return [path for path in (folder / "files").rglob("*") if path.is_file()]


@pytest.mark.slow
async def test_small_and_large_files_come_back_as_they_were(
    start: Starter, connect: Connector, bucket: dict[str, Any], folder: Path
) -> None:
    server = await start(**bucket)
    ann = await connect("ann", to=server)
    for data in (b"small", os.urandom(PART), os.urandom(2 * PART + 12345)):
        file = await upload(ann, data, "größe.txt", type="text/plain")
        url = await address(ann, file)
        sent = await get(url)
        assert (sent.status, sent.body) == (302, b"")
        got = await get(sent.headers["Location"])
        assert (got.status, got.body) == (200, data)
        assert got.headers["Content-Type"].startswith("text/plain")
        assert "attachment" in got.headers["Content-Disposition"]
        assert (await get(sent.headers["Location"], Range="bytes=1-2")).body == data[1:3]
        assert (await get(url.partition("?")[0])).status == 404
    assert left(folder) == []


@pytest.mark.slow
async def test_another_node_goes_on_behind_the_last_part(
    start: Starter, connect: Connector, bucket: dict[str, Any], folder: Path
) -> None:
    server, other = await start(**bucket), await start(**bucket)
    ann = await connect("ann", to=server)
    data = os.urandom(2 * PART + 1000)
    begun = await begin(ann, data)
    await pour(ann, begun, data, 2 * PART - 1000)
    async with Client(other.url) as there:
        await there.open(ann.tokens_given)
        again = await begin(there, data)
        assert again.offset == PART
        await pour(there, again, data)
        file = await there.call(FileFinish(file=begun.file.id))
        assert (await get((await get(await address(there, file))).headers["Location"])).body == data
    async with asyncio.timeout(5):
        while left(folder):
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_damage_is_found_also_in_what_another_node_has_sent(
    start: Starter, connect: Connector, bucket: dict[str, Any]
) -> None:
    server, other = await start(**bucket), await start(**bucket)
    ann = await connect("ann", to=server)
    data = os.urandom(PART + 1000)
    begun = await begin(ann, data)
    await pour(ann, begun, b"x" * (PART + 1000), PART)
    async with Client(other.url) as there:
        await there.open(ann.tokens_given)
        again = await begin(there, data)
        assert again.offset == PART
        await pour(there, again, data)
        with pytest.raises(Damaged):
            await there.call(FileFinish(file=begun.file.id))
    await server.files.sweep()
    assert await names(server) == []
    whole = await begin(ann, b"short", hash=digest(b"other"))
    await pour(ann, whole, b"short")
    with pytest.raises(Damaged):
        await ann.call(FileFinish(file=whole.file.id))
    assert await names(server) == []


@pytest.mark.slow
async def test_what_is_cancelled_or_deleted_leaves_nothing_there(
    start: Starter, connect: Connector, bucket: dict[str, Any]
) -> None:
    server = await start(**bucket)
    ann = await connect("ann", to=server)
    data = os.urandom(2 * PART)
    begun = await begin(ann, data)
    await pour(ann, begun, data, PART)
    assert [one[0] for one in await names(server)] == ["+"]
    await ann.call(FileCancel(file=begun.file.id))
    await server.files.sweep()
    assert await names(server) == []
    file = await upload(ann, b"small")
    assert len(await names(server)) == 1
    await ann.call(FileDelete(file=file.id))
    await server.files.sweep()
    assert await names(server) == []


@pytest.mark.slow
async def test_what_looks_into_files_gets_a_copy_for_a_while(
    start: Starter, connect: Connector, bucket: dict[str, Any], folder: Path
) -> None:
    server = await start(**bucket)
    ann = await connect("ann", to=server)
    await upload(ann, b"look")
    [key] = await names(server)
    async with server.files.store.local(key) as path:
        assert path.read_bytes() == b"look"
        await server.files.store.put(f"{key}.small", path)
    assert left(folder) == []
    assert await names(server) == [key, f"{key}.small"]


class Then(times.datetime):
    """A clock that stands still."""

    at: times.datetime

    @classmethod
    def now(cls, tz: times.tzinfo | None = None) -> times.datetime:  # type: ignore[override]
        return cls.at


def test_a_signature_is_the_one_that_amazon_gives_as_an_example(monkeypatch: pytest.MonkeyPatch) -> None:
    key = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    signer = Signer("https://s3.amazonaws.com", "examplebucket", "us-east-1", key)
    signer._path, signer._host = "", "examplebucket.s3.amazonaws.com"
    Then.at = times.datetime(2013, 5, 24, tzinfo=times.UTC)
    monkeypatch.setattr("storage.s3.datetime", Then)
    url = signer.presigned("test.txt", 86400, {})
    assert "X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404" in url


@pytest.mark.parametrize("query", [{}, {"uploads": ""}, {"partNumber": "7", "uploadId": "a+b/c= ~"}])
def test_requests_are_signed_as_amazons_own_library_does(
    monkeypatch: pytest.MonkeyPatch, query: dict[str, str]
) -> None:
    from botocore.auth import S3SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    signer = Signer("http://127.0.0.1:9000", "bucket", "eu-central-1", KEY)
    theirs = AWSRequest("PUT", signer.url("a key.small", query), data=b"body")
    S3SigV4Auth(Credentials(*KEY), "s3", "eu-central-1").add_auth(theirs)
    Then.at = times.datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=times.UTC)
    monkeypatch.setattr("storage.s3.datetime", Then)
    mine = signer.headers("PUT", "a key.small", query, digest(b"body"))
    assert mine["x-amz-content-sha256"] == theirs.headers["X-Amz-Content-SHA256"]
    assert mine["Authorization"] == theirs.headers["Authorization"]


@pytest.mark.slow
async def test_a_bucket_that_is_away_is_told_and_later_it_goes_on(
    start: Starter, connect: Connector, bucket: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.s3._PAUSE", 0.01)
    server = await start(**bucket)
    ann = await connect("ann", to=server)
    begun = await begin(ann, b"small")
    await pour(ann, begun, b"small")
    store = server.files.store
    assert isinstance(store, S3)
    base, store.signer._base = store.signer._base, "http://127.0.0.1:9"
    with pytest.raises(Unavailable):
        await ann.call(FileFinish(file=begun.file.id))
    store.signer._base = base
    again = await begin(ann, b"small")
    await pour(ann, again, b"small")
    assert (await ann.call(FileFinish(file=begun.file.id))).state == "ready"
