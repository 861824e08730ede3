"""What a scenario found out: a table for people, JSON for programs, a page with plots, an exit code for all."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.run import Course

Result = dict[str, Any]
FLAWS = ("lost", "duplicated", "reordered", "mismatched", "unanswered", "refused", "dropped", "reset")

_ALL_CAME = "every acknowledged message came to everybody, once, in order"


@dataclass(frozen=True)
class Limit:
    """What a figure may be at most."""

    of: str
    most: float


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every scenario has."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page with plots there")
    parser.add_argument(
        "--url", help="measure the server at this ws:// address, whose limits allow the load, instead of starting one"
    )
    parser.add_argument(
        "--pid", type=int, help="the process that serves --url on this machine, or the one that started it all"
    )


def publish(
    result: Result, options: argparse.Namespace, limits: Sequence[Limit] = (), course: Course | None = None
) -> int:
    """Show a result; the exit code: 1 when a figure is over its limit, or when anything went wrong at all."""
    lines, failed = verdicts(result, limits)
    rows = list(flat(result))
    width = max(len(key) for key, _ in rows)
    print("\n".join(f"{key:{width}}  {value}" for key, value in rows))
    print("\n".join(lines))
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    if options.html is not None:
        from bench.page import page

        options.html.write_text(page(result, lines, failed, course), "utf-8")
    return 1 if failed else 0


def verdicts(result: Result, limits: Sequence[Limit]) -> tuple[list[str], bool]:
    """What is to be said of a result, and whether it failed."""
    lines, failed = [], False
    for limit in limits:
        value = result[limit.of]
        passed = value is not None and value <= limit.most
        lines.append(f"{limit.of} {value} is {'within' if passed else 'over'} the limit of {limit.most}")
        failed = failed or not passed
    if "lost" in result:
        flaws = [f"{result[name]} {name}" for name in FLAWS if result[name]]
        lines.append(f"FAILED: {', '.join(flaws)}" if flaws else _fine(result))
        if result.get("first_problem"):
            lines.append(f"the first problem: {result['first_problem']}")
        failed = failed or bool(flaws)
    return lines, failed


def _fine(result: Result) -> str:
    if "unit" in result:
        return f"every {result['unit']} was answered"
    return _ALL_CAME if result["acked"] else "nothing was sent, and no socket was dropped"


def flat(result: Result, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Rows of a table: what is nested gets a name with a dot."""
    for key, value in result.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, _shown(value)


def _shown(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
