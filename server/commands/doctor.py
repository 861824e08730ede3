"""Find out what is wrong with this installation, and what to do.

Looks at the settings, the data folder, PostgreSQL, Redis, the port, certificates, mail, outside logins and decoders.
Changes nothing. The exit code is 1 when something must be mended.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import resource
import shutil
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from server.commands import settings, storage_arguments

if TYPE_CHECKING:
    from server.config import Config

_FILES = 10_000


class Finding(Struct, frozen=True):
    """What was looked at, how it is (`ok`, `note` or `bad`), and what to do."""

    state: str
    what: str
    advice: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to look."""
    storage_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Print the findings; 1 when something must be mended."""
    config = settings(options, data=options.data, database_url=options.database_url)
    return asyncio.run(_report(config))


async def _report(config: Config) -> int:
    bad = 0
    async for finding in findings(config):
        bad += finding.state == "bad"
        mark = {"ok": "ok  ", "note": "note", "bad": "BAD "}[finding.state]
        advice = f"\n        {finding.advice}" if finding.advice else ""
        sys.stdout.write(f"  {mark}  {finding.what}{advice}\n")
    sys.stdout.write("\nall is well\n" if not bad else f"\n{bad} to mend\n")
    return 1 if bad else 0


async def findings(config: Config) -> AsyncIterator[Finding]:
    """All of them, one after the other."""
    yield Finding("ok", f"Python {sys.version.split()[0]}, settings can be read")
    yield _file_limit()
    yield _folder(config)
    yield _secret(config)
    yield _port(config)
    yield _certificate(config)
    async for finding in _database(config):
        yield finding
    yield await _redis(config)
    yield _mail(config)
    yield _public(config)
    yield _decoders()
    yield await _jail()
    yield await _scanner(config)


def _file_limit() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FILES:
        return Finding("note", f"at most {hard} open files", "more sockets need `ulimit -Hn 100000` or LimitNOFILE=")
    return Finding("ok", f"open files: {hard}")


def _folder(config: Config) -> Finding:
    folder = config.folder
    if not folder.exists():
        return Finding("note", f"{folder} does not exist yet", "the first start makes it")
    free = shutil.disk_usage(folder).free >> 20
    if free < config.disk_free_mib:
        return Finding("bad", f"only {free} MiB free in {folder}", "free some space, or move the folder (--data)")
    return Finding("ok", f"{folder}, {free} MiB free")


def _secret(config: Config) -> Finding:
    from server.secret import Keyring, SecretError, secret_file

    file = config.folder / "secret.key"
    if not config.secret and not file.exists():
        return Finding("note", "no secret yet", "the first start makes one in the data folder")
    try:
        ring = Keyring([config.secret, *config.previous_secrets] if config.secret else secret_file(file))
    except (SecretError, OSError) as error:
        return Finding("bad", f"secret: {error}")
    return Finding("ok", f"secret: {len(ring.ids)} in use, the current one is {ring.current.id}")


def _port(config: Config) -> Finding:
    if config.unix_socket is not None:
        there = config.unix_socket.parent.is_dir()
        return Finding(
            "ok" if there else "bad", f"Unix socket {config.unix_socket}", "" if there else "make its folder"
        )
    where = f"{config.host}:{config.port}"
    with socket.socket(socket.AF_INET6 if ":" in config.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((config.host, config.port))
        except OSError as error:
            return _busy(config, where, error)
    return Finding("ok", f"{where} is free")


def _busy(config: Config, where: str, error: OSError) -> Finding:
    with suppress(OSError), socket.create_connection((config.host, config.port), 2) as probe:
        probe.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if b"200 OK" in probe.recv(200):
            return Finding("ok", f"{where}: a server is running")
    return Finding("bad", f"{where}: {error.strerror}", "stop what has the port, or choose another (--port)")


def _certificate(config: Config) -> Finding:
    if config.tls_certificate is None:
        local = config.host in ("127.0.0.1", "localhost", "::1") or config.unix_socket is not None
        return Finding("ok", "no TLS, this machine only") if local else _plain()
    try:
        return _expiry(config.tls_certificate, config.tls_key)
    except (OSError, ValueError) as error:
        return Finding("bad", f"{config.tls_certificate}: {error}", "tls_certificate and tls_key must be PEM files")


def _plain() -> Finding:
    return Finding("note", "listens on a network without TLS", "set tls_certificate, or put a TLS proxy in front")


def _expiry(certificate: Path, key: Path | None) -> Finding:
    import ssl

    from cryptography.x509 import load_pem_x509_certificate

    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    left = load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc - datetime.now(UTC)
    state = "bad" if left.days < 0 else "note" if left.days < 14 else "ok"
    return Finding(state, f"certificate: {left.days} days left", "" if state == "ok" else "renew it, then send SIGHUP")


async def _database(config: Config) -> AsyncIterator[Finding]:
    from server.commands import database_url
    from storage.embedded import EmbeddedError
    from storage.migrate import pending
    from storage.pool import Pool, StorageError

    if not config.database_url and not (config.folder / "postgres").exists():
        yield Finding("note", "the embedded PostgreSQL was not started yet", "the first start makes its database")
        return
    try:
        async with database_url(config) as url:
            db = Pool(url, size=2, acquire_timeout=5, query_timeout=10)
            await db.start()
            version = await db.fetchval("SELECT current_setting('server_version')")
            await db.stop()
            yield Finding("ok", f"PostgreSQL {version} answers")
            names = await pending(url)
    except (StorageError, EmbeddedError) as error:
        yield Finding("bad", f"PostgreSQL: {error}", "is it running, and is DATABASE_URL right?")
        return
    yield (
        Finding("note", f"migrations pending: {', '.join(names)}", "the next start applies them")
        if names
        else Finding("ok", "the schema is up to date")
    )


async def _redis(config: Config) -> Finding:
    from storage.bus import Bus

    if not config.redis_url:
        return Finding("ok", "Redis: embedded")
    bus = Bus(config.redis_url)
    try:
        alive = await bus.check()
    finally:
        await bus.stop()
    if alive:
        return Finding("ok", "Redis answers")
    return Finding("bad", "Redis does not answer", "is it running, and is REDIS_URL right?")


def _mail(config: Config) -> Finding:
    from server.mail import Relay

    if not config.smtp_url:
        return Finding("note", "mails are printed in the log", "set smtp_url to have them sent")
    relay = Relay.parsed(config.smtp_url)
    try:
        with socket.create_connection((relay.host, relay.port), 5):
            return Finding("ok", f"mail server {relay.host}:{relay.port} can be reached")
    except OSError as error:
        return Finding("bad", f"mail server {relay.host}:{relay.port}: {error}", "check smtp_url and the network")


def _public(config: Config) -> Finding:
    if config.public_url or config.host in ("127.0.0.1", "localhost", "::1"):
        return Finding("ok", f"links in mails begin with {config.public_url or 'this machine’s address'}")
    return Finding("note", "public_url is not set", "links in mails would name an address that others may not reach")


def _decoders() -> Finding:
    if importlib.util.find_spec("av") is None:
        lost = "no video posters, lengths and waveforms, no voice messages"
        return Finding("note", f"PyAV is not installed: {lost}", "pip install 'onesocket[media]'")
    return Finding("ok", "pictures, video and sound can be decoded")


async def _jail() -> Finding:
    """What this kernel has for processes that decode: tried in one."""
    code = "from server.media import jail, job; print(*jail.enter(job.Bounds()))"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    held = (await child.communicate())[0].decode().split()
    missing = {"limits", "landlock", "seccomp"} - set(held)
    if missing:
        advice = "Linux 5.13 or newer has them; until then a file that takes over its decoder is less confined"
        return Finding("note", f"decoders run without: {', '.join(sorted(missing))}", advice)
    return Finding("ok", "decoders run behind limits, Landlock and seccomp")


async def _scanner(config: Config) -> Finding:
    from server.media.clamd import Scanner

    if not config.clamd_url:
        return Finding("ok", "files are not scanned (clamd_url)")
    try:
        alive = await Scanner(config.clamd_url).answers()
    except ValueError as error:
        return Finding("bad", str(error))
    refused = "until then no file is taken" if config.clamd_required else "until then files are taken unscanned"
    return Finding("ok", "clamd answers") if alive else Finding("bad", "clamd does not answer", refused)
