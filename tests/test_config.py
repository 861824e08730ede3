"""Settings: defaults < TOML file < environment < flags, and nothing unknown."""

import tomllib
from pathlib import Path

import pytest

from server.commands.config import default
from server.config import Config, ConfigError, describe, load, show


def written(folder: Path, text: str) -> Path:
    file = folder / "onesocket.toml"
    file.write_text(text)
    return file


def test_flags_beat_environment_beats_file_beats_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, "port = 1\nworkers = 2\nheartbeat = 10")
    config = load({"port": 3}, {"ONESOCKET_PORT": "2", "ONESOCKET_WORKERS": "5"}, file)
    assert (config.port, config.workers, config.heartbeat, config.pool_size) == (3, 5, 10, Config().pool_size)


def test_the_usual_names_of_the_environment_work() -> None:
    environment = {"PORT": "99", "DATABASE_URL": "postgres://db", "REDIS_URL": "redis://r"}
    config = load({}, environment)
    assert (config.port, config.database_url, config.redis_url) == (99, "postgres://db", "redis://r")


@pytest.mark.parametrize(
    ("flags", "environment", "text", "message"),
    [
        ({}, {}, "prot = 1", "prot in .* is no setting; did you mean port"),
        ({}, {"ONESOCKET_WORKER_COUNT": "1"}, "", "ONESOCKET_WORKER_COUNT in the environment is no setting"),
        ({}, {"ONESOCKET_PORT": "many"}, "", "port: Expected `int`"),
        ({"port": 70000}, {}, "", "port: Expected `int` <= 65535"),
        ({}, {}, "port = ", "is not TOML"),
        ({}, {"ONESOCKET_SECRET_FILE": "/nowhere/at/all"}, "", "ONESOCKET_SECRET_FILE: cannot read"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    tmp_path: Path, flags: dict[str, int], environment: dict[str, str], text: str, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load(flags, environment, written(tmp_path, text))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nowhere.toml"):
        load({}, {"ONESOCKET_CONFIG": "/nowhere.toml"})


def test_secrets_come_from_files(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x" * 40 + "\n")
    assert load({}, {"ONESOCKET_SECRET_FILE": str(tmp_path / "secret")}).secret == "x" * 40


def test_lists_are_separated_by_commas_in_the_environment() -> None:
    assert load({}, {"ONESOCKET_ORIGINS": "https://a.example, https://b.example"}).origins == [
        "https://a.example",
        "https://b.example",
    ]


def test_shown_settings_hide_secrets() -> None:
    config = Config(secret="s" * 40, database_url="postgres://u:p@h/d", smtp_url="smtp://u:p@h")
    assert {show(config)[name] for name in ("secret", "database_url", "smtp_url")} == {"***"}
    assert "ssss" not in str(show(config))


def test_every_setting_says_what_it_is_for() -> None:
    assert all(describe(name) for name in Config.__struct_fields__)


def test_the_default_file_explains_every_setting_and_changes_nothing(tmp_path: Path) -> None:
    text = default()
    uncommented = "\n".join(line.removeprefix("# ") for line in text.splitlines() if " = " in line)
    assert set(tomllib.loads(uncommented)) == set(Config.__struct_fields__)
    assert load({}, {}, written(tmp_path, uncommented)) == Config()


def test_providers_are_tables(tmp_path: Path) -> None:
    file = written(tmp_path, '[[providers]]\nname = "google"\nclient_id = "id"')
    assert load({}, {}, file).providers[0].name == "google"
