"""Log lines: for people when somebody looks at a terminal, JSON when a machine collects them.

Rule: no secret and no text of a message is ever logged; a line is one line, whatever was in it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

import orjson

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160), 0x2028, 0x2029)}
_CONTROL_BUT_LINES = {code: text for code, text in _CONTROL.items() if code != ord("\n")}
_COLOURS = {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[41m", "DEBUG": "\x1b[2m"}


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "at": _time(record.created) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(_extra(record))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        try:
            return orjson.dumps(line, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        except TypeError:  # half a surrogate, a giant number: a line is never lost for what is in it
            return json.dumps(line, default=str)


class HumanFormatter(logging.Formatter):
    """Time, level, message and what belongs to it."""

    def __init__(self, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """The line (and the traceback below it)."""
        extra = "".join(f" {key}={_one_line(value)}" for key, value in _extra(record).items())
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        start, end = (_COLOURS.get(record.levelname, ""), "\x1b[0m") if self._colour else ("", "")
        name = record.name.removeprefix("onesocket.")
        text = f"{_time(record.created)[11:]} {start}{level}{name}: {_one_line(record.getMessage())}{end}{extra}"
        return text + (_below(self.formatException(record.exc_info)) if record.exc_info else "")


def _time(created: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _OWN}


def _one_line(value: object) -> str:
    return str(value).translate(_CONTROL)


def _below(traceback: str) -> str:
    """Indented, so that no part of it can pose as a line of its own."""
    return "".join(f"\n  {line}" for line in traceback.translate(_CONTROL_BUT_LINES).split("\n"))


def configure(form: str, level: str) -> None:
    """Send all logs to standard error."""
    terminal = sys.stderr.isatty()
    human = form == "human" or (form == "auto" and terminal)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(HumanFormatter(terminal) if human else JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    for noisy in ("asyncio", "aiohttp", "websockets"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)  # a database that is away is told by health
