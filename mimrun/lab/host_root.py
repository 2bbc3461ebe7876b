"""The root folder of a systemd host: this machine's programs, and nothing else of this machine.

A host sees `/usr` read-only. Its `/etc` is made here, with a few plain files of this machine's; its users,
keys, units and PAM rules are its own. So nothing private of this machine (homes, keys, secrets in `/etc`,
work folders) can be seen from a host, and none of this machine's services starts in it.
"""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

OPERATOR: Final = "oper"
"""Who may do everything by sudo."""

ACCOUNTS: Final = ("clerk", "contractor")
"""Ordinary people with a login, for a runbook that takes it away."""

UNIT: Final = "web"
WEB_PORT: Final = 8080
WEB_SETTINGS: Final = "/etc/web.json"
FIRST_UID: Final = 1000

MERGED: Final = ("bin", "lib", "lib32", "lib64", "libx32", "sbin")
EMPTY: Final = (
    "dev",
    "home",
    "mnt",
    "opt",
    "proc",
    "run",
    "srv",
    "sys",
    "usr",
    "var/cache",
    "var/lib",
    "var/log",
)
FROM_HERE: Final = (
    "alternatives",
    "bash.bashrc",
    "debian_version",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "login.defs",
    "mime.types",
    "networks",
    "os-release",
    "profile",
    "protocols",
    "rpc",
    "services",
    "shells",
    "skel",
    "terminfo",
    "xattr.conf",
)
"""What of this machine's /etc a host gets a copy of: nothing that says something about this machine."""

NEEDED: Final = {
    "/usr/bin/ip": "iproute2",
    "/usr/bin/python3": "python3",
    "/usr/bin/sudo": "sudo",
    "/usr/sbin/sshd": "openssh-server",
    "/usr/bin/dbus-daemon": "dbus",
    "/usr/lib/systemd/systemd": "systemd",
    "/usr/lib/systemd/systemd-logind": "systemd",
    "/usr/bin/systemd-nspawn": "systemd-container",
    "/usr/share/pam-configs/systemd": "libpam-systemd",
    "/usr/sbin/usermod": "passwd",
}
"""What the hosts are made of, and Debian's packages that bring it."""

FILES: Final = {
    "default/locale": "LANG=C.UTF-8\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
    "sudoers": (
        'Defaults secure_path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"\n'
        f"root ALL=(ALL:ALL) ALL\n{OPERATOR} ALL=(ALL:ALL) NOPASSWD: ALL\n"
    ),
    "security/limits.conf": "",
    "pam.d/other": "auth required pam_deny.so\naccount required pam_deny.so\nsession required pam_deny.so\n",
    "pam.d/sudo": "auth required pam_unix.so\naccount required pam_unix.so\nsession required pam_unix.so\n",
    "pam.d/sshd": (
        "auth required pam_unix.so\naccount required pam_nologin.so\naccount required pam_unix.so\n"
        "session required pam_unix.so\nsession optional pam_systemd.so\n"
    ),
    "pam.d/systemd-user": "account required pam_unix.so\nsession required pam_unix.so\n",
    "ssh/sshd_config": (
        "HostKey /etc/ssh/ssh_host_ed25519_key\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin no\nUsePAM yes\nUseDNS no\nPrintMotd no\nMaxStartups 100\nMaxSessions 100\n"
        "Subsystem sftp internal-sftp\n"
    ),
    "systemd/system/lab.target": (
        "[Unit]\nDescription=Host of the lab\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"
        f"Wants=dbus.service systemd-logind.service systemd-user-sessions.service ssh.service {UNIT}.service\n"
    ),
    "systemd/system/ssh.service": (
        "[Unit]\nDescription=OpenSSH server\nAfter=systemd-user-sessions.service\n"
        "[Service]\nExecStart=/usr/sbin/sshd -D -e\nRuntimeDirectory=sshd\nRuntimeDirectoryMode=0755\n"
        "KillMode=process\nRestart=on-failure\n"
    ),
    f"systemd/system/{UNIT}.service": (
        "[Unit]\nDescription=Web service of the lab\n[Service]\nType=notify\nUser=www-data\n"
        f"ExecStart=/usr/bin/python3 -I /opt/web/web.py {WEB_SETTINGS}\n[Install]\nWantedBy=lab.target\n"
    ),
    "systemd/logind.conf": "[Login]\nNAutoVTs=0\nReserveVT=0\n",
    "systemd/journald.conf": "[Journal]\nStorage=volatile\nRuntimeMaxUse=8M\n",
}

