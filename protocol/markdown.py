"""The protocol as a text for people who write a client: docs/protocol.md.

Rule: a type that only one place uses is shown at that place; the others are shown once, at the end.
"""

import inspect
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from protocol.document import OpDoc, Schema, Schemas, Surface, lasting, prose, schemas, tag
from protocol.frame import Event, Fact
from protocol.introduction import introduction
from protocol.table import references, table, words

_WIDTH, _LONG = 110, 6
_EMPTY: tuple[Any, ...] = (None, [], {})
_HEAD = """# The onesocket protocol

<!-- Generated from the frames by `python -m server.document`: change those, not this. -->
"""

_EXAMPLES = """
Every op has an example, the request and its reply; of a long reply that was shown before, only `{…}` is left. Tables
leave out what all frames have: `op` and `id`, or `ev`, and in facts `stream` and `seq`.
"""


def markdown(surface: Surface) -> str:
    """The whole text."""
    return _Book(surface, schemas(surface)).text()


class _Book:
    """The text in the making."""

    def __init__(self, surface: Surface, told: Schemas) -> None:
        self.surface, self.told = surface, told
        self.uses = Counter(_uses(told))
        self.seen: set[str] = set()

    def text(self) -> str:
        parts = [
            _HEAD,
            introduction(self.surface),
            self.contents(),
            *(part for domain in self.surface.domains for part in self.domain(domain)),
            *self.types(),
        ]
        return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"

    def contents(self) -> str:
        """All ops and events, each a link."""
        lines = ["## All ops and events\n", f"{_EXAMPLES.strip()}\n"]
        for domain in self.surface.domains:
            part = self.surface.part(domain)
            ops = [f"[{op.name.partition('.')[2]}](#{_anchor(op.name)})" for op in part.ops]
            facts = _listed("facts", (one for one in part.events if issubclass(one, Fact)))
            passing = _listed("passing", (one for one in part.events if not issubclass(one, Fact)))
            lines.append(f"- **[{domain}](#{domain})**: {' · '.join(ops)}{facts}{passing}")
        return "\n".join(lines)

    def domain(self, domain: str) -> Iterator[str]:
        part = self.surface.part(domain)
        yield f"## {domain}"
        yield _about(domain, [op.frame for op in part.ops] + part.events)
        for op in part.ops:
            yield from self.op(op)
        for event in part.events:
            yield f"### event {tag(event)}"
            yield f"{prose(event.__doc__ or '')}\n\n- {lasting(event)}"
            yield from self.fields(self.told.events[tag(event)], requests=False)
            if tag(event) in self.surface.samples.events:
                yield _block(_pretty(self.surface.samples.events[tag(event)]))

    def op(self, op: OpDoc) -> Iterator[str]:
        yield f"### {op.name}"
        yield prose(op.doc)
        yield self.who(op)
        yield from self.fields(self.told.requests[op.name], requests=True)
        yield from self.reply(self.told.replies[op.name])
        for exchange in self.surface.samples.ops.get(op.name, ()):
            yield _block(_pretty(exchange.request), self.answer(exchange.reply))

    def who(self, op: OpDoc) -> str:
        """Who may call it, and how often."""
        rules = [word for word in op.access.split(", ") if ": " not in word]
        who = "anybody" if rules == ["public"] else ", ".join(f"`{rule}`" for rule in rules)
        lines = [f"Who may call it: {who}"]
        for word in op.access.split(", "):
            if ": " in word:
                field, _, kind = word.partition(": ")
                meaning = self.surface.rules.get(word, kind).removesuffix(".")
                lines.append(f"`{field}` must be {meaning[:1].lower()}{meaning[1:]}")
        if op.limit:
            lines.append(f"Limit: {op.limit}")
        if op.alone:
            lines.append("Requests sent behind it wait until it is answered")
        return "\n".join(f"- {line}." for line in lines)

    def answer(self, frame: Schema) -> str:
        """A reply; a long one in full only the first time that one of its shape is shown."""
        text, shape = _pretty(frame), repr([key for key, value in frame.get("ok", {}).items() if value not in _EMPTY])
        if text.count("\n") < _LONG or shape not in self.seen:
            self.seen.add(shape)
            return text
        return f'{{"re": {frame["re"]}, "ok": {{…}}}}'

    def reply(self, told: Schema) -> Iterator[str]:
        """What stands in `ok`."""
        names = list(references(told))
        if all(not self.told.definitions[name].get("properties") for name in names):
            yield "Replies nothing but that it is done: `{}`."
            return
        yield f"Replies {self.named(told, names)}"
        for name in names:
            yield from self.inline(name, requests=False)

    def named(self, told: Schema, names: list[str]) -> str:
        if len(names) != 1 or not self.is_local(names[0]):
            return f"{words(told)}."
        return f"`{names[0]}`: {self.told.definitions[names[0]].get('description', '')}"

    def is_local(self, name: str) -> bool:
        """Whether a type is used, and therefore shown, at one place only."""
        return self.uses[name] == 1

    def inline(self, name: str, *, requests: bool) -> Iterator[str]:
        """The table of a type that is used only here."""
        if self.is_local(name):
            yield from self.fields(self.told.definitions[name], requests=requests)

    def fields(self, told: Schema, *, requests: bool) -> Iterator[str]:
        """The table of a frame or type, and the types that are used only there."""
        if "$ref" in told:
            told = self.told.definitions[told["$ref"].rpartition("/")[2]]
        yield table(told, requests=requests)
        for name in references(told):
            if self.is_local(name):
                yield self.heading(name)
                yield from self.inline(name, requests=requests)

    def heading(self, name: str) -> str:
        """A type inside another's section; the anchor is what links to it."""
        return f'<a id="type-{name.lower()}"></a>**{name}**: {self.told.definitions[name].get("description", "")}'

    def types(self) -> Iterator[str]:
        """The types that are used at several places."""
        yield "## Types"
        asked = _reachable(self.told, self.told.requests.values())
        for name, told in self.told.definitions.items():
            if self.uses[name] > 1 and told.get("properties"):
                yield f"### type {name}"
                yield told.get("description", "")
                yield from self.fields(told, requests=name in asked)


