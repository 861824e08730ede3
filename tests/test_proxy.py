"""proxy: who is at the other end, as the peer's address, a header or a PROXY line says, and whom to believe."""

import asyncio
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import proxy
from server.config import Config, ConfigError
from server.gateway import Gateway
from tests.echo import HELLO, Echo, Listening, echoing
from tests.raw import UPGRADE, Raw, head, until

V2 = b"\r\n\r\n\x00\r\nQUIT\n"
REQUEST = head("GET", "/", (("Host", "localhost"), *UPGRADE))


def v2(command: int, family: int, body: bytes, version: int = 2) -> bytes:
    """A binary PROXY header."""
    return V2 + bytes((version << 4 | command, family << 4 | 1)) + len(body).to_bytes(2, "big") + body


def four(source: str, more: bytes = b"") -> bytes:
    return v2(1, 1, IPv4Address(source).packed + bytes((10, 0, 0, 1)) + b"\x04\xd2\x01\xbb" + more)


def six(source: str) -> bytes:
    return v2(1, 2, IPv6Address(source).packed + bytes(16) + b"\x04\xd2\x01\xbb")


GOOD: dict[bytes, str | None] = {
    b"PROXY TCP4 1.2.3.4 10.0.0.1 1234 443\r\n": "1.2.3.4",
    b"PROXY TCP6 2001:DB8::1 ::1 1234 443\r\n": "2001:db8::1",
    b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1234 443\r\n": "1.2.3.4",
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n": None,
    four("1.2.3.4"): "1.2.3.4",
    four("1.2.3.4", b"\x20\x00\x05hello"): "1.2.3.4",
    six("2001:db8::1"): "2001:db8::1",
    six("::ffff:1.2.3.4"): "1.2.3.4",
    v2(0, 0, b""): None,
    v2(0, 1, b"\x00" * 12): None,
    v2(1, 0, b""): None,
    v2(1, 3, b"\x00" * 216): None,
}

BAD = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01",
    b"proxy TCP4 1.2.3.4 10.0.0.1 1 2\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 1.2.3.4 10.0.0.1 1234\r\n",
    b"PROXY TCP4 1.2.3.4 10.0.0.1 1234 443 5\r\n",
    b"PROXY TCP4 1.2.3.444 10.0.0.1 1234 443\r\n",
    b"PROXY TCP4 localhost 10.0.0.1 1234 443\r\n",
    b"PROXY TCP4 2001:db8::1 ::1 1234 443\r\n",
    b"PROXY TCP6 1.2.3.4 10.0.0.1 1234 443\r\n",
    b"PROXY UDP4 1.2.3.4 10.0.0.1 1234 443\r\n",
    b"PROXY TCP4 \xff.2.3.4 10.0.0.1 1234 443\r\n",
    b"PROXY " + b"x" * 200,
    b"PROXY UNKNOWN" + b" " * 200 + b"\r\n",
    V2[:8] + b"QUIT!!!!!!!!!",
    v2(1, 1, b"\x00" * 12, version=1),
    v2(2, 1, b"\x00" * 12),
    v2(1, 1, b"\x00" * 11),
    v2(1, 2, b"\x00" * 12),
    v2(1, 1, b"\x00" * 537),
]


@pytest.mark.parametrize("data", GOOD)
def test_a_good_header_is_read_whole_and_what_is_behind_it_is_kept(data: bytes) -> None:
    found = proxy.parse(data + b"behind")
    assert found == proxy.Opening(GOOD[data], b"behind")
    for end in range(len(data)):
        assert proxy.parse(data[:end]) is None, data[:end]


@pytest.mark.parametrize("data", BAD)
def test_a_bad_header_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        proxy.parse(data)


@given(
    st.binary(max_size=600)
    | st.binary(max_size=600).map(lambda data: V2 + data)
    | st.text().map(lambda text: b"PROXY " + text.encode())
)
def test_whatever_comes_is_a_header_or_refused(data: bytes) -> None:
    try:
        found = proxy.parse(data)
    except ValueError:
        return
    assert found is not None or len(data) < 16 + 536


async def begun(listening: Listening, opening: bytes) -> Raw:
    """A socket behind a PROXY header."""
    raw = await Raw.connect(listening.port)
    raw.send(opening + REQUEST)
    assert (await raw.reply()).status == 101
    assert await raw.text() == HELLO
    return raw


async def test_the_named_address_is_the_clients() -> None:
    async with echoing(proxy_protocol=True, trusted_proxies=["127.0.0.0/8"]) as listening:
        for opening, address in GOOD.items():
            raw = await begun(listening, opening)
            assert [one.socket.address for one in listening.conversations] == [address or "127.0.0.1"]
            raw.abort()
            await until(lambda: not listening.gateway.sockets)


