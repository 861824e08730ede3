"""Who is at the other end: the peer, or whom a trusted proxy names.

Rule: a forwarded address is believed only from a network that the operator trusts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_V1 = b"PROXY "
_LONGEST_V1, _LONGEST_V2 = 107, 536
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Opening(Struct, frozen=True):
    """What a PROXY protocol header said, and the bytes behind it; no address for a health check (LOCAL)."""

    address: str | None
    rest: bytes


def peer(name: Any) -> str:
    """The address of a socket's other end; `unix` for a Unix socket."""
    return normal(str(name[0])) if isinstance(name, tuple) and name else "unix"


def normal(address: str) -> str:
    """One spelling for one address: IPv4 written as IPv6 becomes IPv4, zones are dropped."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    mapped = getattr(parsed, "ipv4_mapped", None)
    return str(mapped or parsed)


def group(address: str) -> str:
    """What limits count: an IPv4 address, an IPv6 /64 (one household has millions of addresses)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def networks(texts: Iterable[str]) -> tuple[Network, ...]:
    """The trusted networks of the settings."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def local(address: str) -> bool:
    """Whether a peer is on this machine."""
    try:
        return address == "unix" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def trusted(address: str, allowed: Sequence[Network]) -> bool:
    """Whether a peer may name whom it forwards. A Unix socket's peer is on this machine, by our own file mode."""
    if address == "unix":
        return True
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in allowed)


def forwarded(address: str, values: Sequence[str], allowed: Sequence[Network]) -> str:
    """The client behind trusted proxies: the rightmost X-Forwarded-For entry that is no trusted proxy itself."""
    current = address
    for entry in reversed([part.strip() for value in values for part in value.split(",")]):
        if not trusted(current, allowed):
            break
        try:
            ipaddress.ip_address(entry.partition("%")[0])
        except ValueError:
            break
        current = normal(entry)
    return current


def parse(data: bytes) -> Opening | None:
    """The PROXY header (v1 or v2) at the start of a connection; None while it is incomplete."""
    if data.startswith((_V2[: len(data)], _V2)):
        return _parse_v2(data)
    if not data.startswith((_V1[: len(data)], _V1)):
        raise ValueError("no PROXY header")
    end = data.find(b"\r\n", 0, _LONGEST_V1)
    if end >= 0:
        return Opening(_named(data[:end].decode("ascii").split(" ")), data[end + 2 :])
    if len(data) >= _LONGEST_V1:
        raise ValueError("PROXY line too long")
    return None


def _named(words: list[str]) -> str | None:
    if words[1] == "UNKNOWN":
        return None
    address = ipaddress.ip_address(words[2] if len(words) == 6 else "")
    if words[1] != f"TCP{address.version}":
        raise ValueError("bad PROXY line")
    return normal(str(address))


def _parse_v2(data: bytes) -> Opening | None:
    if len(data) < 16:
        return None
    size = 16 + int.from_bytes(data[14:16], "big")
    version, command, family = data[12] >> 4, data[12] & 15, data[13] >> 4
    if version != 2 or command > 1 or size > 16 + _LONGEST_V2:
        raise ValueError("bad PROXY header")
    if len(data) < size:
        return None
    width = {1: 4, 2: 16}.get(family)
    if command == 0 or width is None:
        return Opening(None, data[size:])
    if size < 16 + 2 * width + 4:
        raise ValueError("bad PROXY header")
    return Opening(normal(str(ipaddress.ip_address(data[16 : 16 + width]))), data[size:])
