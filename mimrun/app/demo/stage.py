"""The demo's stage: a home of its own, a folder for real parts, a warm engine, and a clean end.

The home is kept, so that everything the demo says can be looked up afterwards. The parts and the engine
are gone when the demo ends, unless they are to be kept for playing; then the home says where they are.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from mimrun.app.alert.view import open_alerts
from mimrun.app.home import lay_home, open_home, operating_system_user
from mimrun.app.launching import Launcher, find_launcher
from mimrun.app.runbooks import whole_library
from mimrun.app.runs import list_runs
from mimrun.app.stores import migrate_store
from mimrun.errors import LabError, MimrunError, RefusedError, SettingsError, StoreError
from mimrun.lab import folder, leftover
from mimrun.run.record.published import PublishedVersions
from mimrun.run.record.transitions import TERMINAL
from mimrun.settings import Settings, load_settings

RESPONDER: Final = "responder"
CHANGE_MANAGER: Final = "change-manager"
SERVICE_DESK: Final = "service-desk"

IDLE_EXIT_S: Final = 180
"""An engine whose demo was killed ends by itself."""
ENGINE_READY_S: Final = 60.0
ANSWERS_S: Final = 15.0
"""An engine that does not even answer by then has ended."""
_LOOK_S: Final = 0.1

_MARK: Final = "# Written by `mimrun demo`."
_PEOPLE: Final = (
    _MARK
    + """ Whoever sits at this keyboard plays all three, openly: the log says `claimed`.
shared: [{account}]
people:
  responder:
    name: The responder, at this keyboard
    roles: [responder]
    accounts: [{account}]
  change-manager:
    name: The change manager
    roles: [change_manager]
  service-desk:
    name: The service desk
    roles: [service_desk]