async def test_a_header_may_come_byte_by_byte() -> None:
    async with echoing(proxy_protocol=True, trusted_proxies=["127.0.0.0/8"]) as listening:
        for opening in (four("1.2.3.4"), b"PROXY TCP4 1.2.3.4 10.0.0.1 1234 443\r\n"):
            raw = await Raw.connect(listening.port)
            for byte in opening:
                raw.send(bytes((byte,)))
                await asyncio.sleep(0)
            raw.send(REQUEST)
            assert (await raw.reply()).status == 101
            assert listening.conversations[0].socket.address == "1.2.3.4"
            raw.abort()
            await until(lambda: not listening.gateway.sockets)


async def test_a_bad_or_missing_header_ends_the_connection_without_a_word() -> None:
    async with echoing(proxy_protocol=True, trusted_proxies=["127.0.0.0/8"]) as listening:
        for data in BAD:
            raw = await Raw.connect(listening.port)
            raw.send(data)
            assert await raw.over() == b"", data
        await until(lambda: not listening.gateway.sockets)


async def test_half_a_header_is_given_up_after_the_handshakes_time() -> None:
    async with echoing(proxy_protocol=True, trusted_proxies=["127.0.0.0/8"], handshake_timeout=1) as listening:
        raw = await Raw.connect(listening.port)
        raw.send(b"PROXY TCP4 1.2")
        assert await raw.over(timeout=4) == b""


async def test_only_a_trusted_proxy_may_name_anybody() -> None:
    async with echoing(proxy_protocol=True, trusted_proxies=["127.0.0.2/32"]) as listening:
        raw = await Raw.connect(listening.port)
        raw.send(b"PROXY TCP4 1.2.3.4 10.0.0.1 1 2\r\n" + REQUEST)
        assert await raw.over() == b""
        raw = await Raw.connect(listening.port, local_addr=("127.0.0.2", 0))
        raw.send(b"PROXY TCP4 1.2.3.4 10.0.0.1 1 2\r\n" + REQUEST)
        assert (await raw.reply()).status == 101


async def test_a_client_behind_the_proxy_cannot_forward_itself() -> None:
    async with echoing(proxy_protocol=True, trusted_proxies=["127.0.0.0/8"]) as listening:
        raw = await Raw.connect(listening.port)
        raw.send(b"PROXY TCP4 1.2.3.4 10.0.0.1 1 2\r\n")
        assert (await raw.upgrade("/", ("X-Forwarded-For", "127.0.0.1"))).status == 101
        assert listening.conversations[0].socket.address == "1.2.3.4"


async def test_limits_count_the_named_addresses_and_ipv6_by_network() -> None:
    async with echoing(proxy_protocol=True, trusted_proxies=["127.0.0.0/8"], pending_per_address=2) as listening:
        kept = [await begun(listening, six(f"2001:db8:0:1::{number}")) for number in (1, 2)]
        kept.append(await begun(listening, six("2001:db8:0:2::1")))
        kept.append(await begun(listening, four("1.2.3.4")))
        raw = await Raw.connect(listening.port)
        raw.send(six("2001:db8:0:1:ffff::3") + REQUEST)
        assert (await raw.reply()).status == 429
        assert len(listening.conversations) == len(kept) == 4


async def test_settings_that_would_let_nobody_in_are_refused() -> None:
    for settings, said in (
        ({"proxy_protocol": True}, "name the proxies in trusted_proxies"),
        ({"trusted_proxies": ["10.0.0.0/33"]}, "trusted_proxies: '10.0.0.0/33'"),
        ({"trusted_proxies": ["proxy.example"]}, "trusted_proxies: 'proxy.example'"),
    ):
        with pytest.raises(ConfigError, match=said):
            Gateway(Config(**settings), None, Echo)


def test_addresses_have_one_spelling() -> None:
    for text, normal in (
        ("1.2.3.4", "1.2.3.4"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("2001:0DB8:0:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("unix", "unix"),
    ):
        assert proxy.normal(text) == normal
    assert proxy.peer(("fe80::1%eth0", 1, 0, 2)) == "fe80::1"
    assert proxy.peer("") == proxy.peer(None) == "unix"


def test_an_ipv6_household_is_one_group() -> None:
    assert proxy.group("1.2.3.4") == "1.2.3.4"
    assert proxy.group("2001:db8:0:1::1") == proxy.group("2001:db8:0:1:ffff:ffff:ffff:ffff") == "2001:db8:0:1::/64"
    assert proxy.group("2001:db8:0:2::1") != proxy.group("2001:db8:0:1::1")
    assert proxy.group("unix") == "unix"


def test_this_machine_is_this_machine() -> None:
    for address, local in (
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("unix", True),
        ("::1:2", False),
        ("1.127.0.0", False),
        ("10.0.0.1", False),
        ("", False),
    ):
        assert proxy.local(address) is local, address
