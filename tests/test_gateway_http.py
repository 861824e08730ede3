"""gateway: the few things that plain HTTP gets, who may open a socket, and requests that are none."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
import redis.asyncio
from prometheus_client.parser import text_string_to_metric_families

from protocol.session import SessionPing
from server import Server
from server.http import SECURITY_HEADERS, Site
from tests.conftest import Dial, Person, Starter, Storage
from tests.echo import Listening, echoing
from tests.raw import CLOSE, UPGRADE, Raw, Reply, head, until

PAGE, SCRIPT = b"<!doctype html><title>page</title>", b"'use strict'\n"


@pytest.fixture
def pages(folder: Path) -> Iterator[Site]:
    web = folder / "web"
    (web / "avatar").mkdir(parents=True)
    (web / "index.html").write_bytes(PAGE)
    (web / "app.js").write_bytes(SCRIPT)
    (web / "avatar" / "owl.svg").write_bytes(b"<svg/>")
    (folder / "secret.txt").write_bytes(b"not for you")
    yield Site(lambda: (True, b'{"status": "ok"}\n'), lambda: b"metric 1\n", folder=web)


@pytest.fixture
async def listening(pages: Site) -> AsyncIterator[Listening]:
    async with echoing(site=pages, origins=["https://App.example/"], public_url="https://chat.example/x") as one:
        yield one


async def fetch(port: int, path: str, *headers: tuple[str, str], method: str = "GET", version: str = "1.1") -> Reply:
    """One request, one response."""
    raw = await Raw.connect(port)
    raw.send(head(method, path, (("Host", "localhost"), *headers), f"HTTP/{version}"))
    return await raw.reply()


async def said(port: int, data: bytes) -> bytes:
    """Everything that comes in answer to some bytes."""
    raw = await Raw.connect(port)
    raw.send(data)
    return await raw.over()


# Files


async def test_files_come_with_their_type_and_a_tag_that_saves_the_second_fetch(listening: Listening) -> None:
    for path, body, kind in (
        ("/", PAGE, "text/html; charset=utf-8"),
        ("/reset?ticket=x", PAGE, "text/html; charset=utf-8"),
        ("/app.js", SCRIPT, "text/javascript; charset=utf-8"),
        ("/avatar/owl.svg", b"<svg/>", "image/svg+xml"),
    ):
        reply = await fetch(listening.port, path)
        assert (reply.status, reply.body, reply.headers["Content-Type"]) == (200, body, kind)
        for known in (reply.headers["ETag"], f'"other", W/{reply.headers["ETag"]}'):
            again = await fetch(listening.port, path, ("If-None-Match", known))
            assert (again.status, again.body, again.headers["ETag"]) == (304, b"", reply.headers["ETag"])
            assert "Content-Length" not in again.headers
        assert (await fetch(listening.port, path, ("If-None-Match", '"other"'))).status == 200


async def test_head_gets_the_headers_alone(listening: Listening) -> None:
    get, only = await fetch(listening.port, "/app.js"), await fetch(listening.port, "/app.js", method="HEAD")
    assert (only.status, only.body) == (200, b"")
    for reply in (get, only):
        del reply.headers["Date"]
    assert get.headers == only.headers
    assert (await fetch(listening.port, "/nothing", method="HEAD")).body == b""


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/../secret.txt",
        "/avatar/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2f%2e%2e%2fetc/passwd",
        "//etc/passwd",
        "/avatar",
        "/avatar/",
        "/index.html/",
        "/app.js%00.html",
        "*",
        "http://localhost/healthz",
        "/" + "a" * 8000,
    ],
)
async def test_everything_else_is_not_found(listening: Listening, path: str) -> None:
    reply = await fetch(listening.port, path)
    assert (reply.status, reply.body) == (404, b"not found\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW"])
async def test_only_get_and_head_are_answered(listening: Listening, method: str) -> None:
    reply = await fetch(listening.port, "/healthz", method=method)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD")
    upgrade = await fetch(listening.port, "/", *UPGRADE, method=method)
    assert upgrade.status == 405


async def test_every_answer_forbids_what_pages_do_not_need(listening: Listening) -> None:
    port = listening.port
    replies = [await fetch(port, path) for path in ("/", "/healthz", "/readyz", "/metrics", "/nothing")]
    replies += [
        await fetch(port, "/", method="POST"),
        await fetch(port, "/", ("If-None-Match", replies[0].headers["ETag"])),
        await fetch(port, "/nothing", *UPGRADE),
        await fetch(port, "/", *UPGRADE, ("Origin", "https://evil.example")),
        await fetch(port, "/", ("Upgrade", "websocket")),
        await fetch(port, "/", *UPGRADE[:-1]),
        await fetch(port, "/", *UPGRADE, version="1.0"),
        await fetch(port, "/", ("X", "y" * 9000)),
        await fetch(port, "/" + "y" * 9000),
        await fetch(port, "/", ("Content-Length", "7")),
    ]
    assert [one.status for one in replies] == [200] * 4 + [404, 405, 304, 404, 403, 426, 400, 505, 431, 414, 400]
    for reply in replies:
        assert SECURITY_HEADERS.items() <= reply.headers.items()
        assert reply.headers["Connection"] == "close"
    policy = SECURITY_HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


# Requests that are none


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: x\n\n", 400),
        (b"GET /\xff HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000, 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 20000 + b"\r\n\r\n", 431),
        (b"x" * 300_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n" + b"\x00" * 200, 400),
    ],
)
async def test_bytes_that_are_no_request_get_one_complaint_and_the_end(
    listening: Listening, data: bytes, status: int
) -> None:
    answer = await said(listening.port, data)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"HTTP/1.1 %d" % status) == 1
    await until(lambda: not listening.gateway.sockets)


async def test_requests_in_one_packet_get_one_answer_and_the_end(listening: Listening) -> None:
    one = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    for behind in (one, b"\x81\x85", b"\xff" * 5000, b"x" * 400):
        answer = await said(listening.port, one + behind)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert answer.endswith(b"\r\n\r\nok\n")
        assert answer.count(b"HTTP/1.1") == 1


async def test_http_1_0_and_a_half_closed_client_are_answered(listening: Listening) -> None:
    assert (await said(listening.port, b"GET /healthz HTTP/1.0\r\n\r\n")).endswith(b"ok\n")
    raw = await Raw.connect(listening.port)
    raw.send(b"GET /healthz HTTP/1.1\r\n\r\n")
    raw.writer.write_eof()
    assert (await raw.over()).endswith(b"ok\n")


async def test_a_header_given_twice_where_one_counts_is_refused(listening: Listening) -> None:
    twice = (("Origin", "https://app.example"), ("Origin", "https://evil.example"))
    assert (await fetch(listening.port, "/", *UPGRADE, *twice)).status == 400
    assert (await fetch(listening.port, "/", ("If-None-Match", "x"), ("If-None-Match", "y"))).status == 400
    assert (await fetch(listening.port, "/", *UPGRADE, UPGRADE[2])).status == 400


async def test_an_upgrade_to_something_else_is_an_ordinary_request(listening: Listening) -> None:
    reply = await fetch(listening.port, "/healthz", ("Upgrade", "h2c"), ("Connection", "Upgrade"))
    assert reply.body == b"ok\n"


async def test_an_answer_to_who_does_not_read_it_is_given_up(pages: Site) -> None:
    async with echoing(site=pages, handshake_timeout=1) as listening:
        raw = await Raw.connect(listening.port)
        raw.send(b"GET /healthz HTTP/1.1\r\n\r\n")
        await until(lambda: listening.gateway.sockets)
        await until(lambda: not listening.gateway.sockets)
        raw.abort()


# Origins and forwarded addresses


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 101),
        ("http://localhost", 101),
        ("https://LOCALHOST", 101),
        ("https://app.example", 101),
        ("https://chat.example", 101),
        ("https://evil.example", 403),
        ("http://app.example", 403),
        ("https://app.example:8443", 403),
        ("https://app.example.evil.example", 403),
        ("http://localhost:1", 403),
        ("null", 403),
        ("", 403),
        ("localhost", 403),
        ("file://", 403),
    ],
)
async def test_only_our_own_and_listed_origins_may_connect(
    listening: Listening, origin: str | None, status: int
) -> None:
    raw = await Raw.connect(listening.port)
    reply = await raw.upgrade("/", *([("Origin", origin)] if origin is not None else []))
    assert reply.status == status


async def test_no_host_is_no_origins_own(listening: Listening) -> None:
    raw = await Raw.connect(listening.port)
    raw.send(head("GET", "/", (*UPGRADE, ("Origin", "null"))))
    assert (await raw.reply()).status == 403


async def test_the_socket_is_at_two_paths_only(listening: Listening) -> None:
    for path, status in (("/", 101), ("/socket", 101), ("/socket?x=1", 101), ("/healthz", 404), ("/sockets", 404)):
        raw = await Raw.connect(listening.port)
        assert (await raw.upgrade(path)).status == status


@pytest.mark.parametrize(
    ("trusted", "values", "address"),
    [
        ([], ["1.2.3.4"], "127.0.0.1"),
        (["10.0.0.0/8"], ["1.2.3.4"], "127.0.0.1"),
        (["127.0.0.0/8"], [], "127.0.0.1"),
        (["127.0.0.0/8"], ["1.2.3.4"], "1.2.3.4"),
        (["127.0.0.0/8"], ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        (["127.0.0.0/8"], ["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        (["127.0.0.0/8", "10.0.0.0/8"], ["6.6.6.6, 1.2.3.4, 10.1.1.1"], "1.2.3.4"),
        (["127.0.0.0/8"], ["1.2.3.4, garbage"], "127.0.0.1"),
        (["127.0.0.0/8"], ["::ffff:1.2.3.4"], "1.2.3.4"),
        (["127.0.0.0/8"], ["2001:DB8:0::1"], "2001:db8::1"),
    ],
)
async def test_a_forwarded_address_counts_only_from_a_trusted_proxy(
    trusted: list[str], values: list[str], address: str
) -> None:
    async with echoing(trusted_proxies=trusted) as listening:
        raw = await listening.raw(*[("X-Forwarded-For", value) for value in values])
        assert listening.conversations[0].socket.address == address
        raw.abort()


async def test_clients_behind_a_trusted_proxy_have_limits_of_their_own() -> None:
    async with echoing(trusted_proxies=["127.0.0.0/8"], pending_per_address=1) as listening:
        kept = [await listening.raw(("X-Forwarded-For", f"1.2.3.{number}")) for number in range(5)]
        kept += [await listening.raw(("X-Forwarded-For", f"2001:db8:0:{number}::1")) for number in range(5)]
        for again in ("1.2.3.4", "2001:db8:0:3:ffff::7"):
            raw = await Raw.connect(listening.port)
            reply = await raw.upgrade("/", ("X-Forwarded-For", again))
            assert (reply.status, reply.headers["Retry-After"]) == (429, "10")
        assert len(kept) == len(listening.conversations) == 10


# Health and metrics


async def test_a_healthy_server_says_so(server: Server) -> None:
    alive, ready = await fetch(server.port, "/healthz"), await fetch(server.port, "/readyz")
    assert (alive.status, alive.body) == (200, b"ok\n")
    assert ready.status == 200
    assert json.loads(ready.body) == {"status": "ok", "database": "ok", "redis": "ok", "disk": "ok"}
    assert alive.headers["Cache-Control"] == ready.headers["Cache-Control"] == "no-store"


async def test_without_redis_the_server_is_degraded_and_ready(start: Starter, redis_url: str, folder: Path) -> None:
    cable = folder / "redis.sock"
    cable.symlink_to(unquote(urlsplit(redis_url).path))
    server = await start(redis_url=f"unix://{cable}")
    assert json.loads((await fetch(server.port, "/readyz")).body)["redis"] == "ok"
    cable.unlink()
    client = redis.asyncio.from_url(redis_url)
    await client.execute_command("CLIENT KILL TYPE normal")  # type: ignore[no-untyped-call]
    await client.execute_command("CLIENT KILL TYPE pubsub")  # type: ignore[no-untyped-call]
    await client.aclose()
    await until(lambda: server.health.parts["redis"] != "ok")
    reply = await fetch(server.port, "/readyz")
    assert (reply.status, json.loads(reply.body)["status"]) == (200, "degraded")
    cable.symlink_to(unquote(urlsplit(redis_url).path))
    await until(lambda: server.health.parts["redis"] == "ok")


async def test_without_its_database_the_server_is_not_ready(server: Server, storage: Storage, database: str) -> None:
    admin = await asyncpg.connect(storage.url("postgres"))
    name = await admin.fetchval("SELECT datname FROM pg_database WHERE $1 LIKE '%/' || datname || '?%'", database)
    await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    try:
        await until(lambda: server.health.parts["database"] != "ok")
        reply = await fetch(server.port, "/readyz")
        assert (reply.status, json.loads(reply.body)["status"]) == (503, "down")
        assert (await fetch(server.port, "/healthz")).status == 200, "restarting it would not help"
    finally:
        await admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await admin.close()
    await until(lambda: server.health.parts["database"] == "ok")
    assert (await fetch(server.port, "/readyz")).status == 200


async def test_metrics_are_what_prometheus_reads(server: Server, ann: Person, dial: Dial) -> None:
    await ann.call(SessionPing())
    raw = await dial(server)
    raw.say(b"\x0b\xb8", CLOSE)
    assert await raw.closed() == 3000
    await until(lambda: server.gateway.closes)
    reply = await fetch(server.port, "/metrics")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    families = {one.name: one for one in text_string_to_metric_families(reply.body.decode())}
    values = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families.values()
        for sample in family.samples
    }
    worker = ("worker", "0")
    assert values["onesocket_sessions", worker] == 1
    assert values["onesocket_requests_total", ("op", "session.ping"), ("result", "ok"), worker] == 1
    assert values["onesocket_closes_total", ("code", "3000"), worker] == 1
    assert values["onesocket_request_seconds_count", ("op", "session.ping"), worker] == 1
    assert values["process_resident_memory_bytes", worker] > 10 << 20
    assert {one.type for one in families.values()} == {"counter", "gauge", "histogram"}


async def test_codes_that_clients_make_up_are_one_number() -> None:
    async with echoing() as listening:
        for code in (1000, 3000, 3001, 4123, 4999):
            raw = await listening.raw()
            raw.say(code.to_bytes(2, "big"), CLOSE)
            assert await raw.closed() == code
        await until(lambda: not listening.gateway.sockets)
        assert listening.gateway.closes == {1000: 1, 3000: 4}


async def test_metrics_are_for_this_machine(listening: Listening) -> None:
    assert (await fetch(listening.port, "/metrics")).status == 200
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto", "Via"):
        assert (await fetch(listening.port, "/metrics", (name, "127.0.0.1"))).status == 403, name
    async with echoing(site=listening.gateway.site, trusted_proxies=["127.0.0.0/8"]) as behind:
        assert (await fetch(behind.port, "/metrics", ("X-Forwarded-For", "127.0.0.1"))).status == 403
        assert (await fetch(behind.port, "/metrics", ("X-Forwarded-For", "10.1.2.3"))).status == 403


async def test_metrics_with_a_token_are_for_who_has_it(start: Starter) -> None:
    server = await start(metrics_token="t0k3n")
    for header, status in (
        ((), 403),
        ((("Authorization", "t0k3n"),), 403),
        ((("Authorization", "Bearer t0k3"),), 403),
        ((("Authorization", "Bearer \xfft0k3n"),), 403),
        ((("Authorization", "Bearer t0k3n"), ("Authorization", "Bearer t0k3n")), 400),
        ((("Authorization", "Bearer t0k3n"), ("X-Forwarded-For", "9.9.9.9")), 200),
    ):
        assert (await fetch(server.port, "/metrics", *header)).status == status, header


async def test_a_thousand_answers_leave_nothing_behind(listening: Listening) -> None:
    for _ in range(20):
        assert {one.status for one in await asyncio.gather(*(fetch(listening.port, "/") for _ in range(40)))} == {200}
    await until(lambda: not listening.gateway.sockets)
    gateway = listening.gateway
    assert not any((gateway._open, gateway._pending, gateway._counted, gateway._handshakes, gateway._closing))
