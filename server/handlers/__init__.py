"""The built-in ops: one module a domain, one function an op. Handlers never import handlers."""

import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

from protocol.frame import Request
from server.router import StartError


def collect() -> list[Callable[..., Any]]:
    """All built-in handlers; every frame of `protocol` has one."""
    found = [
        handler for module in _modules(__name__) for handler in vars(module).values() if hasattr(handler, "__op__")
    ]
    handled = {handler.__op__.frame for handler in found}
    for frame in _frames(Request):
        if frame.__module__.startswith("protocol.") and frame not in handled:
            where = frame.__module__.rpartition(".")[2]
            raise StartError(f"{frame.__name__} has no handler: write it in server/handlers/{where}.py")
    return found


def _modules(package: str) -> list[ModuleType]:
    folder = importlib.import_module(package).__path__
    return [importlib.import_module(f"{package}.{one.name}") for one in pkgutil.iter_modules(folder)]


def _frames(kind: type[Any]) -> list[type[Any]]:
    """All request classes that have a tag."""
    return [one for sub in kind.__subclasses__() for one in (sub, *_frames(sub))]
