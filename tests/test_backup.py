"""A backup is whole or not there, and a restore proves that it brought everything back."""

import asyncio
import contextlib
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import psutil
import pytest
import pytest_asyncio

from storage.backup import BackupError, backup, restore
from storage.checksum import differences
from storage.dump import environment
from storage.embedded import Embedded

pytestmark = pytest.mark.asyncio(loop_scope="module")

NewDatabase = Callable[[], Awaitable[str]]

SCHEMA = """
    CREATE EXTENSION pg_trgm;
    CREATE TYPE mood AS ENUM ('fine', 'bad');
    CREATE TABLE author (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL UNIQUE, mood mood
    );
    CREATE TABLE note (
        id uuid PRIMARY KEY, author bigint NOT NULL REFERENCES author, sent_at timestamptz NOT NULL,
        body text, raw bytea, price numeric, weight double precision, tags text[], facts jsonb, span interval,
        size int GENERATED ALWAYS AS (length(body)) STORED
    );
    CREATE INDEX note_body ON note USING gin (body gin_trgm_ops);
    CREATE TABLE part (k int, v text) PARTITION BY HASH (k);
    CREATE TABLE part_0 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE part_1 PARTITION OF part FOR VALUES WITH (MODULUS 2, REMAINDER 1);
    CREATE TABLE "Odd "" name" ("select" int, "a column" text);
    CREATE TABLE vacant (id int);
    COMMENT ON TABLE vacant IS 'holds nothing';
"""
ROWS = """
    INSERT INTO author (name, mood) SELECT 'author ' || g, 'fine' FROM generate_series(1, 10) g;
    INSERT INTO note SELECT md5(g::text)::uuid, g % 10 + 1,
           '2024-02-29 23:59:59.123456+02'::timestamptz + g * interval '1 h',
           repeat('täxt 文 \\ ' || g, 20), decode(md5(g::text), 'hex'), g / 7.0, 1.0 / g,
           ARRAY['a,b', NULL, 'c"'], jsonb_build_object('n', g), g * interval '1 min'
      FROM generate_series(1, 2000) g;
    INSERT INTO part SELECT g, g::text FROM generate_series(1, 100) g;
    INSERT INTO "Odd "" name" VALUES (1, 'x'), (1, 'x'), (NULL, NULL);
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[Embedded]:
    data = Path(tempfile.mkdtemp(prefix="os-test-"))
    data.chmod(0o755)
    embedded = Embedded(data, redis=False)
    await embedded.start()
    yield embedded
    await embedded.stop()
    shutil.rmtree(data)


@pytest_asyncio.fixture(loop_scope="module")
async def new_database(server: Embedded) -> AsyncIterator[NewDatabase]:
    """Makes empty databases, and drops them after the test."""
    made: list[str] = []
    admin = await asyncpg.connect(server.database_url)

    async def make() -> str:
        name = f"test_{len(made)}"
        await admin.execute(f"CREATE DATABASE {name}")
        made.append(name)
        return server.database_url.replace("/onesocket?", f"/{name}?")

    yield make
    for name in made:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@pytest_asyncio.fixture(loop_scope="module")
async def filled(new_database: NewDatabase) -> str:
    url = await new_database()
    await run(url, SCHEMA)
    await run(url, ROWS)
    return url


async def run(url: str, sql: str) -> None:
    async with connected(url) as db:
        await db.execute(sql)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    db = await asyncpg.connect(url)
    try:
        yield db
    finally:
        await db.close()


async def value(url: str, sql: str) -> object:
    async with connected(url) as db:
        return await db.fetchval(sql)


def ignore(_: str) -> None:
    """Nobody listens to the progress."""


def rewritten(source: Path, change: Callable[[dict[str, bytes]], None]) -> Path:
    """The same archive with other members, in perfect form."""
    with tarfile.open(source) as tar:
        members = {member.name: file.read() for member in tar.getmembers() if (file := tar.extractfile(member))}
    change(members)
    target = source.with_name("rewritten.tar")
    with tarfile.open(target, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target


async def test_a_backup_restores_every_row_index_and_key(
    filled: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "all.backup"
    old.mkdir()
    (old / "secret.key").write_bytes(b"key" * 11)
    said: list[str] = []
    made = await backup(filled, old, file, said.append)
    assert made.postgresql == str(await value(filled, "SHOW server_version")).split()[0]
    assert file.stat().st_mode & 0o777 == 0o600
    assert {name: table.rows for name, table in made.tables.items()} == {
        "public.author": 10,
        "public.note": 2000,
        "public.part_0": await value(filled, "SELECT count(*) FROM part_0"),
        "public.part_1": await value(filled, "SELECT count(*) FROM part_1"),
        'public."Odd "" name"': 3,
        "public.vacant": 0,
    }
    assert any("public.note: 2000 rows" in line for line in said)

    target = await new_database()
    assert await restore(file, target, new, ignore) == made
    assert (new / "secret.key").read_bytes() == b"key" * 11
    assert (new / "secret.key").stat().st_mode & 0o777 == 0o600
    for sql in (
        "SELECT string_agg(n::text, '|' ORDER BY id) FROM note n",
        "SELECT string_agg(indexdef, '|' ORDER BY indexname) FROM pg_indexes WHERE schemaname = 'public'",
        "SELECT obj_description('vacant'::regclass)",
    ):
        assert await value(target, sql) == await value(filled, sql)
    await run(target, "INSERT INTO author (name) VALUES ('next')")  # the sequence goes on where it was
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


async def test_a_restored_database_gives_the_same_backup_again(
    filled: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    first = await backup(filled, tmp_path, tmp_path / "first", ignore)
    target = await new_database()
    await run(target, "CREATE TABLE in_the_way AS SELECT 1 AS n")
    for _ in range(2):
        await restore(tmp_path / "first", target, tmp_path, ignore, force=True)
        again = await backup(target, tmp_path, tmp_path / "again", ignore)
        assert differences(first.tables, again.tables) == []
        assert await restore(tmp_path / "again", await new_database(), tmp_path, ignore) == again


async def test_a_backup_while_rows_arrive_is_of_one_moment(new_database: NewDatabase, tmp_path: Path) -> None:
    """Two tables change in one transaction, always; a backup that saw one without the other would show it."""
    url, target = await new_database(), await new_database()
    await run(url, "CREATE TABLE debit (n int, pad text); CREATE TABLE credit (n int, pad text)")
    await run(url, "INSERT INTO debit SELECT g, repeat('x', 100) FROM generate_series(1, 20000) g")
    await run(url, "INSERT INTO credit SELECT * FROM debit")
    done = asyncio.Event()

    async def keep_writing() -> None:
        async with connected(url) as db:
            while not done.is_set():
                async with db.transaction():
                    await db.execute("INSERT INTO debit SELECT count(*) + 1, 'y' FROM debit")
                    await db.execute("INSERT INTO credit SELECT count(*) + 1, 'y' FROM credit")

    writer = asyncio.create_task(keep_writing())
    async with asyncio.timeout(10):
        while await value(url, "SELECT count(*) FROM debit") == 20000:
            await asyncio.sleep(0.01)
    made = await backup(url, tmp_path, tmp_path / "live", ignore)
    done.set()
    await writer
    assert await value(url, "SELECT count(*) FROM debit") > made.tables["public.debit"].rows > 20000  # type: ignore[operator]

    await restore(tmp_path / "live", target, tmp_path, ignore)
    rows = made.tables["public.debit"].rows
    assert made.tables["public.debit"] == made.tables["public.credit"]
    for table in ("debit", "credit"):
        assert await value(target, f"SELECT count(*) FROM {table}") == rows
        assert await value(target, f"SELECT max(n) FROM {table}") == rows


async def test_a_database_with_tables_is_left_alone_unless_forced(
    filled: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    made = await backup(filled, tmp_path, tmp_path / "file", ignore)
    target = await new_database()
    await run(target, "CREATE TABLE precious AS SELECT 42 AS n")
    with pytest.raises(BackupError, match=r"already has tables \(public\.precious\).*--force"):
        await restore(tmp_path / "file", target, tmp_path, ignore)
    assert await value(target, "SELECT n FROM precious") == 42
    assert await restore(tmp_path / "file", target, tmp_path, ignore, force=True) == made
    assert await value(target, "SELECT to_regclass('precious')") is None


async def test_force_spares_what_it_would_not_replace_and_waits_for_nobody_long(
    filled: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    await backup(filled, tmp_path, tmp_path / "file", ignore)
    target = await new_database()
    await run(target, "CREATE SCHEMA other; CREATE TABLE other.precious AS SELECT 1; CREATE TABLE mine AS SELECT 1")
    with pytest.raises(BackupError, match=r"already has tables \(other\.precious\)"):
        await restore(tmp_path / "file", target, tmp_path, ignore, force=True)
    assert await value(target, "SELECT count(*) FROM mine") == 1


async def test_a_restore_that_fails_leaves_the_empty_database_empty(
    filled: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    await backup(filled, tmp_path, tmp_path / "file", ignore)
    target = await new_database()
    await run(
        target,
        "CREATE FUNCTION in_the_way() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE mood AS ENUM ()",
    )
    with pytest.raises(BackupError, match=r"pg_restore failed .*mood.* already exists"):
        await restore(tmp_path / "file", target, tmp_path, ignore)
    assert await value(target, "SELECT count(*) FROM pg_class WHERE relname IN ('author', 'note')") == 0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("a bit of the dump", r"damaged: database\.dump is not what was written"),
        ("the end is missing", r"damaged"),
        ("half is missing", r"damaged"),
        ("a text", r"damaged or not a backup"),
        ("nothing in it", r"damaged or not a backup"),
        ("no file", r"cannot be read: No such file"),
        ("a header", r"damaged"),
    ],
)
async def test_a_damaged_file_is_refused_before_anything_changes(
    filled: str, new_database: NewDatabase, tmp_path: Path, damage: str, message: str
) -> None:
    file, target = tmp_path / "file", await new_database()
    await backup(filled, tmp_path, file, ignore)
    content = bytearray(file.read_bytes())
    match damage:
        case "a bit of the dump":
            content[len(content) // 2] ^= 1
        case "the end is missing":
            del content[-2048:]
        case "half is missing":
            del content[len(content) // 2 :]
        case "a text":
            content[:] = b"-- PostgreSQL database dump\n" * 100
        case "nothing in it":
            content.clear()
        case "a header":
            content[20] ^= 1
    file.write_bytes(content)
    if damage == "no file":
        file.unlink()
    await run(target, "CREATE TABLE precious AS SELECT 42 AS n")
    with pytest.raises(BackupError, match=message):
        await restore(file, target, tmp_path, ignore, force=True)
    assert await value(target, "SELECT n FROM precious") == 42


async def test_a_restore_that_brings_other_rows_than_promised_is_reported(
    filled: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    """What the tables are compared with is the manifest, so a manifest that promises more must not pass."""

    def promise_more(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["manifest.json"])
        manifest["tables"]["public.note"]["rows"] += 1
        manifest["tables"]["public.author"]["checksum"] = "1"
        manifest["tables"]["public.lost"] = manifest["tables"].pop("public.vacant")
        members["manifest.json"] = json.dumps(manifest).encode()

    await backup(filled, tmp_path, tmp_path / "file", ignore)
    file = rewritten(tmp_path / "file", promise_more)
    with pytest.raises(BackupError) as caught:
        await restore(file, await new_database(), tmp_path, ignore)
    for line in (
        "public.note has 2000 rows instead of 2001",
        "public.author has other content",
        "public.lost is missing",
        "public.vacant is not in the backup",
    ):
        assert line in str(caught.value)
    assert "part_0" not in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("UPDATE note SET weight = weight + 1e-15 WHERE weight = 1", "note"),
        ("UPDATE note SET raw = NULL WHERE size = (SELECT max(size) FROM note)", "note"),
        (
            "UPDATE author SET name = CASE id WHEN 1 THEN 'author 2 ' ELSE 'author 1 ' END WHERE id < 3",
            "author",
        ),
        ("""UPDATE "Odd "" name" SET "select" = 2 WHERE "select" = 1""", '"Odd "" name"'),
    ],
)
async def test_a_checksum_notices_any_change(filled: str, tmp_path: Path, sql: str, table: str) -> None:
    before = await backup(filled, tmp_path, tmp_path / "before", ignore)
    await run(filled, sql)
    after = await backup(filled, tmp_path, tmp_path / "after", ignore)
    assert differences(before.tables, after.tables) == [f"public.{table} has other content"]


async def test_a_checksum_does_not_depend_on_order_or_on_the_databases_settings(filled: str, tmp_path: Path) -> None:
    before = await backup(filled, tmp_path, tmp_path / "before", ignore)
    await run(filled, "CLUSTER note USING note_pkey; UPDATE author SET name = name")
    database = str(await value(filled, "SELECT current_database()"))
    for setting in (
        "timezone = 'Asia/Tokyo'",
        "datestyle = 'German'",
        "extra_float_digits = 0",
        "bytea_output = 'escape'",
    ):
        await run(filled, f"ALTER DATABASE {database} SET {setting}")
    after = await backup(filled, tmp_path, tmp_path / "after", ignore)
    assert before.tables == after.tables


async def test_another_key_is_not_overwritten_unless_forced(
    filled: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder, key in ((old, b"old key"), (new, b"new key")):
        folder.mkdir()
        (folder / "secret.key").write_bytes(key)
    await backup(filled, old, tmp_path / "file", ignore)
    target = await new_database()
    with pytest.raises(BackupError, match=r"secret\.key is another key"):
        await restore(tmp_path / "file", target, new, ignore)
    assert (new / "secret.key").read_bytes() == b"new key"
    await restore(tmp_path / "file", target, new, ignore, force=True)
    assert (new / "secret.key").read_bytes() == b"old key"


async def test_a_backup_of_a_later_format_names_the_way_out(
    filled: str, new_database: NewDatabase, tmp_path: Path
) -> None:
    def from_the_future(members: dict[str, bytes]) -> None:
        members["manifest.json"] = b'{"format": 2, "everything": "else"}'

    await backup(filled, tmp_path, tmp_path / "file", ignore)
    with pytest.raises(BackupError, match="newer version of onesocket"):
        await restore(rewritten(tmp_path / "file", from_the_future), await new_database(), tmp_path, ignore)


async def test_a_backup_that_breaks_off_leaves_the_last_good_one(filled: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    await backup(filled, tmp_path, file, ignore)
    good = file.read_bytes()

    def stop_at_dump(line: str) -> None:
        if line.startswith("dumping"):
            raise KeyError(line)

    with pytest.raises(KeyError):
        await backup(filled, tmp_path, file, stop_at_dump)
    dumping = asyncio.Event()
    task = asyncio.create_task(
        backup(filled, tmp_path, file, lambda line: dumping.set() if line.startswith("dumping") else None)
    )
    await dumping.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert file.read_bytes() == good
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    async with asyncio.timeout(10):  # killed is not gone: that takes a moment on a busy machine
        while "pg_dump" in [child.name() for child in psutil.Process().children(recursive=True)]:
            await asyncio.sleep(0.02)


async def test_what_cannot_be_reached_or_written_is_said(filled: str, tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="cannot connect to PostgreSQL"):
        await backup(f"postgresql://nobody@/none?host={tmp_path}", tmp_path, tmp_path / "file", ignore)
    with pytest.raises(BackupError, match="name a file in a folder that exists"):
        await backup(filled, tmp_path, tmp_path / "missing" / "file", ignore)
    with pytest.raises(BackupError, match="name a file in a folder that exists"):
        await backup(filled, tmp_path, tmp_path, ignore)


async def test_the_password_goes_to_the_programs_by_their_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:secret@h/d")
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "5")
    settings = environment("postgresql://some%40one:s%3Acret@h1:1,h2:5433/my%20db?sslmode=require&nonsense=1")
    assert {name: text for name, text in settings.items() if name.startswith("PG")} == {
        "PGUSER": "some@one",
        "PGPASSWORD": "s:cret",
        "PGHOST": "h1,h2",
        "PGPORT": "1,5433",
        "PGDATABASE": "my db",
        "PGSSLMODE": "require",
        "PGCONNECT_TIMEOUT": "5",
    }
    assert "DATABASE_URL" not in settings
    local = environment("postgresql://[::1]:5433/db")
    assert (local["PGHOST"], local["PGPORT"]) == ("::1", "5433")
    socket = environment("postgresql://me@/db?host=/a%20folder/run")
    assert (socket["PGHOST"], socket["PGUSER"], "PGPASSWORD" in socket) == ("/a folder/run", "me", False)
