"""What is installed is complete."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(argv, cwd=TOP, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_the_wheel_ships_the_packages_the_schema_the_migrations_and_the_pages(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for name in (
        "protocol/py.typed",
        "storage/py.typed",
        "server/py.typed",
        "storage/schema.sql",
        "storage/migrations/0001_identity.sql",
        "server/web/index.html",
    ):
        assert name in names
    assert wheel.read("storage/schema.sql") == (TOP / "schema.sql").read_bytes()


def test_the_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"protocol", "storage", "server"}


def test_the_command_is_declared() -> None:
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"onesocket": "server.cli:main"}


def test_the_ci_runs_exactly_the_test_command_of_the_readme() -> None:
    command = (TOP / ".ci" / "run").read_text().strip().splitlines()[-1]
    assert f"    {command}\n" in (TOP / "README.md").read_text()


def test_every_file_that_the_readme_names_exists() -> None:
    import re

    for name in re.findall(r"\]\(([^)#]+)\)", (TOP / "README.md").read_text()):
        assert (TOP / name).exists(), name
