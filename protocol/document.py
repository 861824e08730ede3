"""The protocol as data about itself: JSON Schema of every op, event and error, read from the frames.

Rule 1: nothing is told twice: types, bounds and meanings come from the frame classes alone.
Rule 2: a schema promises what the strict decoder does; the golden samples are held against both.
"""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from protocol import VERSION
from protocol.codec import encode
from protocol.error import Invalid, Refusal
from protocol.frame import Event, Fact, Failure, Request
from protocol.session import Description

Schema = dict[str, Any]
"""A JSON Schema, or any other JSON object of a document."""


class OpDoc(Struct, frozen=True, kw_only=True):
    """What there is to tell about one op; `alone`: requests behind it wait until it is answered."""

    name: str
    doc: str
    frame: type[Request[Any]]
    reply: Any
    access: str
    limit: str = ""
    alone: bool = False

    @property
    def domain(self) -> str:
        """The first word of the address."""
        return domain_of(self.name)


class Exchange(Struct, frozen=True, forbid_unknown_fields=True):
    """A request and its reply, as they go over the wire."""

    request: Schema
    reply: Schema


class Refused(Struct, frozen=True, forbid_unknown_fields=True):
    """A refusal as it goes over the wire, None where the close code tells it alone."""

    reply: Schema | None
    close: int | None


class Samples(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Frames to show as examples: some exchanges for each op, one frame for each event and error."""

    ops: dict[str, list[Exchange]] = {}
    events: dict[str, Schema] = {}
    errors: dict[str, Refused] = {}


class Surface(Struct, frozen=True, kw_only=True):
    """All that a server takes and gives; `rules` explains the words of each op's `access`."""

    ops: list[OpDoc]
    events: list[type[Event]]
    refusals: list[type[Refusal]]
    rules: dict[str, str] = {}
    samples: Samples = Samples()

    @property
    def domains(self) -> list[str]:
        """First words of the addresses, in the order of the alphabet."""
        names = [op.name for op in self.ops] + [tag(event) for event in self.events]
        return sorted({domain_of(name) for name in names})

    def part(self, domain: str) -> "Surface":
        """Only one domain's ops and events; an unknown domain is `Invalid`."""
        if domain not in self.domains:
            raise Invalid("no op begins with this word", field="domain")
        return msgspec.structs.replace(
            self,
            ops=[op for op in self.ops if op.domain == domain],
            events=[event for event in self.events if domain_of(tag(event)) == domain],
        )


class Schemas(Struct, frozen=True):
    """Schemas by address, and what they refer to."""

    requests: dict[str, Schema]
    replies: dict[str, Schema]
    events: dict[str, Schema]
    definitions: dict[str, Schema]


def tag(frame: type[Struct]) -> str:
    """A frame's address."""
    return str(frame.__struct_config__.tag)


def domain_of(name: str) -> str:
    """The first word of an address."""
    return name.partition(".")[0]


def lasting(event: type[Event]) -> str:
    """Whether an event is kept, and for whom: for a fact, what its base says of all of its kind."""
    return event.__bases__[0].__doc__ or "" if issubclass(event, Fact) else "Passing: it has no `seq` and is not kept."


def prose(text: str) -> str:
    """A docstring for readers of JSON, where None is written null."""
    return re.sub(r"\bNone\b", "null", inspect.cleandoc(text))


def schemas(surface: Surface, refer: str = "#/$defs/{name}") -> Schemas:
    """JSON Schemas (2020-12) of everything; `refer` says how they point at their definitions."""
    frames, replies = [op.frame for op in surface.ops], [op.reply for op in surface.ops]
    kinds = [*frames, *replies, *surface.events, Failure]
    told, definitions = msgspec.json.schema_components(kinds, ref_template=refer)
    one = iter([_tidy(schema) for schema in told])
    names = [op.name for op in surface.ops]
    return Schemas(
        requests={name: next(one) for name in names},
        replies={name: next(one) for name in names},
        events={tag(event): next(one) for event in surface.events},
        definitions={name: _tidy(definitions[name]) for name in sorted(definitions)},
    )


def schema(surface: Surface) -> Schema:
    """One JSON Schema of every frame, with the ops, events and errors beside it by name."""
    told = schemas(surface)
    requests, events = list(told.requests.values()), list(told.events.values())
    replies = [reply(body) for body in _distinct(told.replies.values())]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"onesocket protocol {VERSION}",
        "description": "Every frame. `x-ops` has the requests and replies (what stands in `ok`) by op.",
        "anyOf": [{"$ref": f"#/$defs/{kind}"} for kind in ("AnyRequest", "AnyReply", "AnyEvent")],
        "x-ops": _ops(surface, told),
        "x-events": told.events,
        "x-errors": errors(surface.refusals),
        "$defs": {
            **told.definitions,
            "AnyRequest": {"description": "A frame from client to server.", "anyOf": requests},
            "AnyReply": {
                "description": "A frame that answers a request.",
                "anyOf": [*replies, failed({"$ref": "#/$defs/Failure"})],
            },
            "AnyEvent": {"description": "A frame that answers no request.", "anyOf": events},
        },
    }


