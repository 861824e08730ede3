"""Check, show or explain the settings.

`check` says whether they are good, `show` prints those in force (secrets hidden), `default` prints a commented TOML
file with every setting and its default.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from server.commands import settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do."""
    parser.add_argument("action", choices=["check", "show", "default"])


def run(options: argparse.Namespace) -> int:
    """Do it."""
    from server.config import show

    if options.action == "default":
        sys.stdout.write(default())
        return 0
    config = settings(options)
    if options.action == "check":
        sys.stdout.write("the settings are good\n")
    else:
        sys.stdout.write("".join(f"{name} = {_toml(value)}\n" for name, value in show(config).items()))
    return 0


def default() -> str:
    """A TOML file that changes nothing, and explains everything."""
    from server.config import Config, describe, show

    lines = ["# onesocket: every setting with its default. Uncomment what you change.\n"]
    for name, value in show(Config()).items():
        lines.append(f"# {describe(name)}\n# {name} = {_toml(value)}\n")
    return "\n".join(lines)


def _toml(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    if isinstance(value, int | float):
        return repr(value)
    import orjson

    return orjson.dumps(str(value)).decode()
