"""The protocol's documents: current, valid, and true to what the server accepts."""

import copy
import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from protocol.asyncapi import asyncapi
from protocol.codec import Codec, encode
from protocol.document import Schema, description, failed, schemas, tag
from protocol.document import reply as whole_reply
from protocol.error import Invalid, Refusal
from protocol.frame import AccountFact, ChannelFact, Event, Fact, Nothing, Request
from protocol.session import SessionDescribe
from server import document
from server.context import Context
from server.document import COMMAND, built_in, read_samples
from server.handlers import collect
from server.router import Router, op
from server.rule import PUBLIC
from tests import node_tools
from tests.conftest import Person

ROOT = Path(__file__).parent.parent
TEXTS = document.texts(ROOT)
SURFACE = built_in(read_samples(ROOT / "tests/golden"))
WHOLE = json.loads(TEXTS[Path("docs/schema.json")])
TOLD = schemas(SURFACE)
FORMATS = FormatChecker(["uuid"])
RFC_3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
REQUESTS = [
    pytest.param(exchange.request, id=f"{name}-{at}")
    for name, exchanges in SURFACE.samples.ops.items()
    for at, exchange in enumerate(exchanges)
]
# Values that some field somewhere must refuse: the decoder and the schema have to agree on each.
STRANGE: list[Any] = [
    None,
    True,
    0,
    1,
    -1,
    10**6,
    2**63,
    1.5,
    -200.5,
    "",
    "a",
    "a\n",
    "a b",
    "\0",
    "\x7f",
    "ж",
    "Ö" * 12,
]
STRANGE += ["x" * 33, "x" * 5000, "en\n", "a@b", "a@b\n", "123456", "123456\n", "*", "*\n", "user.get", "dark", "web"]
STRANGE += ["0197a3c2-5e10-7c44-9b1e-2f60d5a1c801", [], ["a"], ["a\n"], ["a"] * 51, {}, {"kind": "web"}]
STRANGE += [{"kind": "fcm", "token": "t"}, {"kind": "fcm", "token": "t", "x": 1}, {"latitude": 1, "longitude": 1}]
STRANGE += ["2026-03-14T09:26:53Z", "2026-03-14T10:26:53.5+01:00", "2026-03-14T09:26:53", "2026-03-14T24:26:53Z", "now"]
STRANGE += [[1, 2], [0], [1] * 101, [{"stream": "0197a3c2-5e10-7c44-9b1e-2f60d5a1c801", "seq": 1}], [{"seq": 1}]]
STRANGE += [["messages"], ["messages", "letters"], ["0197a3c2-5e10-7c44-9b1e-2f60d5a1c801"], "🎉", "🎉 🎉"]
STRANGE += [{"latitude": 91, "longitude": 1}, {"latitude": 1}, {"mentions": False}, {"mentions": 1}, {"more": True}]


@FORMATS.checks("date-time")
def is_time(value: object) -> bool:
    """Whether a string is a time as RFC 3339 has it, with its zone."""
    if not isinstance(value, str):
        return True
    try:
        return bool(RFC_3339.fullmatch(value) and datetime.fromisoformat(value))
    except ValueError:
        return False


def validator(schema: Schema, root: Schema = WHOLE) -> Draft202012Validator:
    """A validator of one schema, whose references point into `root`."""
    return Draft202012Validator({**root, "anyOf": [schema]}, format_checker=FORMATS)


def described(surface: Any, domain: str | None = None) -> dict[str, Any]:
    """The reply of `session.describe` as a client sees it."""
    told: dict[str, Any] = json.loads(encode(description(surface, domain)))
    return told