def description(surface: Surface, domain: str | None = None) -> Description:
    """The reply of `session.describe`: all of it, or one domain. The references point into this reply."""
    if domain is not None:
        surface = surface.part(domain)
    told = schemas(surface, "#/definitions/{name}")
    return Description(
        protocol=VERSION,
        ops=Raw(encode(_ops(surface, told))),
        events=Raw(encode(told.events)),
        errors=Raw(encode(errors(surface.refusals))),
        definitions=Raw(encode(told.definitions)),
    )


def errors(refusals: Iterable[type[Refusal]]) -> dict[str, Schema]:
    """Every code with its meaning, and the close code where the socket ends with it."""
    return {kind.code: {"doc": kind.default, "close": kind.close} for kind in refusals}


def reply(body: Schema) -> Schema:
    """The whole frame around what an op replies."""
    return _answer("ok", body)


def failed(failure: Schema) -> Schema:
    """The whole frame around a refusal."""
    return _answer("error", failure)


def _answer(key: str, body: Schema) -> Schema:
    number = {"type": "integer", "minimum": 0, "maximum": 2**53 - 1, "description": "The request's `id`."}
    return {"type": "object", "properties": {"re": number, key: body}, "required": ["re", key]}


def _ops(surface: Surface, told: Schemas) -> dict[str, Schema]:
    return {
        op.name: {
            "doc": prose(op.doc),
            "access": op.access,
            "limit": op.limit or None,
            "request": told.requests[op.name],
            "reply": told.replies[op.name],
        }
        for op in surface.ops
    }


def _distinct(told: Iterable[Schema]) -> list[Schema]:
    return list({encode(one): one for one in told}.values())


def _tidy(told: Mapping[str, Any]) -> Schema:
    """Without OpenAPI's additions, in the shortest words, a request's `op` and `id` first."""
    tidied: Schema = {}
    for key, value in told.items():
        if key == "discriminator" or (key == "required" and not value):
            continue
        if key == "enum" and len(value) == 1:
            tidied["const"] = value[0]
        else:
            tidied[key] = _tidy_value(key, value)
    if "op" in tidied.get("properties", {}):
        first = {name: tidied["properties"].pop(name) for name in ("op", "id")}
        tidied["properties"] = first | tidied["properties"]
    return tidied


def _tidy_value(key: str, value: Any) -> Any:
    if key == "description":
        return prose(value)
    if key == "properties":
        return {name: _tidy(one) for name, one in value.items()}
    if key == "anyOf":
        return _distinct(branch for one in map(_tidy, value) for branch in _branches(one))
    if key in ("items", "additionalProperties") and isinstance(value, dict):
        return _tidy(value)
    return value


def _branches(told: Schema) -> list[Schema]:
    """Alternatives of alternatives are alternatives."""
    return list(told["anyOf"]) if told.keys() == {"anyOf"} else [told]