MASKED: Final = (
    "console-getty.service",
    "getty.target",
    "systemd-binfmt.service",
    "systemd-firstboot.service",
    "systemd-modules-load.service",
    "systemd-random-seed.service",
    "systemd-tmpfiles-clean.timer",
    "systemd-update-utmp.service",
    "user@.service",
)
"""Units of no use in a host of the lab; a per-user manager would start at every login."""


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What makes one host different from the next.

    Arguments:
        name: its host name.
        host_key: the file with its private ssh key.
        logins: per account, the file with the public key that may log in.
    """

    name: str
    host_key: Path
    logins: Mapping[str, Path]


def missing() -> dict[str, str]:
    """Give what this machine lacks for systemd hosts: path and Debian package."""
    return {path: package for path, package in NEEDED.items() if not Path(path).exists()}


def make_root(root: Path, plan: HostPlan) -> list[str]:
    """Lay out a host's root folder, as root.

    Arguments:
        root: an empty folder, best on a tmpfs.
        plan: the host.

    Returns:
        The folders of this machine that are to be seen at the same place in the host, read-only.
    """
    for name in EMPTY:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name, mode in {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700}.items():
        (root / name).mkdir()
        (root / name).chmod(mode)
    (root / "var/run").symlink_to("/run")
    binds = ["/usr"]
    for name in MERGED:
        here = Path("/", name)
        if here.is_symlink():
            (root / name).symlink_to(here.readlink())
        elif here.is_dir():
            (root / name).mkdir()
            binds.append(str(here))
    _make_etc(root / "etc", plan)
    _make_homes(root, plan)
    (root / "opt/web").mkdir()
    shutil.copyfile(Path(__file__).with_name("web.py"), root / "opt/web/web.py")
    return binds


def _make_etc(etc: Path, plan: HostPlan) -> None:
    etc.mkdir()
    for name in FROM_HERE:
        here = Path("/etc", name)
        if here.is_dir():
            shutil.copytree(here, etc / name, symlinks=True)
        elif here.exists():
            shutil.copyfile(here.resolve(), etc / name)
    for name, text in FILES.items():
        (etc / name).parent.mkdir(parents=True, exist_ok=True)
        (etc / name).write_text(text)
    (etc / "sudoers").chmod(0o440)
    # A machine id that is there already: else systemd would take this for a first boot and enable every
    # unit that /usr brings.
    (etc / "machine-id").write_text(uuid.uuid4().hex + "\n")
    (etc / "hostname").write_text(plan.name + "\n")
    (etc / "hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {plan.name}\n")
    (etc / "web.json").write_text(web_settings(plan.name))
    (etc / ".updated").touch()
    (etc.parent / "var/.updated").touch()
    units = etc / "systemd/system"
    for name in MASKED:
        (units / name).symlink_to("/dev/null")
    (units / "default.target").symlink_to("lab.target")
    shutil.copyfile(plan.host_key, etc / "ssh/ssh_host_ed25519_key")
    (etc / "ssh/ssh_host_ed25519_key").chmod(0o600)
    _make_users(etc)


def _make_users(etc: Path) -> None:
    """Write the user files: this machine's system accounts without their secrets, and the lab's people."""
    people = (OPERATOR, *ACCOUNTS)
    users = ["root:x:0:0:root:/root:/bin/bash"]
    groups = ["root:x:0:"]
    for line in Path("/etc/passwd").read_text().splitlines():
        name, _, uid, gid, *_ = line.split(":")
        if _is_system(int(uid)):
            users.append(f"{name}:x:{uid}:{gid}::/nonexistent:/usr/sbin/nologin")
    for line in Path("/etc/group").read_text().splitlines():
        name, _, gid, *_ = line.split(":")
        if _is_system(int(gid)):
            groups.append(f"{name}:x:{gid}:")
    for number, name in enumerate(people, FIRST_UID):
        users.append(f"{name}:x:{number}:{number}::/home/{name}:/bin/bash")
        groups.append(f"{name}:x:{number}:")
    secret = {"shadow": [f"{u.split(':')[0]}:*:20000:0:99999:7:::" for u in users]}
    secret["gshadow"] = [f"{g.split(':')[0]}:*::" for g in groups]
    for file, lines in {"passwd": users, "group": groups, **secret}.items():
        (etc / file).write_text("\n".join(lines) + "\n")
        (etc / file).chmod(0o600 if file in secret else 0o644)


def _is_system(number: int) -> bool:
    return 0 < number < FIRST_UID or number == 65534


def _make_homes(root: Path, plan: HostPlan) -> None:
    for number, name in enumerate((OPERATOR, *ACCOUNTS), FIRST_UID):
        keys = root / "home" / name / ".ssh"
        keys.mkdir(parents=True)
        shutil.copyfile(plan.logins[name], keys / "authorized_keys")
        (keys / "authorized_keys").chmod(0o600)
        for path in (root / "home" / name, keys, keys / "authorized_keys"):
            os.chown(path, number, number)
        keys.chmod(0o700)


def web_settings(name: str) -> str:
    """Give the settings of the web service as they ought to be."""
    return f'{{"port": {WEB_PORT}, "text": "welcome to {name}"}}\n'
