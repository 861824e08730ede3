"""onesocket's server. To embed it:

    from server import Config, Context, Server, op

The parts load when they are first asked for, so that the command line starts fast.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.app import Server
    from server.config import Config
    from server.context import Context
    from server.router import op
    from server.rule import IN_PERSON, LOGGED_IN, PUBLIC, bound

__all__ = ["IN_PERSON", "LOGGED_IN", "PUBLIC", "Config", "Context", "Server", "bound", "op"]

_HOME = {
    "Server": "app",
    "Config": "config",
    "Context": "context",
    "op": "router",
    "IN_PERSON": "rule",
    "LOGGED_IN": "rule",
    "PUBLIC": "rule",
    "bound": "rule",
}


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOME:
        raise AttributeError(f"module 'server' has no attribute {name!r}")
    return getattr(importlib.import_module(f"server.{_HOME[name]}"), name)