def _uses(told: Schemas) -> Iterator[str]:
    """Every place that refers to a type: a field of a type or event, or an op that replies it."""
    for one in [*told.replies.values(), *told.definitions.values()]:
        yield from references(one)


def _reachable(told: Schemas, start: Iterable[Schema]) -> set[str]:
    found: set[str] = set()
    ahead = [name for one in start for name in references(one)]
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += references(told.definitions[name])
    return found


def _about(domain: str, frames: list[type[Any]]) -> str:
    """What the module of a domain says that it is for."""
    module = sys.modules[frames[0].__module__]
    first, _, rest = inspect.cleandoc(module.__doc__ or "").partition("\n")
    text = first.removeprefix(f"{domain}: ")
    return f"{text[:1].upper()}{text[1:]}\n{rest}"


def _listed(kind: str, events: Iterable[type[Event]]) -> str:
    """Links to events."""
    links = [f"[{tag(one).partition('.')[2]}](#event-{_anchor(tag(one))})" for one in events]
    return f" · {kind}: {' · '.join(links)}" if links else ""


def _anchor(name: str) -> str:
    return name.replace(".", "")


def _block(*texts: str) -> str:
    return "```json\n" + "\n".join(texts) + "\n```"


def _pretty(value: Any, indent: str = "", before: int = 0) -> str:
    """JSON in as few lines as read well."""
    short = json.dumps(value, ensure_ascii=False)
    if len(indent) + before + len(short) <= _WIDTH or not value or not isinstance(value, dict | list):
        return short
    deeper = indent + "  "
    if isinstance(value, list):
        lines = [deeper + _pretty(one, deeper) for one in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    lines = [f'{deeper}"{key}": {_pretty(one, deeper, len(key) + 4)}' for key, one in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