def pointers(value: Any) -> Iterator[str]:
    """All references in a JSON document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from pointers(one)


def resolves(pointer: str, root: Any) -> bool:
    for step in pointer.removeprefix("#/").split("/"):
        if step not in root:
            return False
        root = root[step]
    return True


@pytest.mark.parametrize("path", TEXTS, ids=str)
def test_the_documents_are_current(path: Path) -> None:
    assert (ROOT / path).read_text("utf-8") == TEXTS[path], f"{path} is not current: run `{COMMAND}`"


# AsyncAPI


def parsed(*files: Path) -> list[list[dict[str, Any]]]:
    """What the parser says of documents."""
    result = node_tools.run("asyncapi.mjs", *map(str, files), timeout=600)
    assert result.returncode == 0, result.stderr
    return list(json.loads(result.stdout))


@pytest.mark.slow  # a minute; what follows takes a part of it
@pytest.mark.timeout(600)
def test_the_asyncapi_parser_accepts_the_document() -> None:
    (told,) = parsed(ROOT / "docs/asyncapi.json")
    assert [one for one in told if one["severity"] in ("error", "warning")] == []


def test_the_asyncapi_parser_accepts_a_part_and_would_refuse_a_wrong_reference(tmp_path: Path) -> None:
    part = json.dumps(asyncapi(SURFACE.part("device")))
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text(part)
    wrong.write_text(part.replace("#/components/schemas/Devices", "#/components/no"))
    told = parsed(right, wrong)
    assert [one for one in told[0] if one["severity"] in ("error", "warning")] == []
    assert "error" in {one["severity"] for one in told[1]}


def test_asyncapi_has_every_op_and_event_and_asks_for_a_login_where_the_op_does() -> None:
    operations = json.loads(TEXTS[Path("docs/asyncapi.json")])["operations"]
    assert set(operations) == {one.name for one in SURFACE.ops} | {tag(event) for event in SURFACE.events}
    assert {name for name, one in operations.items() if one["action"] == "send"} == {tag(e) for e in SURFACE.events}
    open_to_all = {one.name for one in SURFACE.ops if one.access == "public"}
    received = {name: one for name, one in operations.items() if one["action"] == "receive"}
    assert {name for name, one in received.items() if "security" not in one} == open_to_all


# JSON Schema


def test_the_schema_is_a_schema_and_all_its_references_resolve() -> None:
    Draft202012Validator.check_schema(WHOLE)
    assert [pointer for pointer in pointers(WHOLE) if not resolves(pointer, WHOLE)] == []


@pytest.mark.parametrize("name", [one.name for one in SURFACE.ops])
def test_golden_exchanges_validate(name: str) -> None:
    reply = whole_reply(TOLD.replies[name])
    for exchange in SURFACE.samples.ops[name]:
        validator(TOLD.requests[name]).validate(exchange.request)
        validator(reply).validate(exchange.reply)
        Draft202012Validator(WHOLE, format_checker=FORMATS).validate(exchange.reply)


def test_golden_events_and_errors_validate() -> None:
    for name, frame in SURFACE.samples.events.items():
        validator(TOLD.events[name]).validate(frame)
    failure = failed({"$ref": "#/$defs/Failure"})
    for sample in SURFACE.samples.errors.values():
        assert sample.reply is None or validator(failure).is_valid(sample.reply)


@pytest.mark.parametrize("request_", REQUESTS)
def test_schema_and_decoder_agree_on_what_is_a_request(request_: Schema) -> None:
    codec, schema = Codec(one.frame for one in SURFACE.ops), validator(TOLD.requests[request_["op"]])
    verdicts = {True: 0, False: 0}
    for frame in variants(request_):
        accepted = accepts(codec, frame)
        assert schema.is_valid(frame) == accepted, f"the decoder {'takes' if accepted else 'refuses'} {frame}"
        verdicts[accepted] += 1
    assert all(verdicts.values())


def variants(frame: Schema) -> Iterator[Schema]:
    """The frame itself, and everything nearly like it."""
    yield frame
    yield {**frame, "surplus": 1}
    for field in frame.keys() - {"op"}:
        yield {key: value for key, value in frame.items() if key != field}
        for value in STRANGE:
            yield {**frame, field: copy.deepcopy(value)}


def accepts(codec: Codec, frame: Schema) -> bool:
    try:
        codec.decode(encode(frame))
    except Refusal:
        return False
    return True


def test_everything_inside_a_request_refuses_unknown_fields() -> None:
    ahead = list(TOLD.requests.values())
    while ahead:
        schema = ahead.pop()
        ahead += [TOLD.definitions[pointer.rpartition("/")[2]] for pointer in pointers(schema)]
        if "properties" in schema:
            assert schema["additionalProperties"] is False, schema["title"]


def test_a_request_says_its_op_and_of_what_its_ids_are() -> None:
    properties = TOLD.definitions["DeviceRevoke"]["properties"]
    assert list(properties) == ["op", "id", "device"]
    assert properties["op"] == {"const": "device.revoke"}
    assert properties["device"] == {"type": "string", "format": "uuid", "x-of": "device"}


def test_exactly_facts_have_a_stream_and_a_seq() -> None:
    for event in SURFACE.events:
        schema = TOLD.definitions[TOLD.events[tag(event)]["$ref"].rpartition("/")[2]]
        assert ({"stream", "seq"} <= set(schema["required"])) == issubclass(event, Fact)
        assert ("seq" in schema["properties"]) == issubclass(event, Fact)


def test_what_a_request_may_leave_out_is_not_required_and_has_no_default() -> None:
    update = TOLD.definitions["AccountUpdate"]
    assert update["required"] == ["op"]
    assert "default" not in update["properties"]["theme"]


# session.describe


async def test_a_server_describes_itself_as_the_documents_do(stranger: Person) -> None:
    reply = await stranger.call(SessionDescribe())
    told = json.loads(encode(reply))
    assert set(told["ops"]) == {one.name for one in SURFACE.ops}
    assert {code: told["errors"][code] for code in WHOLE["x-errors"]} == WHOLE["x-errors"]
    assert told["definitions"] == described(SURFACE)["definitions"]
    assert len(encode(reply)) < 2**20, "it is sent whole, to anybody: keep it well within a socket's write buffer"


async def test_one_domain_is_described_alone_and_an_unknown_one_is_invalid(stranger: Person) -> None:
    told = json.loads(encode(await stranger.call(SessionDescribe(domain="device"))))
    assert {name.partition(".")[0] for name in told["ops"]} == {"device"}
    assert "Account" not in told["definitions"]
    with pytest.raises(Invalid) as refused:
        await stranger.call(SessionDescribe(domain="nothing"))
    assert refused.value.field == "domain"


@pytest.mark.parametrize("domain", [None, *SURFACE.domains])
def test_references_of_a_description_resolve_in_it(domain: str | None) -> None:
    told = described(SURFACE, domain)
    found = list(pointers(told))
    assert found
    assert [pointer for pointer in found if not resolves(pointer, told)] == []


class Poke(Request[Nothing], tag="test_document.poke", frozen=True):
    """Poke the server."""


class Poked(Event, tag="test_document.poked", frozen=True):
    """Somebody poked the server."""


@op(access=PUBLIC, limit="20/10s", alone=True)
def poke(ctx: Context, frame: Poke) -> Nothing:
    """It does not mind."""
    return Nothing()


def test_an_embedders_op_and_event_are_described_and_stay_out_of_the_documents() -> None:
    router = Router([*collect(), poke], public=[tag(Poke)])
    told = json.loads(encode(document.description(router.ops.values())))
    assert told["ops"][tag(Poke)] == {
        "doc": "Poke the server.",
        "access": "public",
        "limit": "20 in 10 seconds",
        "request": {"$ref": "#/definitions/Poke"},
        "reply": {"$ref": "#/definitions/Nothing"},
    }
    assert tag(Poked) in told["events"]
    assert not any("test_document" in text for text in TEXTS.values())


# Markdown


def test_every_link_in_the_text_leads_somewhere() -> None:
    text = TEXTS[Path("docs/protocol.md")]
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    anchors |= set(re.findall(r'<a id="([^"]+)">', text))
    links = re.findall(r"\]\(([^)]+)\)", text)
    broken = {link for link in links if link.startswith("#") and link[1:] not in anchors}
    broken |= {link for link in links if not link.startswith("#") and not (ROOT / "docs" / link).exists()}
    assert len(links) > len(SURFACE.ops)
    assert broken == set()


def test_the_text_has_each_op_with_rule_limit_fields_and_example() -> None:
    text = TEXTS[Path("docs/protocol.md")]
    section = text.partition("### user.block\n")[2].partition("\n### ")[0]
    assert "`logged_in`, `in_scope`" in section
    assert "`user` must be a user whom the viewer may block" in section
    assert "Limit: 60 a minute" in section
    assert "| `user` | UUID of a user | required |" in section
    assert msgspec.json.decode(section.partition("```json\n")[2].partition("\n")[0])["op"] == "user.block"


def test_the_text_tells_facts_from_what_passes_and_whose_they_are() -> None:
    told = dict(re.findall(r"^### event (.+)\n\n.+(?:\n.+)*\n\n- (.+)$", TEXTS[Path("docs/protocol.md")], re.MULTILINE))
    assert told.keys() == {tag(event) for event in SURFACE.events}
    assert told["message.created"] == ChannelFact.__doc__
    assert told["draft.saved"] == AccountFact.__doc__
    assert {name for name, line in told.items() if line.startswith("Passing")} == {
        tag(event) for event in SURFACE.events if not issubclass(event, Fact)
    }


def test_every_field_of_every_frame_is_in_the_text() -> None:
    text = TEXTS[Path("docs/protocol.md")]
    rows = set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))
    fields = {name for one in TOLD.definitions.values() for name in one.get("properties", {})} - {"op", "id", "ev"}
    assert fields - {"code", "message", "field", "retry_after"} <= rows
