"""A real Request Tracker 5 on loopback: a change system with people, a queue of changes and a REST interface.

It runs as an ordinary user, with settings, a database (SQLite) and accounts of its own; the machine's own Request
Tracker, where there is one, is not touched. Making the database takes most of the time; it is kept as a template for
others to begin with.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from mimrun.errors import LabError
from mimrun.lab import account, loopback, process
from mimrun.lab.part import Program
from mimrun.secret import Secret

LIBRARY: Final = Path("/usr/share/request-tracker5")
SERVER: Final = LIBRARY / "libexec" / "rt-server"
DATABASE: Final = "rt-setup-database-5"
ACCOUNTS: Final = Path(__file__).with_name("request_tracker_accounts.pl")
SERVICE: Final = "svc-mimrun"
PEOPLE: Final = ("Change managers=alice,carol", "Change requesters=bob")
READY: Final = 60.0
"""Seconds until it answers; a busy machine needs many of the two that it takes."""
SETTING_UP: Final = 120.0

_SETTINGS: Final = """\
Set($rtname, 'lab.invalid');
Set($Organization, 'lab.invalid');
Set($WebDomain, '{host}');
Set($WebPort, {port});
Set($WebPath, '');
Set($WebBaseURL, 'http://{host}:{port}');
Set($CanonicalizeRedirectURLs, 0);
Set($DatabaseType, 'SQLite');
Set($DatabaseName, '{data}/rt.db');
Set($DatabaseUser, '');
Set($DatabasePassword, '');
Set($Timezone, 'UTC');
Set($LogToSTDERR, 'warning');
Set($LogToSyslog, '');
Set($LogToFile, '');
# No mail leaves the lab.
Set($MailCommand, 'sendmailpipe');
Set($SendmailPath, '/bin/true');
Set($MasonDataDir, '{data}/mason');
Set($MasonSessionDir, '{data}/session');
Set($WebSessionClass, 'Apache::Session::File');
# Tokens are kept as passwords are; the usual 12 rounds cost half a second of each request.
Set($BcryptCost, 5);
1;
"""


class RequestTracker(Program):
    """A Request Tracker with a queue of changes, and people who ask for and approve them.

    Arguments:
        folder: where its settings, its database and its log are.
        setup: `deploy/rt/setup`, which makes the queue; the lifecycle lies beside it.
        template: a folder that keeps what was made, and is begun with where it is there; None to begin anew.
        net: the loopback net; it listens on `.110`.
    """

    def __init__(
        self, folder: Path, setup: Path, *, template: Path | None = None, net: str = loopback.NET
    ) -> None:
        super().__init__(folder, "request-tracker")
        self._setup, self.template = setup, template
        self._owner = account.ordinary()
        self.host = f"{net}.110"
        self.port = 0
        self.tokens: dict[str, Secret] = {}

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.host}:{self.port}"

    @property
    def token_file(self) -> Path:
        """The file with the token of mimrun's own account; only we and the server's user can read it."""
        return self._data / f"{SERVICE}.token"

    def start(self) -> None:
        """Start it and wait until it answers, with the same address as before where it ran before.

        Raises:
            LabError: it is not installed or does not start.
        """
        require()
        self._prepare()
        if not (self._data / "rt.db").exists():
            self._make()
            self._keep()
        self.tokens = self._read_tokens()
        child = self._launch(
            [
                str(SERVER),
                "--host",
                self.host,
                "--port",
                str(self.port),
                "--server",
                "Starman",
                "--workers",
                "2",
            ],
            environment=self._environment(),
            owner=self._owner,
        )
        try:
            self._await(child, lambda: loopback.accepts(self.host, self.port), seconds=READY, where=self.url)
        except BaseException:
            self.stop()
            raise

    def run_setup(self, *arguments: str) -> str:
        """Run `deploy/rt/setup` on it, and give what it says.

        Raises:
            LabError: it failed; the message is its own.
        """
        return self._perl(str(self._copy(self._setup)), *arguments)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _prepare(self) -> None:
        """Make the folders and write the settings, with a port of its own that stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder = self.folder.resolve()
        account.require_way(self.folder.parent, self._owner)
        self.folder.chmod(0o711)
        if self.template is not None and self.template.exists() and not self._data.exists():
            shutil.copytree(self.template, self._data)
            _give(self._data, self._owner)
        for name in ("", "mason", "session"):
            account.make_folder(self._data / name, self._owner, mode=0o700 if name else 0o711)
        self.port = self.port or loopback.free_ports([self.host])[0]
        extra = self.folder / "settings.d"
        extra.mkdir(exist_ok=True)
        extra.chmod(0o755)
        shutil.copy(self._setup.with_name("60-mimrun-change.pm"), extra)
        settings = self.folder / "RT_SiteConfig.pm"
        settings.write_text(_SETTINGS.format(host=self.host, port=self.port, data=self._data))
        settings.chmod(0o644)

    def _make(self) -> None:
        """Make the database, the queue and the accounts."""
        self._as_server([DATABASE, "--action", "init", "--skip-create"])
        self.run_setup("--token-file", str(self.token_file))
        made = self._perl(str(self._copy(ACCOUNTS)), *PEOPLE)
        kept = self._data / "tokens"
        kept.write_text(made)
        kept.chmod(0o600)

    def _keep(self) -> None:
        """Keep what was made, before anything else is in it: whole, or not at all."""
        if self.template is None or self.template.exists():
            return
        part = self.template.with_name(f"{self.template.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(self._data, part, ignore=shutil.ignore_patterns("session"))
        part.rename(self.template)

    def _read_tokens(self) -> dict[str, Secret]:
        rows = [line.split() for line in (self._data / "tokens").read_text().splitlines()]
        people = {name: Secret(token) for name, token in rows}
        return {**people, SERVICE: Secret(self.token_file.read_text().strip())}

    def _copy(self, program: Path) -> Path:
        """Put a program where the server's user can read it."""
        copy = self.folder / program.name
        shutil.copy(program, copy)
        copy.chmod(0o755)
        return copy

    def _environment(self) -> Mapping[str, str]:
        return {
            "RT_SITE_CONFIG": str(self.folder / "RT_SiteConfig.pm"),
            "RT_SITE_CONFIG_DIR": str(self.folder / "settings.d"),
            "HOME": str(self._data),
        }

    def _perl(self, *argv: str) -> str:
        return self._as_server(["/usr/bin/perl", *argv])

    def _as_server(self, argv: Sequence[str]) -> str:
        try:
            done = subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=SETTING_UP,
                check=False,
                cwd="/",
                env=process.environment(self.folder, self._environment()),
                **self._owner.identity(),
            )
        except subprocess.TimeoutExpired:
            raise LabError(f"{Path(argv[0]).name} took more than {SETTING_UP:g} s") from None
        if done.returncode != 0:
            said = (done.stderr + done.stdout).strip()[-800:]
            raise LabError(f"{' '.join(Path(a).name for a in argv[:2])} ended with {done.returncode}: {said}")
        return done.stdout


def is_installed() -> bool:
    """Say whether this machine has a Request Tracker 5, its SQLite part and Starman."""
    path = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
    programs = all(shutil.which(name, path=path) for name in (DATABASE, "starman"))
    return programs and SERVER.exists() and (LIBRARY / "etc" / "schema.SQLite").exists()


def require() -> None:
    """Make sure that it can be started.

    Raises:
        LabError: it is not installed.
    """
    if not is_installed():
        raise LabError(
            "request tracker 5 is not installed here; install it with: apt-get install --no-install-recommends "
            "request-tracker5 rt5-db-sqlite rt5-standalone starman"
        )


def _give(folder: Path, owner: account.Account) -> None:
    """Make a folder and all in it the account's own."""
    for top, folders, files in os.walk(folder):
        for name in ("", *folders, *files):
            os.chown(Path(top) / name, owner.uid, owner.gid, follow_symlinks=False)
