"""What this server tells about its protocol: to its clients, and to readers of docs/.

    python -m server.document

run at the top of a checkout, writes docs/protocol.md, docs/asyncapi.json and docs/schema.json anew.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec

from protocol import document
from protocol.asyncapi import asyncapi
from protocol.document import OpDoc, Samples, Surface, domain_of, tag
from protocol.error import Refusal, Unknown
from protocol.frame import Event, Nothing
from protocol.markdown import markdown
from protocol.session import Description
from server.handlers import collect
from server.limit import Rate
from server.router import Op, Router
from server.rule import Rule

COMMAND = "python -m server.document"
_SAMPLES = Path("tests/golden")
_UNITS = {1: "a second", 60: "a minute", 3600: "an hour", 86400: "a day"}


def description(ops: Iterable[Op], domain: str | None = None) -> Description:
    """The reply of `session.describe`; an unknown domain is `Invalid`."""
    return document.description(surface(ops), domain)


def surface(ops: Iterable[Op], samples: Samples | None = None) -> Surface:
    """All that a server with these ops takes and gives."""
    known = sorted(ops, key=lambda op: domain_of(op.name))
    domains = {domain_of(op.name) for op in known}
    return Surface(
        ops=[_told(op) for op in known],
        events=[event for event in _events() if _built_in(event) or domain_of(tag(event)) in domains],
        refusals=[kind for kind in _below(Refusal) if kind is not Unknown],
        rules={word: text for op in known for word, text in _rules(op.access)},
        samples=samples or Samples(),
    )


def built_in(samples: Samples) -> Surface:
    """What onesocket itself takes and gives, whatever else is imported."""
    whole = surface(Router(collect()).ops.values(), samples)
    return msgspec.structs.replace(
        whole,
        events=[event for event in whole.events if _built_in(event)],
        refusals=[kind for kind in whole.refusals if _built_in(kind)],
    )


def read_samples(folder: Path) -> Samples:
    """The golden samples: a file for each domain, one for the errors."""
    files = [msgspec.json.decode(file.read_bytes(), type=Samples) for file in sorted(folder.glob("*.json"))]
    return reduce(_joined, files, Samples())


def texts(checkout: Path) -> dict[Path, str]:
    """The documents by where they belong, relative to the checkout."""
    whole = built_in(read_samples(checkout / _SAMPLES))
    return {
        Path("docs/protocol.md"): markdown(whole),
        Path("docs/asyncapi.json"): _json(asyncapi(whole)),
        Path("docs/schema.json"): _json(document.schema(whole)),
    }


def write(checkout: Path) -> None:
    """Write the documents into a checkout's docs folder."""
    for path, text in texts(checkout).items():
        (checkout / path).parent.mkdir(exist_ok=True)
        (checkout / path).write_text(text, "utf-8")


def main() -> None:
    """Write the documents of the checkout that is the current folder."""
    if not _SAMPLES.is_dir():
        sys.exit(f"there is no {_SAMPLES} here: run this at the top of a checkout")
    write(Path())


def _told(op: Op) -> OpDoc:
    return OpDoc(
        name=op.name,
        doc=op.frame.__doc__ or op.handler.__doc__ or "",
        frame=op.frame,
        reply=Nothing if op.reply is type(None) else op.reply,
        access=op.access.words,
        limit=_limit(op.limit) if op.limit else "",
        alone=op.alone,
    )


def _limit(rate: Rate) -> str:
    """A rate for people: `60 a minute`, `20 in 10 seconds`."""
    unit = max(seconds for seconds in _UNITS if rate.period % seconds == 0)
    periods = int(rate.period) // unit
    return f"{rate.count:g} " + (_UNITS[unit] if periods == 1 else f"in {periods} {_UNITS[unit].split()[1]}s")


def _rules(rule: Rule) -> Iterator[tuple[str, str]]:
    """The words of a rule with their meanings, which are the docstrings of its gates and queries."""
    for gate in rule.gates:
        yield gate.__name__, gate.__doc__ or ""
    for bind in rule.binds:
        yield f"{bind.field}: {bind.load.__name__}", bind.load.__doc__ or ""


def _events() -> Iterator[type[Event]]:
    """All but those without a name, which say what others have in common."""
    return (event for event in _below(Event) if tag(event))


def _below(kind: type[Any]) -> Iterator[type[Any]]:
    for one in kind.__subclasses__():
        yield one
        yield from _below(one)


def _built_in(kind: type[Any]) -> bool:
    return kind.__module__.startswith("protocol.")


def _joined(one: Samples, other: Samples) -> Samples:
    return Samples(ops=one.ops | other.ops, events=one.events | other.events, errors=one.errors | other.errors)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    main()
