"""Start the server.

Without settings it starts a PostgreSQL and a Redis of its own (from Python packages, nothing to install), keeps
everything in one folder, and prints where to connect. DATABASE_URL and REDIS_URL point it at real ones.

SIGTERM or Ctrl-C drains: clients are told to come back, what is in flight is finished; a second one forces the end.
SIGHUP reloads the TLS certificate.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from server.commands import settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The settings that people change most; `--set` takes the rest."""
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (127.0.0.1; 0.0.0.0 for all networks)")
    parser.add_argument("--port", type=int, metavar="N", help="TCP port (8765; 0 takes a free one)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder for everything the server keeps")
    parser.add_argument("--workers", type=int, metavar="N", help="processes that share the port (1)")
    parser.add_argument("--public-url", metavar="URL", help="how people reach the server, for links in mails")
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE", help="PEM certificate chain")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM private key")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--log-format", choices=["auto", "human", "json"])
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any other setting; may be repeated"
    )
    parser.add_argument("--demo", action="store_true", help="fill an empty server with a small community to look at")


def run(options: argparse.Namespace) -> int:
    """Until it is told to stop."""
    from server.log import configure
    from server.supervisor import Supervisor

    names = (
        "host",
        "port",
        "data",
        "workers",
        "public_url",
        "tls_certificate",
        "tls_key",
        "log_level",
        "log_format",
    )
    flags: dict[str, Any] = {name: getattr(options, name) for name in names}
    config = settings(options, **_assignments(options.set), **flags)
    configure(config.log_format, config.log_level)
    return asyncio.run(Supervisor(config, demo=options.demo).run())


def _assignments(pairs: list[str]) -> dict[str, Any]:
    from server.config import ConfigError, known, parsed

    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair}: write NAME=VALUE")
        setting = known(name, name, "--set")
        values[setting] = parsed(setting, text)
    return values
