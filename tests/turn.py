"""A real TURN server: Debian's coturn. Where there is none, tests that need it are skipped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket
from typing import Any
from uuid import uuid4

import pytest

TURNSERVER = shutil.which("turnserver")


def _free_port() -> int:
    with socket(AF_INET, SOCK_DGRAM) as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
async def turn(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """A coturn of this test's own with a shared secret; the settings of a server that uses it."""
    if TURNSERVER is None:
        pytest.skip("no turnserver on PATH: install Debian's package coturn")
    port, secret = _free_port(), uuid4().hex
    options = f"--listening-ip=127.0.0.1 --relay-ip=127.0.0.1 --listening-port={port} --realm=test --use-auth-secret"
    quiet = f"--allow-loopback-peers --no-cli --no-tls --no-dtls --log-file=stdout --pidfile={tmp_path}/pid"
    process = await asyncio.create_subprocess_exec(
        *(TURNSERVER, "-n", *options.split(), *quiet.split(), f"--static-auth-secret={secret}"),
        f"--userdb={tmp_path}/db",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=tmp_path,
    )
    try:
        yield {"turn_urls": [f"turn:127.0.0.1:{port}?transport=udp"], "turn_secret": secret}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
