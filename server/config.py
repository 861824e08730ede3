"""Every setting: its default, its reason, and where its value came from.

Rule: defaults < TOML file < environment < flags, and a name that is no setting is refused by name.
"""

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta, Struct

from server.external import Provider

VITAL_CONNECTIONS = 3  # of each worker, beside its pool; the journal has two of its own


class ConfigError(Exception):
    """A setting is wrong; the message says which, and what would be right."""


def about(text: str, **bounds: Any) -> Meta:
    """A setting's reason, shown by `onesocket config` and `--help`."""
    return Meta(description=text, **bounds)


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings of a server."""

    # Where it listens
    host: Annotated[str, about("address to listen on; 0.0.0.0 for all networks")] = "127.0.0.1"
    port: Annotated[int, about("TCP port; 0 takes a free one", ge=0, le=65535)] = 8765
    unix_socket: Annotated[Path | None, about("listen on this Unix socket instead of a port")] = None
    public_url: Annotated[str, about("how people reach the server, e.g. https://chat.example; for links in mails")] = ""
    origins: Annotated[list[str], about("web origins allowed besides the server's own, e.g. https://app.example")] = []
    workers: Annotated[int, about("server processes that share the port", ge=1, le=64)] = 1

    # TLS and proxies
    tls_certificate: Annotated[Path | None, about("PEM certificate chain; reloaded on SIGHUP")] = None
    tls_key: Annotated[Path | None, about("PEM private key of the certificate")] = None
    trusted_proxies: Annotated[
        list[str], about("networks whose Forwarded headers or PROXY lines are believed, e.g. 10.0.0.0/8")
    ] = []
    proxy_protocol: Annotated[
        bool, about("expect a PROXY protocol line (v1 or v2) from each of the trusted_proxies")
    ] = False

    # Storage
    data: Annotated[Path | None, about("folder for everything the server keeps")] = None
    database_url: Annotated[str, about("PostgreSQL 15 or newer; empty starts the embedded one")] = ""
    redis_url: Annotated[str, about("Redis 7 or Valkey; empty starts the embedded one")] = ""
    pool_size: Annotated[
        int, about("database connections of each worker for requests; it has five more", ge=2, le=200)
    ] = 10
    acquire_timeout: Annotated[float, about("seconds to wait for a free database connection", gt=0, le=30)] = 0.5
    query_timeout: Annotated[float, about("seconds one query may take", gt=0, le=600)] = 10.0
    disk_free_mib: Annotated[int, about("below this much free space /readyz says no", ge=0)] = 256

    # Files
    files: Annotated[
        Path | None, about("folder for uploads, shared by all machines; empty is one in the data folder")
    ] = None
    s3_endpoint: Annotated[str, about("keep uploads in a bucket there, e.g. https://s3.eu-central-1.amazonaws.com")] = (
        ""
    )
    s3_bucket: Annotated[str, about("name of the bucket")] = ""
    s3_region: Annotated[str, about("region that requests are signed for")] = "us-east-1"
    s3_access_key: Annotated[str, about("id of the key that may read, write and delete in the bucket")] = ""
    s3_secret_key: Annotated[str, about("that key's secret")] = ""
    file_attachment_mib: Annotated[int, about("largest attachment", ge=1, le=1048576)] = 100
    file_voice_mib: Annotated[int, about("largest voice message", ge=1, le=1024)] = 20
    file_picture_mib: Annotated[int, about("largest avatar, emoji or sticker", ge=1, le=1024)] = 8
    file_backup_mib: Annotated[int, about("largest backup of somebody's keys", ge=1, le=1024)] = 64
    file_quota_mib: Annotated[int, about("what all files of one account may take", ge=1)] = 2048
    file_part_kib: Annotated[int, about("largest binary frame", ge=16, le=4096)] = 256
    file_window_kib: Annotated[int, about("bytes of one upload that may be under way", ge=32, le=65536)] = 1024
    file_memory_mib: Annotated[int, about("bytes of all uploads of one worker that may be under way", ge=1)] = 64
    file_threads: Annotated[int, about("threads of each worker that wait for the disk", ge=1, le=64)] = 4
    file_link_minutes: Annotated[int, about("life of a link to a file", ge=1, le=10080)] = 60
    file_downloads: Annotated[int, about("files that each worker hands out at once", ge=1)] = 200

    # Identity
    secret: Annotated[str, about("signs tokens and seals secrets; empty keeps one in the data folder")] = ""
    previous_secrets: Annotated[list[str], about("older secrets that are still accepted, for rotation")] = []
    registration: Annotated[bool, about("may anybody make an account")] = True
    access_minutes: Annotated[int, about("life of an access token", ge=1, le=1440)] = 15
    refresh_days: Annotated[int, about("life of a refresh token that is not used", ge=1, le=365)] = 30
    password_memory_kib: Annotated[int, about("argon2id memory per hash", ge=8, le=1048576)] = 19456
    password_rounds: Annotated[int, about("argon2id passes per hash", ge=1, le=100)] = 2
    password_threads: Annotated[int, about("passwords hashed at once by each worker", ge=1, le=16)] = 2
    password_queue: Annotated[int, about("passwords that may wait before `overloaded`", ge=1, le=1000)] = 50
    providers: Annotated[list[Provider], about("outside logins: one [[providers]] table each")] = []
    external_redirects: Annotated[
        list[str], about("redirect addresses that clients may use besides the server's own /external")
    ] = []

    # Mail
    smtp_url: Annotated[
        str,
        about("smtp://, smtps:// or smtp+starttls://user:password@host:port; empty prints mails in the log"),
    ] = ""
    mail_from: Annotated[str, about("sender of the server's mails")] = "onesocket <noreply@localhost>"

    # What is in files, and behind links
    media_processes: Annotated[int, about("files looked into at once by each worker", ge=1, le=64)] = 2
    media_queue: Annotated[int, about("files that may wait for that before `overloaded`", ge=1, le=10000)] = 50
    media_memory_mib: Annotated[int, about("address space of such a process", ge=256, le=16384)] = 1024
    media_seconds: Annotated[int, about("processor time of such a process; it may take three times as long", ge=1)] = 20
    media_pixels: Annotated[int, about("largest picture that is decoded", ge=10000, le=268435456)] = 40000000
    voice_minutes: Annotated[int, about("longest voice message", ge=1, le=120)] = 10
    clamd_url: Annotated[str, about("tcp://host:port or unix:///path of the clamd that scans files; empty: none")] = ""
    clamd_required: Annotated[bool, about("refuse files that clamd did not look at, also while it is away")] = True
    link_previews: Annotated[bool, about("may people have the server look at links")] = True
    link_allow: Annotated[
        list[str], about("host:port pairs that links may lead to though they are private, e.g. wiki.intern:8080")
    ] = []

    # Limits: nothing is unbounded
    frame_bytes: Annotated[int, about("largest frame of a logged-in socket", ge=1024, le=16777216)] = 65536
    frame_bytes_before_login: Annotated[int, about("largest frame before login", ge=1024, le=65536)] = 4096
    frames_per_second: Annotated[int, about("frames a socket may send, sustained", ge=1)] = 50
    frames_in_burst: Annotated[int, about("frames a socket may send at once", ge=1)] = 100
    requests_in_flight: Annotated[int, about("requests of one socket worked on at once", ge=1, le=10000)] = 32
    request_timeout: Annotated[float, about("seconds one request may take", gt=0, le=600)] = 30.0
    write_buffer_bytes: Annotated[int, about("unread bytes after which a slow socket is closed", ge=65536)] = 1048576
    write_timeout: Annotated[float, about("seconds a full socket may read nothing", gt=0, le=600)] = 10.0
    connections: Annotated[int, about("sockets of each worker", ge=1)] = 100000
    connections_per_address: Annotated[int, about("sockets of one address (IPv6: /64) per worker", ge=1)] = 1000
    pending_per_address: Annotated[int, about("sockets of one address that are not logged in", ge=1)] = 50
    handshake_timeout: Annotated[float, about("seconds for the WebSocket handshake", gt=0, le=60)] = 5.0
    login_timeout: Annotated[float, about("seconds until a socket must have opened a session", gt=0, le=600)] = 10.0
    heartbeat: Annotated[int, about("seconds of silence before a ping; two of them close the socket", ge=1, le=600)] = (
        30
    )
    drain: Annotated[float, about("seconds to finish what is in flight at SIGTERM", ge=0, le=600)] = 10.0
    throttle: Annotated[float, about("scales every attempt limit; raise it for load tests only", gt=0)] = 1.0
    compression: Annotated[bool, about("permessage-deflate; costs about 45 KiB and some CPU per socket")] = False

    # Calls
    ring: Annotated[float, about("seconds for which a call rings", ge=5, le=300)] = 45.0
    grace: Annotated[float, about("seconds for which a lost socket's place in a call is kept", ge=1, le=60)] = 15.0
    mesh: Annotated[int, about("participants of a call or voice channel; each sends to each", ge=2, le=25)] = 8
    stun_urls: Annotated[list[str], about("STUN servers for calls, e.g. stun:turn.example:3478")] = []
    turn_urls: Annotated[list[str], about("TURN servers for calls, e.g. turn:turn.example:3478?transport=udp")] = []
    turn_secret: Annotated[str, about("shared with the TURN servers (coturn: static-auth-secret)")] = ""
    turn_minutes: Annotated[int, about("life of TURN credentials", ge=1, le=1440)] = 60

    # Watching it
    log_format: Annotated[
        str, about("auto, human or json; auto is human on a terminal", pattern="^(auto|human|json)$")
    ] = "auto"
    log_level: Annotated[str, about("debug, info, warning or error", pattern="^(debug|info|warning|error)$")] = "info"
    metrics_token: Annotated[str, about("bearer token for /metrics; empty answers this machine only")] = ""

    @property
    def folder(self) -> Path:
        """The data folder, where none is given the usual one."""
        from storage.embedded import default_data

        return self.data or default_data()


FIELDS = {field.name: field for field in msgspec.structs.fields(Config)}
SECRETS = {
    "secret",
    "previous_secrets",
    "database_url",
    "redis_url",
    "smtp_url",
    "metrics_token",
    "s3_secret_key",
    "turn_secret",
    "providers",
}
COMMON_ENVIRONMENT = {"DATABASE_URL": "database_url", "REDIS_URL": "redis_url", "PORT": "port"}
NOT_SETTINGS = {"ONESOCKET_CONFIG", "ONESOCKET_WORKER"}


def from_plain(kind: type, value: Any) -> Any:
    """A path is written as text."""
    if kind is not Path:
        raise NotImplementedError(kind)
    return Path(str(value)).expanduser()


def load(
    flags: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] = os.environ,
    file: Path | None = None,
) -> Config:
    """The settings in force, or a `ConfigError` that says what to mend."""
    path = file or (Path(environment["ONESOCKET_CONFIG"]) if "ONESOCKET_CONFIG" in environment else None)
    given = _from_file(path) | _from_environment(environment) | dict(flags or {})
    values = {name: value for name, value in given.items() if value != "" or FIELDS[name].default is not None}
    try:
        return msgspec.convert(values, Config, strict=False, dec_hook=from_plain)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$.")
        raise ConfigError(f"{where.rstrip('`') or 'settings'}: {message}") from None


def describe(name: str) -> str:
    """What a setting is for."""
    hint = get_type_hints(Config, include_extras=True)[name]
    return next(meta.description or "" for meta in hint.__metadata__ if isinstance(meta, Meta))


def show(config: Config) -> dict[str, Any]:
    """All settings as they may be printed: secrets are hidden."""
    values: dict[str, Any] = msgspec.to_builtins(config, enc_hook=str)
    return {name: ("***" if name in SECRETS and value else value) for name, value in values.items()}


def known(name: str, shown: str, where: str) -> str:
    """The name of a setting, or an error that says which one may be meant."""
    if name in FIELDS:
        return name
    close = difflib.get_close_matches(name, FIELDS, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise ConfigError(f"{shown} in {where} is no setting{hint}")


def _from_file(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    return {known(name, name, str(path)): value for name, value in values.items()}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, setting in COMMON_ENVIRONMENT.items():
        if environment.get(name):
            values[setting] = environment[name]
    for name, value in environment.items():
        if name.startswith("ONESOCKET_") and name not in NOT_SETTINGS:
            setting, text = _environment_value(name, value)
            values[setting] = parsed(setting, text)
    return values


def _environment_value(name: str, value: str) -> tuple[str, str]:
    short = name.removeprefix("ONESOCKET_").lower()
    if short.endswith("_file") and short.removesuffix("_file") in FIELDS:
        try:
            return short.removesuffix("_file"), Path(value).read_text("utf-8").strip()
        except OSError as error:
            raise ConfigError(f"{name}: cannot read {value}: {error.strerror}") from None
    return known(short, name, "the environment"), value


def parsed(setting: str, text: str) -> Any:
    """A setting's value written as text; lists are separated by commas."""
    default = FIELDS[setting].default if FIELDS[setting].default is not msgspec.NODEFAULT else []
    if setting == "providers":
        return msgspec.json.decode(text)
    if isinstance(default, list):
        return [part.strip() for part in text.split(",") if part.strip()]
    return text
