"""Fields of a frame as a Markdown table: JSON Schema in words."""

from collections.abc import Iterator

from protocol.codec import encode
from protocol.document import Schema

PATTERNS = {
    r"^[^\x00]*$": "no NUL character",
    r"^[^\x00-\x1f\x7f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$": "one line",
    r"^[\x21-\x7e]+$": "printable ASCII, no spaces",
}
"""Patterns that are easier said; any other is shown as it is."""

_PYTHONS_END = r"(?!\n)"
_HEADS = ("field", "type", "default", "bounds", "meaning")


def table(told: Schema, *, requests: bool) -> str:
    """All fields but those that every frame has; a column that would be empty is left out."""
    fields = dict(told.get("properties", {}))
    own = fields.keys() - _common(fields)
    rows = [_row(name, one, told, requests) for name, one in fields.items() if name in own]
    if not rows:
        return ""
    shown = [at for at in range(len(_HEADS)) if any(row[at] for row in rows)]
    lines = [[_HEADS[at] for at in shown], ["---"] * len(shown), *([row[at] for at in shown] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _common(fields: Schema) -> set[str]:
    """What all requests, facts or events have."""
    if "op" in fields:
        return {"op", "id"}
    return {"ev", "stream", "seq"} if "ev" in fields and "seq" in fields else {"ev"}


def link(name: str) -> str:
    """A type's name, leading to its table."""
    return f"[{name}](#type-{name.lower()})"


def references(told: Schema) -> Iterator[str]:
    """The definitions that a schema points at."""
    if "$ref" in told:
        yield told["$ref"].rpartition("/")[2]
    inner = [told["items"]] if isinstance(told.get("items"), dict) else []
    inner += [told["additionalProperties"]] if isinstance(told.get("additionalProperties"), dict) else []
    for one in [*told.get("properties", {}).values(), *told.get("anyOf", ()), *inner]:
        yield from references(one)


def words(told: Schema) -> str:
    """A type: `string`, `Account` or `null`."""
    match told:
        case {"$ref": str(target)}:
            return link(target.rpartition("/")[2])
        case {"anyOf": choices}:
            return _either([words(one) for one in choices])
        case {"enum": [*values]} | {"const": values}:
            return _either([_code(one) for one in (values if isinstance(values, list) else [values])])
        case {"type": "array"}:
            text = f"list of {words(told.get('items', {}))}"
        case {"type": "object"}:
            text = f"map of {words(told.get('additionalProperties', {}))}"
        case {"type": "string"}:
            text = _string(told)
        case {"x-of": kind}:
            text = f"`seq` of a {kind}"
        case _:
            text = str(told.get("type", "any JSON"))
    return text


def _string(told: Schema) -> str:
    if "x-of" in told:
        return f"UUID of {'an' if told['x-of'][0] in 'aeio' else 'a'} {told['x-of'].replace('_', ' ')}"
    return {"uuid": "UUID", "date-time": "time"}.get(told.get("format", ""), "string")


def _either(choices: list[str]) -> str:
    """`a`, `b` or `c`."""
    return f"{', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else choices[0]


def _row(name: str, one: Schema, told: Schema, requests: bool) -> list[str]:
    need = ""
    if requests:
        need = _code(one["default"]) if "default" in one else "optional"
        need = "required" if name in told.get("required", ()) else need
    cells = [f"`{name}`", words(one), need, "; ".join(_bounds(one)), _meaning(one)]
    return [cell.replace("|", "\\|") for cell in cells]


def _meaning(told: Schema) -> str:
    """The description of a field, or of what it may be beside null, or of what its list holds."""
    inner = [told["items"]] if isinstance(told.get("items"), dict) else []
    found = [one["description"] for one in (told, *told.get("anyOf", ()), *inner) if "description" in one]
    return " ".join(found[0].split()) if found else ""


def _bounds(told: Schema) -> Iterator[str]:
    """Each bound in words."""
    kind = told.get("type")
    if kind == "string":
        yield from _range(told.get("minLength", 0), told.get("maxLength"), " characters")
    elif kind == "array":
        yield from _range(told.get("minItems", 0), told.get("maxItems"), " items")
    elif kind in ("integer", "number"):
        yield from _range(told.get("minimum"), told.get("maximum"), "")
    if "pattern" in told:
        pattern = told["pattern"].removesuffix(_PYTHONS_END)
        yield PATTERNS.get(pattern, f"`{pattern}`")
    if isinstance(told.get("items"), dict):
        yield from (f"each {bound}" for bound in _bounds(told["items"]))
    for one in told.get("anyOf", ()):
        yield from _bounds(one)


def _range(low: float | None, high: float | None, unit: str) -> Iterator[str]:
    if high is None or high == 2**63 - 1:
        yield from [f"{low} or more{unit}"] if low else []
    elif unit and not low:
        yield f"up to {high}{unit}"
    else:
        yield f"{low} to {high}{unit}"


def _code(value: object) -> str:
    return f"`{encode(value).decode()}`"
