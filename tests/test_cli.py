"""The command line: help that reads well, errors that say what to do."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from protocol.account import AccountLogin
from server.cli import COMMANDS
from server.handlers import collect
from server.router import Router
from tests.conftest import Person, Starter

Connect = Callable[..., Awaitable[Person]]


def onesocket(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command."""
    argv = [sys.executable, "-m", "server", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, input=text, timeout=60)


async def command(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command while a server runs in this process."""
    return await asyncio.to_thread(onesocket, *arguments, text=text)


def test_help_lists_every_command() -> None:
    done = onesocket("--help")
    assert done.returncode == 0
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str) -> None:
    done = onesocket(name, "--help")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) > 8
    assert "ONESOCKET_CONFIG" in done.stdout


def test_an_unknown_command_is_named() -> None:
    done = onesocket("sevre")
    assert done.returncode == 2
    assert "'sevre'" in done.stderr


def test_a_wrong_setting_is_one_line_and_no_traceback() -> None:
    done = onesocket("serve", "--set", "prot=1")
    assert done.returncode == 1
    assert done.stderr == "onesocket: prot in --set is no setting; did you mean port?\n"


def test_ops_names_file_and_line_of_frame_handler_rule_and_queries() -> None:
    entries = json.loads(onesocket("ops", "--json").stdout)
    assert {entry["op"] for entry in entries} == set(Router(collect()).ops)
    for entry in entries:
        for place in (entry["frame"], entry["handler"], *entry["queries"]):
            file, _, line = place.split()[0].partition(":")
            source = Path(file).read_text().splitlines()
            assert place.split()[1] in "\n".join(source[int(line) - 1 : int(line) + 12])


def test_ops_follows_calls_to_their_queries() -> None:
    [entry] = json.loads(onesocket("ops", "device.revoke", "--json").stdout)
    names = {query.split()[1] for query in entry["queries"]}
    assert {"own", "revoke", "record"} <= names


async def test_doctor_finds_nothing_wrong_with_a_good_installation(
    start: Starter, database: str, redis_url: str, folder: Path
) -> None:
    await start()
    done = await command("doctor", "--data", str(folder), "--database-url", database)
    assert done.returncode == 0, done.stdout
    assert "all is well" in done.stdout


def test_doctor_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "secret.key").write_text("short")
    (tmp_path / "secret.key").chmod(0o644)
    url = "postgres://nobody@127.0.0.1:1/nothing"
    done = onesocket("doctor", "--data", str(tmp_path), "--database-url", url)
    assert done.returncode == 1
    assert "chmod 600" in done.stdout
    assert "is DATABASE_URL right?" in done.stdout


async def test_user_create_makes_an_account_that_can_log_in(
    start: Starter, connect: Connect, database: str, folder: Path
) -> None:
    server = await start()
    base = ("--data", str(folder), "--database-url", database)
    done = await command("user", *base, "create", "zoe", "--password-stdin", text="zoe's own password\n")
    assert done.stdout == "zoe was created\n"
    stranger = await connect(to=server)
    assert await stranger.call(AccountLogin(login="zoe", password="zoe's own password"))
    assert "zoe" in (await command("user", *base, "list")).stdout


async def test_user_logout_closes_the_sockets_of_a_running_server(
    server: object, ann: Person, database: str, folder: Path
) -> None:
    done = await command("user", "--data", str(folder), "--database-url", database, "logout", "ann")
    assert done.stdout.startswith("1 logins of ann ended")
    async with asyncio.timeout(2):
        assert (await ann.wait_closed())[0] == 4401


async def test_user_commands_name_what_is_missing(database: str, folder: Path) -> None:
    base = ("--data", str(folder), "--database-url", database)
    assert "there is no account 'nobody.here'" in (await command("user", *base, "logout", "nobody.here")).stderr
    assert "say whom" in (await command("user", *base, "logout")).stderr


async def test_there_is_one_owner(database: str, folder: Path) -> None:
    base = ("--data", str(folder), "--database-url", database)
    for name in ("ann", "bob"):
        await command("user", *base, "create", name)
    assert (await command("user", *base, "role", "ann", "owner")).returncode == 0
    assert "there is an owner already" in (await command("user", *base, "role", "bob", "owner")).stderr


async def test_migrate_check_tells_whether_anything_is_pending(database: str, folder: Path) -> None:
    done = await command("migrate", "--check", "--data", str(folder), "--database-url", database)
    assert (done.returncode, done.stdout) == (0, "the schema is up to date\n")


def test_a_unix_socket_has_one_worker(tmp_path: Path) -> None:
    done = onesocket("serve", "--workers", "2", "--set", f"unix_socket={tmp_path}/s.sock", "--data", str(tmp_path))
    assert done.returncode == 1
    assert "only a port can be shared" in done.stderr
