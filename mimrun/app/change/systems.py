"""Talking to change systems: those of `changes.yaml` by their adapters, and mimrun's own register in the same words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from mimrun.app.change.file import (
    Adapters,
    AnyChangeSystem,
    ChangesFile,
    System,
    installed_adapters,
    load_changes,
)
from mimrun.app.change.records import find_change, read_registered
from mimrun.app.change.register import Opening, close_change, move_change, open_change
from mimrun.app.home import Home
from mimrun.change_system import (
    Added,
    Addition,
    ChangeDraft,
    ChangeRecord,
    ChangeState,
    ChangeSystem,
    ChangeSystemSettings,
    Refused,
    Unreachable,
)
from mimrun.errors import ConnectorError, InputError, MimrunError, RefusedError, SettingsError
from mimrun.gate.change import REGISTER
from mimrun.gate.register import ENDED, NOT_BEGUN, Content, Result, ref_of_key
from mimrun.log.entry import Actor
from mimrun.log.moment import write_moment

SCRIBE: Final = Actor("system", "changes")
"""Who reads change records and writes to them: mimrun itself, which decides nothing there."""


class RegisterSystem(ChangeSystem[ChangeSystemSettings]):
    """mimrun's own register, spoken to as any other system.

    What is written to its records stands in the log already; what moves them is when work began and ended.
    """

    Settings = ChangeSystemSettings

    def __init__(self, home: Home) -> None:
        super().__init__(REGISTER, ChangeSystemSettings(url="", ca_file="", timeout_s=1, state_map={}))
        self._home = home

    def read(self, ref: str) -> ChangeRecord:
        """Read a record, with conflicts looked for just now."""
        home = self._home
        try:
            return read_registered(home, find_change(home, ref), home.people(), home.clock())
        except InputError as exc:
            raise Refused(str(exc)) from exc

    def find(self, key: str) -> str:
        """Give the record that was made with this key."""
        return ref_of_key(self._home.store, key)

    def create(self, draft: ChangeDraft) -> str:
        """Make a record that is asked to be allowed at once."""
        content = Content(
            type=draft.type,
            title=draft.title,
            risk=draft.risk,
            justification=draft.justification,
            implementation=draft.plan,
            backout=draft.backout,
            test=draft.test,
            targets=draft.targets,
            window_start=write_moment(draft.window.start) if draft.window else "",
            window_end=write_moment(draft.window.end) if draft.window else "",
            run=draft.run,
            digest=draft.digest,
            incident=draft.incident,
            requested_by=draft.requested_by,
        )
        how = Opening(
            incident=draft.incident,
            key=draft.key,
            behalf=frozenset({draft.requested_by} if draft.requested_by else ()),
            asked=True,
        )
        try:
            return open_change(self._home, SCRIBE, content, how)
        except RefusedError as exc:
            raise Unreachable(str(exc)) from exc

    def add(self, ref: str, addition: Addition) -> Added:
        """Follow what happened: the start of work brings a record to implement, its end to review."""
        try:
            match addition.what:
                case "started":
                    return self._moved(ref, ChangeState.IMPLEMENT, addition.text)
                case "ended":
                    return self._moved(ref, ChangeState.REVIEW, addition.text)
                case "close":
                    result: Result = "successful" if addition.successful else "failed"
                    close_change(self._home, ref, SCRIBE, result, addition.text, from_review=True)
                case "result":
                    self._give_up(ref, addition.text)
                case _:
                    pass
        except (RefusedError, InputError) as exc:
            raise Refused(str(exc)) from exc
        return Added()

    def _give_up(self, ref: str, text: str) -> None:
        """Call off a record that was made for a run, and that the run has ended without: it stands in nobody's way."""
        was = find_change(self._home, ref).was
        made = bool(was.key) and not was.retrospective and was.type != "standard"
        if made and was.state in NOT_BEGUN:
            move_change(self._home, ref, SCRIBE, ChangeState.CANCELED, reason=text)

    def _moved(self, ref: str, state: ChangeState, text: str) -> Added:
        was = find_change(self._home, ref).was
        if was.type == "standard" or was.state in ENDED:
            # It stands for every run of its runbook, or somebody has ended it.
            return Added(detail=f"{was.ref} stays in {was.state}")
        if was.state is state:
            return Added(already=True)
        move_change(self._home, ref, SCRIBE, state, reason=text)
        return Added()

    def close(self) -> None:
        """There is nothing to end."""


@contextmanager
def speaking(home: Home, system: System) -> Iterator[AnyChangeSystem]:
    """Give a conversation with a change system for as long as the `with` lasts.

    Raises:
        ConnectorError: as its methods do; a secret that cannot be read comes out as `Refused`.
    """
    if system.adapter is None:
        yield RegisterSystem(home)
        return
    try:
        conversation = system.adapter(system.name, system.settings)
    except SettingsError as exc:
        raise Refused(f"{system.name}: {exc}") from exc
    try:
        yield conversation
    except SettingsError as exc:
        raise Refused(f"{system.name}: {exc}") from exc
    finally:
        with suppress(ConnectorError):
            conversation.close()


def changes_reader(
    path: Path, adapters: Callable[[], Adapters] = installed_adapters
) -> Callable[[], ChangesFile]:
    """Give a function that reads `changes.yaml` again whenever it has changed.

    The function raises `SettingsError` where the file is not what it should be.
    """
    known: tuple[tuple[int, int] | None, ChangesFile | None] = (None, None)

    def read() -> ChangesFile:
        nonlocal known
        try:
            stat = path.stat()
        except FileNotFoundError:
            return ChangesFile(file=str(path))
        mark = (stat.st_mtime_ns, stat.st_ino)
        if known[1] is None or mark != known[0]:
            known = (mark, load_changes(path, adapters()))
        assert known[1] is not None
        return known[1]

    return read


def say(error: MimrunError) -> str:
    """Give what a change system's error says, on one line."""
    return " ".join(str(error).split())[:400]
