"""`python -m bench SCENARIO [options]`; `python -m bench SCENARIO --help` explains one scenario."""

import argparse
import importlib
import signal
import sys

from protocol.error import Refusal

# One file a scenario; imported only when it is run.
SCENARIOS = {
    "fanout": "one channel with many members",
    "rooms": "many small channels at once",
    "dm": "pairs of people who write to each other",
    "storm": "many clients come back at once and get what they missed, while others talk",
    "history": "pages of old messages",
    "login": "logins from connecting to an open session",
    "mixed": "a day in a community: reading, typing, talking, reacting",
    "space": "a community of a hundred thousand: opening, listing, looking, taking rights",
    "soak": "the same for a long time, with an eye on memory",
    "idle": "memory and CPU of logged-in sockets that do nothing",
    "ping": "CPU of one request, beside the least a Python WebSocket server can do",
}


def main(arguments: list[str]) -> int:
    """Run one scenario; its exit code."""
    if not arguments or arguments[0] not in SCENARIOS:
        return _explain(arguments)
    name = arguments[0]
    scenario = importlib.import_module(f"bench.{name}")
    parser = argparse.ArgumentParser(
        prog=f"python -m bench {name}",
        description=scenario.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    scenario.add_options(parser)
    options = parser.parse_args(arguments[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as an exception, so that servers are stopped
    try:
        return int(scenario.run(options))
    except (OSError, Refusal) as error:
        sys.stderr.write(f"python -m bench {name}: {error}\n")
        return 3


def _explain(arguments: list[str]) -> int:
    width = max(map(len, SCENARIOS))
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure a server of this protocol (on Linux: processes are measured through /proc).",
        epilog="scenarios:\n" + "\n".join(f"  {name:{width}}  {about}" for name, about in SCENARIOS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenario", choices=SCENARIOS, metavar="SCENARIO", help="what to measure, see below")
    parser.parse_args(arguments or ["--help"])
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
