"""The protocol as an AsyncAPI 3 document, from the server's point of view: it receives requests, and sends events."""

import re
from typing import Any

from protocol import VERSION
from protocol.codec import encode
from protocol.document import (
    Exchange,
    OpDoc,
    Refused,
    Schema,
    Surface,
    failed,
    lasting,
    prose,
    reply,
    schemas,
    tag,
)
from protocol.frame import Event, Failure
from protocol.introduction import introduction

_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_SESSION = {
    "type": "apiKey",
    "in": "password",
    "description": "Not part of the handshake: `session.open` takes an access token or an API key, and from then on "
    "the socket speaks for its account.",
}


def asyncapi(surface: Surface) -> dict[str, Any]:
    """The whole document."""
    messages = _messages(surface)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "onesocket",
            "version": VERSION,
            "description": _LINK.sub(r"\1", introduction(surface)),
            "tags": [{"name": domain} for domain in surface.domains],
        },
        "defaultContentType": "application/json",
        "servers": {"onesocket": _server()},
        "channels": {"socket": _channel(list(messages))},
        "operations": {
            **{op.name: _received(op) for op in surface.ops},
            **{tag(event): _sent(event) for event in surface.events},
        },
        "components": {
            "messages": messages,
            "schemas": schemas(surface, "#/components/schemas/{name}").definitions,
            "correlationIds": {
                "request": {"location": "$message.payload#/id"},
                "reply": {"location": "$message.payload#/re"},
            },
            "securitySchemes": {"session": _SESSION},
        },
    }


def _server() -> Schema:
    return {
        "host": "127.0.0.1:8765",
        "protocol": "ws",
        "description": "Where a server without settings listens; `wss` where it has a certificate.",
    }


def _channel(messages: list[str]) -> Schema:
    return {
        "address": "/",
        "title": "The socket",
        "summary": "Everything goes over this one WebSocket.",
        "servers": [{"$ref": "#/servers/onesocket"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "bindingVersion": "0.1.0"}},
    }


def _received(op: OpDoc) -> Schema:
    limit = f"\n\nLimit: {op.limit}." if op.limit else ""
    operation = {
        "action": "receive",
        "channel": {"$ref": "#/channels/socket"},
        "title": op.name,
        "summary": _summary(op.doc),
        "description": f"{prose(op.doc)}\n\nWho may call it: {op.access}.{limit}",
        "tags": [{"name": op.domain}],
        "messages": [_message_ref(f"{op.name}.request")],
        "reply": {
            "channel": {"$ref": "#/channels/socket"},
            "messages": [_message_ref(f"{op.name}.reply"), _message_ref("error")],
        },
    }
    return operation if op.access == "public" else operation | {"security": [_component("securitySchemes", "session")]}


def _sent(event: type[Event]) -> Schema:
    name, doc = tag(event), event.__doc__ or ""
    return {
        "action": "send",
        "channel": {"$ref": "#/channels/socket"},
        "title": name,
        "summary": _summary(doc),
        "description": f"{prose(doc)}\n\n{lasting(event)}",
        "tags": [{"name": name.partition(".")[0]}],
        "messages": [_message_ref(name)],
    }


def _messages(surface: Surface) -> dict[str, Schema]:
    told = schemas(surface, "#/components/schemas/{name}")
    messages: dict[str, Schema] = {}
    for op in surface.ops:
        shown = surface.samples.ops.get(op.name, [])
        messages[f"{op.name}.request"] = _message(
            f"Request: {op.name}", told.requests[op.name], _shown("request", shown), "request"
        )
        messages[f"{op.name}.reply"] = _message(
            f"Reply: {op.name}", reply(told.replies[op.name]), _shown("reply", shown), "reply"
        )
    messages["error"] = _message(
        "Any request refused",
        failed(_component("schemas", Failure.__name__)),
        [_error_shown(code, one) for code, one in surface.samples.errors.items() if one.reply],
        "reply",
    )
    for event in surface.events:
        frame = surface.samples.events.get(tag(event))
        messages[tag(event)] = _message(
            f"Event: {tag(event)}", told.events[tag(event)], [{"payload": frame}] if frame else []
        )
    return messages


def _message(title: str, payload: Schema, examples: list[Schema], correlation: str = "") -> Schema:
    message: Schema = {"title": title, "payload": payload}
    if correlation:
        message["correlationId"] = _component("correlationIds", correlation)
    return message | {"examples": examples} if examples else message


def _shown(which: str, exchanges: list[Exchange]) -> list[Schema]:
    """The examples, but those with references of their own, which readers of AsyncAPI would follow."""
    frames = [getattr(exchange, which) for exchange in exchanges]
    return [{"payload": frame} for frame in frames if b'"$ref"' not in encode(frame)]


def _error_shown(code: str, sample: Refused) -> Schema:
    close = f"; then the socket closes with {sample.close}" if sample.close else ""
    return {"name": code, "summary": code + close, "payload": sample.reply}


def _message_ref(name: str) -> Schema:
    return {"$ref": f"#/channels/socket/messages/{name}"}


def _component(kind: str, name: str) -> Schema:
    return {"$ref": f"#/components/{kind}/{name}"}


def _summary(doc: str) -> str:
    """The first sentence of a docstring."""
    return prose(doc).partition("\n\n")[0].replace("\n", " ")
