"""Which user of this machine the parts run as.

PostgreSQL refuses to run as root, and nothing in the lab needs to. An ordinary user runs the parts as
themselves; root picks an existing ordinary user, and nobody is created.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypedDict

from mimrun.errors import LabError

CANDIDATES: Final = ("postgres", "nobody")
NO_LOGIN: Final = ("nologin", "false", "sync", "shutdown", "halt")
SHADOW: Final = Path("/etc/shadow")
PAM: Final = Path("/etc/pam.d/sshd")


class Identity(TypedDict, total=False):
    """What `subprocess.Popen` needs to become the account; empty when we are it already."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """A user of this machine.

    Arguments:
        name: the login name.
        uid: its number.
        gid: its first group.
        shell: what its commands run in when it logs in over ssh.
    """

    name: str
    uid: int
    gid: int
    shell: str

    def may_log_in(self) -> bool:
        """Say whether an ssh login of this account gets a shell."""
        shell = Path(self.shell).name not in NO_LOGIN and os.access(self.shell, os.X_OK)
        return shell and (not self.is_locked() or PAM.exists())

    def is_locked(self) -> bool:
        """Say whether the account is locked, as far as we may read that.

        sshd refuses a locked account even with a key, unless PAM decides: PAM's lock is of the password only.
        """
        try:
            lines = SHADOW.read_text(errors="replace").splitlines()
        except OSError:
            return False
        return any(line.startswith(f"{self.name}:!") for line in lines)

    def identity(self) -> Identity:
        """Give the arguments that make a subprocess run as this account."""
        if os.geteuid() == self.uid:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}


def find(name: str) -> Account:
    """Give the account of that name.

    Raises:
        LabError: there is none.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise LabError(f"this machine has no user {name!r}; name one that exists") from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_shell or "/bin/sh")


def current() -> Account:
    """Give the account this process runs as."""
    return find(pwd.getpwuid(os.geteuid()).pw_name)


def ordinary(environment: Mapping[str, str] = os.environ) -> Account:
    """Give the account that runs the parts: never root.

    An ordinary user gets their own. Root gets who called sudo, else PostgreSQL's user, else `nobody`.

    Arguments:
        environment: where SUDO_USER is looked for.

    Raises:
        LabError: root asks, and the machine has no such user.
    """
    if os.geteuid() != 0:
        return current()
    known = {entry.pw_name for entry in pwd.getpwall() if entry.pw_uid != 0}
    for name in (environment.get("SUDO_USER", ""), *CANDIDATES):
        if name in known:
            return find(name)
    raise LabError(
        f"the lab never runs PostgreSQL as root, and none of the users {', '.join(CANDIDATES)} exists; "
        "add one with: useradd --system --no-create-home nobody"
    )


def make_folder(path: Path, owner: Account, *, mode: int = 0o755) -> Path:
    """Make a folder that an account owns and can get to.

    Arguments:
        path: where.
        owner: whose it is to be.
        mode: its permissions.

    Returns:
        The folder's real path.

    Raises:
        LabError: a folder above it cannot be entered by the account.
    """
    path.mkdir(parents=True, exist_ok=True)
    real = path.resolve()
    if owner.uid != os.geteuid():
        require_way(real.parent, owner)
        os.chown(real, owner.uid, owner.gid)
    real.chmod(mode)
    return real


def require_way(path: Path, account: Account) -> None:
    """Make sure that an account can enter a folder and all above it.

    Raises:
        LabError: it cannot; the message names the folder that is closed.
    """
    for folder in [path, *path.parents]:
        state = folder.stat()
        bit = 0o100 if state.st_uid == account.uid else 0o010 if state.st_gid == account.gid else 0o001
        if not state.st_mode & bit:
            raise LabError(
                f"{path}: user {account.name} cannot enter {folder}; use a lab folder that all can enter, "
                "such as one under /tmp with mode 711"
            )
