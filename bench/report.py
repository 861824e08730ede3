"""What a scenario found out: a table for people, JSON for programs, an exit code for both."""

import argparse
import json
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every scenario has."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there as well")
    parser.add_argument(
        "--url", help="measure the server at this ws:// address, whose limits allow the load, instead of starting one"
    )
    parser.add_argument("--pid", type=int, help="the process that serves --url, on this machine")


def publish(result: Result, file: Path | None, value: float, limit: float, of: str) -> int:
    """Show a result; the exit code: 1 when `value` is over its `limit`."""
    passed = value <= limit
    verdict = f"{of} {value} is {'within' if passed else 'over'} the limit of {limit}"
    width = max(map(len, result))
    print("\n".join(f"{key:{width}}  {number}" for key, number in result.items()))
    print(verdict)
    if file is not None:
        file.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if passed else 1
