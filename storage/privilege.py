"""Who the embedded servers run as, and what that user can reach.

PostgreSQL refuses to run as root, rightly. Started by root we give both servers away to an ordinary user;
started by anyone else they run as that user.

Rule 1: what root writes or opens lies in folders of root's own: a folder given away is never followed into.
Rule 2: nobody's folders are opened up except the data folder itself, and that one only to the user's group.
"""

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

# A package of ours brings its own user; `postgres` is there where PostgreSQL is; `nobody` is everywhere.
CANDIDATES = ("onesocket", "postgres", "nobody")


class EmbeddedError(Exception):
    """The servers of our own can't run as asked; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The user a server runs as. `name` is empty for a number the system has no name for."""

    name: str
    uid: int
    gid: int

    @property
    def is_us(self) -> bool:
        return self.uid == os.geteuid()


def service_account(cluster: Path) -> Account:
    """The user to run as: who owns the database already, else ourselves, else (as root) somebody harmless."""
    ours, owner = os.geteuid(), cluster.stat().st_uid if cluster.exists() else None
    if ours:
        if owner not in (None, ours):
            raise EmbeddedError(f"{cluster} belongs to {user_name(owner) or owner}: start the server as that user")
        return Account(user_name(ours), ours, os.getegid())
    if owner:  # not by name: a user that was installed since must not take the database from its owner
        return Account(user_name(owner), owner, cluster.stat().st_gid)
    for name in CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(name, entry.pw_uid, entry.pw_gid)
    raise EmbeddedError(
        f"PostgreSQL does not run as root, and no user {', '.join(CANDIDATES)} is there to run it as: "
        "create one, start the server as an ordinary user, or set DATABASE_URL and REDIS_URL"
    )


def user_name(uid: int | None) -> str:
    """The name of a user, or nothing: containers often run as a number."""
    try:
        return pwd.getpwuid(uid).pw_name if uid is not None else ""
    except KeyError:
        return ""


def allows(path: Path, account: Account, bits: int) -> bool:
    """Whether the mode of this file or folder gives the account these of the rights r=4, w=2, x=1."""
    found = path.stat()
    shift = 6 if found.st_uid == account.uid else 3 if found.st_gid == account.gid else 0
    return (found.st_mode >> shift) & bits == bits


def can_enter(folder: Path, account: Account) -> bool:
    """Whether the account can walk down to this folder and through it."""
    resolved = folder.resolve()
    return all(allows(step, account, 1) for step in (resolved, *resolved.parents))


def let_in(data: Path, account: Account) -> None:
    """Make the data folder passable for the account, if its group on this one folder is all that takes."""
    if account.is_us or can_enter(data, account):
        return
    mode = stat.S_IMODE(data.stat().st_mode)
    if mode & 0o070 == 0:
        os.chown(data, -1, account.gid)
        data.chmod(mode | 0o010)
    if not can_enter(data, account):
        raise EmbeddedError(
            f"{data} cannot be reached by the user {account.name or account.uid}, as whom PostgreSQL runs "
            "because it refuses root: use a folder such as /var/lib/onesocket, or start as an ordinary user"
        )


def give(folder: Path, account: Account) -> None:
    """Create a folder that only the account can use, or hand an existing one to it."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if not account.is_us:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(0o700)
