"""List every op with the place of its frame, its handler and rule, and the queries it calls.

`onesocket ops account` lists one domain, `onesocket ops account.login` one op.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from server.router import Op


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Which ones."""
    parser.add_argument("name", nargs="?", default="", help="a domain or an op")
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """Print the table."""
    from server.handlers import collect
    from server.router import Router

    ops = Router(collect()).ops
    chosen = [ops[name] for name in sorted(ops) if _matches(name, options.name)]
    if not chosen:
        sys.stderr.write(f"onesocket: there is no op or domain {options.name!r}\n")
        return 1
    entries = [describe(one) for one in chosen]
    sys.stdout.write(_as_json(entries) if options.json else "\n".join(_as_text(entry) for entry in entries))
    return 0


def _matches(name: str, wanted: str) -> bool:
    return not wanted or name == wanted or name.partition(".")[0] == wanted


def describe(one: Op) -> dict[str, Any]:
    """Where everything of an op is."""
    return {
        "op": one.name,
        "about": (one.frame.__doc__ or "").strip().splitlines()[0],
        "frame": f"{_place(one.frame)} {one.frame.__name__}",
        "handler": f"{_short(one.file)}:{one.line} {one.handler.__name__}",
        "rule": f"{_short(one.file)}:{one.line} {one.access.words}",
        "queries": sorted(set(queries(one))),
    }


def queries(one: Op) -> Iterator[str]:
    """The functions of `storage` that the rule and the handler call, directly or by way of `server`."""
    for bind in one.access.binds:
        yield f"{_place(bind.load)} {bind.load.__name__}"
    yield from _called(one.handler, set())


def _called(function: Any, seen: set[Any]) -> Iterator[str]:
    """Follow the calls `module.function(…)` and `function(…)` through our own code."""
    if function in seen:
        return
    seen.add(function)
    module = sys.modules[function.__module__]
    for node in ast.walk(ast.parse(inspect.cleandoc("\n" + inspect.getsource(function)))):
        target = _target(node.func, module) if isinstance(node, ast.Call) else None
        if not inspect.isfunction(target):
            continue
        if target.__module__.startswith("storage."):
            yield f"{_place(target)} {target.__name__}"
        elif target.__module__.startswith("server."):
            yield from _called(target, seen)


def _target(call: ast.expr, module: ModuleType) -> Any:
    if isinstance(call, ast.Name):
        return getattr(module, call.id, None)
    if isinstance(call, ast.Attribute) and isinstance(call.value, ast.Name):
        owner = getattr(module, call.value.id, None)
        return getattr(owner, call.attr, None) if inspect.ismodule(owner) else None
    return None


def _place(thing: Any) -> str:
    thing = inspect.unwrap(thing)  # a rule may wrap the query of another module
    file = inspect.getsourcefile(thing) or "?"
    return f"{_short(Path(file))}:{inspect.getsourcelines(thing)[1]}"


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def _as_text(entry: dict[str, Any]) -> str:
    lines = [f"{entry['op']}  {entry['about']}"]
    lines += [f"  {part:8} {entry[part]}" for part in ("frame", "handler", "rule")]
    lines += [f"  {'query' if at == 0 else '':8} {query}" for at, query in enumerate(entry["queries"])]
    return "\n".join(lines) + "\n"


def _as_json(entries: list[dict[str, Any]]) -> str:
    import orjson

    return orjson.dumps(entries, option=orjson.OPT_INDENT_2).decode() + "\n"
