"""List, create and mend accounts, from the machine that the server runs on (whether it is running or not).

onesocket user list                    everybody
onesocket user create NAME             make an account; prints its password, or reads it with --password-stdin
onesocket user password NAME           set a new password and log all devices out
onesocket user role NAME admin         owner, admin, moderator or member
onesocket user logout NAME             end all logins and API keys
onesocket user two-factor NAME         take a lost authenticator away
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from server.cli import CommandError
from server.commands import pool, settings, storage_arguments

if TYPE_CHECKING:
    from server.config import Config
    from storage.account import Login
    from storage.pool import Pool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to do with whom."""
    storage_arguments(parser)
    parser.add_argument("action", choices=["list", "create", *_ACTIONS])
    parser.add_argument("name", nargs="?", help="the username")
    parser.add_argument("role", nargs="?", choices=["owner", "admin", "moderator", "member"], help="with `role`")
    parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")


def run(options: argparse.Namespace) -> int:
    """Do it."""
    if options.action != "list" and not options.name:
        raise CommandError(f"say whom: onesocket user {options.action} NAME")
    if options.action == "role" and not options.role:
        raise CommandError("say which role: owner, admin, moderator or member")
    config = settings(options, data=options.data, database_url=options.database_url)
    return asyncio.run(_run(options, config))


async def _run(options: argparse.Namespace, config: Config) -> int:
    async with pool(config) as db:
        if options.action == "list":
            return await _list(db)
        if options.action == "create":
            return await _create(db, options, config)
        return await _ACTIONS[options.action](db, await _find(db, options.name), options, config)


async def _find(db: Pool, name: str) -> Login:
    from server.name import look
    from storage import account

    found = await account.by_login(db, look(name), name)
    if found is None:
        raise CommandError(f"there is no account {name!r}")
    return found


async def _list(db: Pool) -> int:
    from storage import account

    sys.stdout.write(f"{'name':24}{'role':10}{'address':32}{'made':12}devices\n")
    for one in await account.overview(db):
        row = f"{one.username:24}{one.role:10}{one.email or '':32}{one.created_at:%Y-%m-%d}  {one.devices}\n"
        sys.stdout.write(row)
    return 0


async def _create(db: Pool, options: argparse.Namespace, config: Config) -> int:
    from server.name import clean, look
    from storage import account, audit

    password, shown = _password(options)
    username = clean(options.name)
    hashed = await _hash(config, password)
    try:
        async with db.transaction() as tx:
            new = await account.create(
                tx,
                username=username,
                name_key=look(username),
                password_hash=hashed,
                email=None,
                display_name="",
                locale="en",
                avatar="",
            )
            await audit.record(tx, new, "operator.create", audit.Origin("console"))
    except account.NameTaken:
        raise CommandError("somebody has this name, or one that looks like it") from None
    sys.stdout.write(f"{username} was created{shown}\n")
    return 0


async def _set_password(db: Pool, who: Login, options: argparse.Namespace, config: Config) -> int:
    from storage import account, audit, device, ticket

    password, shown = _password(options)
    hashed = await _hash(config, password)
    async with db.transaction() as tx:
        await account.set_password(tx, who.id, hashed)
        await ticket.void(tx, who.id, "reset", "second_step")
        ended = await device.revoke_all(tx, who.id)
        await audit.record(tx, who.id, "operator.password", audit.Origin("console"))
    sys.stdout.write(f"{who.username} has a new password{shown}; {len(ended)} devices were logged out\n")
    return 0


async def _role(db: Pool, who: Login, options: argparse.Namespace, config: Config) -> int:
    from storage import account, audit

    async with db.transaction() as tx:
        if not await account.set_role(tx, who.id, options.role):
            raise CommandError("there is an owner already: make them admin or member first")
        await audit.record(tx, who.id, "operator.role", audit.Origin("console"), role=options.role)
    sys.stdout.write(f"{who.username} is {options.role} now\n")
    return 0


async def _logout(db: Pool, who: Login, options: argparse.Namespace, config: Config) -> int:
    from storage import api_key, audit, device

    async with db.transaction() as tx:
        ended = await device.revoke_all(tx, who.id) + await api_key.revoke_all(tx, who.id)
        await audit.record(tx, who.id, "operator.logout", audit.Origin("console"))
    sys.stdout.write(f"{len(ended)} logins of {who.username} ended; their sockets close within a second\n")
    return 0


async def _two_factor(db: Pool, who: Login, options: argparse.Namespace, config: Config) -> int:
    from storage import audit, two_factor

    async with db.transaction() as tx:
        await two_factor.disable(tx, who.id)
        await audit.record(tx, who.id, "operator.two_factor", audit.Origin("console"))
    sys.stdout.write(f"{who.username} logs in with the password alone now\n")
    return 0


def _password(options: argparse.Namespace) -> tuple[str, str]:
    """The password, and what to print of it."""
    if not options.password_stdin:
        made = secrets.token_urlsafe(12)
        return made, f", with the password {made}"
    given = sys.stdin.readline().rstrip("\n")
    if not 10 <= len(given) <= 256:
        raise CommandError("a password has 10 to 256 characters")
    return given, ""


async def _hash(config: Config, password: str) -> str:
    from server.password import Passwords

    passwords = Passwords(memory_kib=config.password_memory_kib, rounds=config.password_rounds, threads=1, queue=1)
    try:
        return await passwords.hash(password)
    finally:
        passwords.stop()


_Action = Callable[["Pool", "Login", argparse.Namespace, "Config"], Awaitable[int]]
_ACTIONS: dict[str, _Action] = {
    "password": _set_password,
    "role": _role,
    "logout": _logout,
    "two-factor": _two_factor,
}
