"""The command line. Commands load when they are called, so that `--help` is quick."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "serve": "start the server (with its own PostgreSQL and Redis, unless told otherwise)",
    "doctor": "find out what is wrong with this installation, and what to do",
    "user": "list, create and mend accounts",
    "ops": "list every op with the place of its frame, handler, rule and queries",
    "config": "check, show or explain the settings",
    "migrate": "bring the database to today's schema",
    "backup": "write everything into one file",
    "restore": "put a backup into an empty database, and verify it",
}
_HIDDEN = {"worker"}
_EPILOG = """\
Settings come from defaults, then a TOML file (--config or ONESOCKET_CONFIG), then the environment (ONESOCKET_PORT,
also PORT, DATABASE_URL and REDIS_URL; ONESOCKET_SECRET_FILE reads a file), then flags. `onesocket config default`
explains them all.
"""


class CommandError(Exception):
    """A command cannot be done; the message says what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(_overview())
        return 0 if given else 2
    if given[0] in ("-V", "--version"):
        sys.stdout.write(f"onesocket {version()}\n")
        return 0
    name = given[0]
    if name not in COMMANDS and name not in _HIDDEN:
        sys.stderr.write(f"onesocket: there is no command {name!r}; see onesocket --help\n")
        return 2
    return _run(name, given[1:])


def _run(name: str, arguments: Sequence[str]) -> int:
    module = importlib.import_module(f"server.commands.{name}")
    parser = argparse.ArgumentParser(
        prog=f"onesocket {name}",
        description=module.__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings")
    module.add_arguments(parser)
    options = parser.parse_args(arguments)
    try:
        return int(module.run(options))
    except known_errors() as error:
        sys.stderr.write(f"onesocket: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130


def known_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is all that a person needs."""
    from protocol.error import Refusal
    from server.config import ConfigError
    from server.router import StartError
    from server.secret import SecretError
    from storage.backup import BackupError
    from storage.embedded import EmbeddedError
    from storage.pool import StorageError

    return (
        CommandError,
        Refusal,
        ConfigError,
        StartError,
        SecretError,
        BackupError,
        EmbeddedError,
        StorageError,
    )


def version() -> str:
    """The installed version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        return installed("onesocket")
    except PackageNotFoundError:
        return "(not installed)"


def _overview() -> str:
    rows = "\n".join(f"  {name:10}{text}" for name, text in COMMANDS.items())
    return (
        "usage: onesocket COMMAND [options]\n\nA realtime community server whose whole surface is one WebSocket.\n\n"
        f"{rows}\n\n`onesocket COMMAND --help` tells more.\n\n{_EPILOG}"
    )