"""
)


def demo_settings(environ: Mapping[str, str], home: Path | None = None) -> Settings:
    """Make the demo's settings: a home beside the person's own, never the same.

    Arguments:
        environ: the environment.
        home: the option `--home`; without it the usual home with `-demo` behind its name.
    """
    usual = load_settings(environ, home)
    if home is None:
        usual = replace(usual, home=usual.home.with_name(f"{usual.home.name}-demo"))
    own = replace(usual, store="", store_password="", seen=None, signer="", blob_key="")
    return replace(own, inventory=None, origin="mimrun-demo")


class Stage:
    """Where a demo plays. Use it as a context manager: whatever happens, it clears up.

    Arguments:
        settings: of the demo.
        keep: the parts are to stay up when all went well.
        direct: Prefect is left out.
    """

    kept: bool
    """The parts stay when the stage is left."""
    put_aside: str
    """What to say of an earlier log that could not be gone on with, or ""."""

    def __init__(self, settings: Settings, *, keep: bool = False, direct: bool = False) -> None:
        self.settings = settings
        self.keep = keep
        self.engine = Engine(settings, direct=direct, keep=keep)
        self.folder = Path()
        self.put_aside = ""
        self._lock = -1
        self.kept = False

    def __enter__(self) -> Self:
        check_own(self.settings)
        _make_home(self.settings)
        self._lock = _take(self.settings)
        try:
            if kept_folder(self.settings) is not None:
                raise RefusedError(
                    f"an earlier demo in {self.settings.home} was kept and is still up;"
                    f" stop it with `mimrun demo stop --home {self.settings.home}`"
                )
            self.put_aside = _put_aside(self.settings)
            lay_home(self.settings, anew=True)
            self.folder = folder.make()
            self.engine.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def note_kept(self) -> None:
        """Write down where the parts are: they stay when the stage is left."""
        _note(self.settings).write_text(json.dumps({"folder": str(self.folder)}) + "\n", "utf-8")
        self.kept = True

    def _close(self) -> None:
        with ExitStack() as last:
            last.callback(os.close, self._lock)
            if not self.kept:
                if self.folder != Path():
                    last.callback(folder.remove, self.folder)
                last.callback(self.engine.stop)


class Engine:
    """Prefect's engine, which wakes while the parts start. Without it the run is executed directly.

    Arguments:
        settings: of the demo.
        direct: it is not wanted.
        keep: it is to stay when the demo has ended.
    """

    def __init__(self, settings: Settings, *, direct: bool, keep: bool) -> None:
        self.launcher: Launcher | None = None if direct else find_launcher(settings)
        self.why_not = "asked for with --direct" if direct else ""
        self._idle_exit_s = None if keep else IDLE_EXIT_S
        self._thread: threading.Thread | None = None
        self._woken_at: float | None = None
        self._log = settings.prefect / "engine.log"

    def start(self) -> None:
        """Begin to wake it."""
        if self.launcher is None:
            self.why_not = self.why_not or "no launcher is installed"
            return
        self._thread = threading.Thread(target=self._wake, args=(self.launcher,), name="engine", daemon=True)
        self._thread.start()

    def wait(self, seconds: float = ENGINE_READY_S) -> bool:
        """Wait until it takes runs; says whether it does. `why_not` has the reason where it does not."""
        end = time.monotonic() + seconds
        while not self.why_not and self.launcher is not None and time.monotonic() < end:
            if self._woken_at is not None:
                status = self.launcher.status()
                if status.ready:
                    return True
                if not status.running and time.monotonic() - self._woken_at > ANSWERS_S:
                    self.why_not = f"the engine did not come up; see {self._log}"
            time.sleep(_LOOK_S)
        self.why_not = self.why_not or f"the engine was not ready within {seconds:g} s"
        return False

    def stop(self) -> None:
        """End it. One that was only just started is waited for, so that none is left behind."""
        if self._thread is not None:
            self._thread.join(timeout=ENGINE_READY_S)
        if self.launcher is None or self._woken_at is None:
            return
        end = time.monotonic() + 20
        # A process that does not listen yet cannot be told to end.
        while not self.launcher.down(force=True) and time.monotonic() < end:
            time.sleep(_LOOK_S)

    def _wake(self, launcher: Launcher) -> None:
        try:
            launcher.lay_template()
            launcher.wake(self._idle_exit_s)
        except (MimrunError, OSError) as exc:
            self.why_not = str(exc)
        else:
            self._woken_at = time.monotonic()


def stop_kept(settings: Settings) -> bool:
    """Stop a demo that was kept up, and remove its parts.

    Returns:
        False when there was none.

    Raises:
        LabError: something would not end.
    """
    where = _noted_folder(settings)
    launcher = find_launcher(settings)
    stopped = launcher.down(force=True) if launcher is not None else False
    if where is not None:
        folder.remove(where)
    _note(settings).unlink(missing_ok=True)
    return stopped or where is not None


def kept_folder(settings: Settings) -> Path | None:
    """Give the folder of the parts that were kept, or None where nothing of them runs any more."""
    where = _noted_folder(settings)
    return where if where is not None and leftover.find_all(where) else None


def _noted_folder(settings: Settings) -> Path | None:
    try:
        where = Path(json.loads(_note(settings).read_text("utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # It will be removed with everything in it: only what a lab has made.
    return where if where.is_dir() and where.name.startswith(folder.PREFIX) else None


def check_own(settings: Settings) -> None:
    """Refuse a home that is not the demo's: its log is somebody's record, and its people are real.

    Raises:
        SettingsError: it is not.
    """
    people = settings.people
    written = people.exists() and people.read_text("utf-8", "replace").startswith(_MARK)
    if not written and (people.exists() or settings.log.exists()):
        raise SettingsError(f"{settings.home} is not the demo's home; give another folder with --home")


def _make_home(settings: Settings) -> None:
    try:
        settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        account = json.dumps(operating_system_user())
        settings.people.write_text(_PEOPLE.format(account=account), "utf-8")
    except OSError as exc:
        raise SettingsError(
            f"{settings.home}: cannot be made: {exc.strerror}; choose another with --home"
        ) from exc


def _put_aside(settings: Settings) -> str:
    """Begin a new log where the old one cannot be gone on with, and keep that under another name.

    1. A runbook of the library has changed under the version that ran. Outside of the demo that is refused, and
       rightly: the version has to change. Here it would keep whoever works on the library from playing twice.
    2. A demo was interrupted: its run holds what it locked, and what it complained of goes on, of parts that are gone.

    Returns:
        What to say of it; "" where the log is gone on with.
    """
    if not settings.log.exists():
        return ""
    try:
        why = _why_aside(settings)
    except StoreError:
        # An earlier version of mimrun has played here; where that is not why, this fails as well, and says it.
        migrate_store(settings)
        why = _why_aside(settings)
    if not why:
        return ""
    number = next(n for n in itertools.count(1) if not (settings.home / f"log-{n}.db").exists())
    for file in sorted(settings.home.glob(f"{settings.log.name}*")):
        file.rename(file.with_name(file.name.replace(settings.log.name, f"log-{number}.db", 1)))
    return f"{why} That demo's log is kept as log-{number}.db; this one begins anew."


def _why_aside(settings: Settings) -> str:
    """Say why the log of an earlier demo cannot be gone on with; "" where it can."""
    library = {
        f"{entry.runbook.name}@{entry.runbook.version}": entry.digest for entry in whole_library().runbooks
    }
    with open_home(settings) as home:
        ran = {key: state.decode() for key, state in home.store.projections(PublishedVersions.name)}
        interrupted = open_alerts(home) or any(
            view.summary.status not in TERMINAL for view in list_runs(home)
        )
    if any(library.get(key, digest) != digest for key, digest in ran.items()):
        return (
            "A runbook of the library has changed since an earlier demo without a new version, which mimrun refuses to"
            " run on one record."
        )
    return "An earlier demo did not come to its end." if interrupted else ""


def _take(settings: Settings) -> int:
    """Take the home for one demo; the kernel lets go of it when the process ends."""
    file = os.open(settings.home / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(file)
        raise LabError(f"another demo is playing in {settings.home}; wait for it, or use --home") from exc
    return file


def _note(settings: Settings) -> Path:
    return settings.home / "demo.json"
