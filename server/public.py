"""Which hosts and addresses are anybody's: what may be asked for on the word of a stranger.

Rule 1: an address is public when it is known to be, not when it is not known to be private.
Rule 2: an address inside of an address (IPv4 in IPv6, in whatever form) is never public: it need not be taken apart.
Rule 3: a host is a name or an address as everybody writes it; 2130706433, 0177.0.0.1 and 0x7f.1 are neither.
"""

from __future__ import annotations

import ipaddress
import re

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Everything that registries reserve, and addresses at which clouds answer their own machines.
_NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(one)
    for one in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(one) for one in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_LIKE_A_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
# Ends of names that the public DNS does not have.
_ONLY_HERE = frozenset(
    "alt corp example home internal intranet invalid lan local localdomain localhost onion test".split()  # noqa: SIM905
)
_ISATAP = (0x00005EFE, 0x02005EFE)


def is_public(address: Address) -> bool:
    """Whether it belongs to somebody in the open internet."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if address not in _PUBLIC_6 or any(address in network for network in _NOT_PUBLIC_6):
        return False
    return address.scope_id is None and int(address) >> 32 & 0xFFFFFFFF not in _ISATAP


def literal(host: str) -> Address | None:
    """The address that a host is, written as everybody does; brackets are taken off before."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_name(host: str) -> bool:
    """Whether it is a name that may stand in the public DNS. Whether its addresses are public is another matter."""
    labels = host.lower().removesuffix(".").split(".")
    if len(host) > 253 or len(labels) < 2 or labels[-1] in _ONLY_HERE:
        return False
    return all(map(_LABEL.fullmatch, labels)) and not _LIKE_A_NUMBER.fullmatch(labels[-1])
