"""What the coordinator and the generators say to each other: one JSON object a line, over pipes.

An account of a room is its first and last seq, and the digest of what stands there: equal where the same was told.
Orders go to a generator's standard input, reports come from its standard output. Every order but the plan is
answered by exactly one `Done` once it was carried out, after a last `Progress` that belongs to it.
"""

from typing import Literal

from msgspec import Struct, field

from bench.load.histogram import Counts

Role = Literal["steady", "storm"]
Account = tuple[int, int, str]


class Seat(Struct):
    """One account with one socket: the rooms it hears, and those of them that it writes to."""

    account: str
    token: str
    rooms: list[int]
    writes: list[int] = []
    role: Role = "steady"
    username: str = ""
    password: str = ""


class Plan(Struct, tag=True):
    """The first order: who plays, and where. `first` is the number of the first seat among those of all generators.

    `watches`: accounts of whose presence each seat is told. `share`: the part of all rates that this generator keeps.
    """

    url: str
    first: int
    rooms: list[str]
    seats: list[Seat]
    watches: list[str] = []
    share: float = 1.0


class Open(Struct, tag=True):
    """Open a socket for every seat."""


class Leave(Struct, tag=True):
    """Close the sockets of the seats in the storm."""


class Return(Struct, tag=True):
    """Open them again at this address, all at once, and resume from where they were."""

    url: str


class Talk(Struct, tag=True):
    """Send messages: so many in flight for each writer and room, or at a rate; for a time, or so many in each."""

    seconds: float
    depth: int = 1
    rate: float = 0.0
    each: int = 0


class Read(Struct, tag=True):
    """Ask for pages of history, one after the other: `deep` of them (0 to 1) from anywhere, the others the last."""

    seconds: float
    depth: int
    limit: int
    deep: float


class LogIn(Struct, tag=True):
    """Connect, log in with the password, open a session and close, so many at once."""

    seconds: float
    depth: int


class Live(Struct, tag=True):
    """Do what people do in a community, so many actions a second."""

    seconds: float
    rate: float


class Stop(Struct, tag=True):
    """End what goes on now."""


class Flush(Struct, tag=True):
    """Report all that was counted so far."""


class Settle(Struct, tag=True):
    """Wait until every seat has every room up to these heads, then say what is wrong."""

    heads: list[int]


Order = Plan | Open | Leave | Return | Talk | Read | LogIn | Live | Stop | Flush | Settle


class Progress(Struct, tag=True, eq=False):
    """What happened since the last one. Latencies are counts by bucket."""

    acked: int = 0
    delivered: int = 0
    passing: int = 0
    answered: int = 0
    opened: int = 0
    ack: Counts = field(default_factory=dict)
    delivery: Counts = field(default_factory=dict)
    request: Counts = field(default_factory=dict)
    resume: Counts = field(default_factory=dict)


class Findings(Struct):
    """What was wrong, in numbers; `lost` counts each member that a fact did not reach."""

    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    mismatched: int = 0
    unanswered: int = 0
    refused: int = 0
    dropped: int = 0
    reset: int = 0
    first_problem: str = ""


class Done(Struct, tag=True):
    """An order was carried out. `heads`: the last acknowledged seq of every room; `accounts`: what was told in them."""

    order: str
    heads: list[int] = []
    findings: Findings | None = None
    accounts: list[Account | None] = []


class Failed(Struct, tag=True):
    """The generator gives up."""

    reason: str


Report = Progress | Done | Failed
