"""Local: programs, scripts and files on the machine that runs mimrun, with no network in between."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, TypeAlias, assert_never

from connectors.local import file, program
from connectors.local.actions import Command, Copy, LocalSettings, Program, Script, Shell
from mimrun.connector import Call, Connector, Difference, Effect, Failed, Finding, Json, Ok, Outcome, Probed

LocalAction: TypeAlias = Command | Shell | Script | Copy


class Local(Connector[LocalSettings, LocalAction]):
    """The machine that runs mimrun."""

    name = "local"
    settings_type = LocalSettings
    actions = (Command, Shell, Script, Copy)
    keywords: ClassVar[frozenset[str]] = frozenset({"become", "environment"})

    def open(self) -> None:
        """Do nothing: the machine is here."""

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _perform(self, action: LocalAction, call: Call) -> Outcome:
        if call.stop.is_set() or call.left() == 0:
            return Failed("called off before anything was begun", clean=True)
        match action:
            case Copy():
                return file.copy(action, call)
            case Command() | Shell() | Script():
                skip = _skip(action)
                if skip:
                    return Ok(changed=False, data=_skipped(skip))
                with _argv(action, call) as argv:
                    return program.run(argv, action, call)
            case _:
                assert_never(action)

    def _probe(self, action: LocalAction, call: Call) -> Probed:
        if not isinstance(action, Copy):
            return _probed(action, call)
        wanted = action.read()
        difference = file.difference(action, wanted)
        finding = Finding.NOT_APPLIED if difference else Finding.APPLIED
        return Probed(finding, difference or f"{action.dest} is as wanted", file.copied(action, wanted))

    def _end(self, action: LocalAction, call: Call) -> str:
        if isinstance(action, Copy):
            return "a file is written by mimrun itself: nothing of it goes on"
        return program.end(call)

    def _check(self, action: LocalAction, call: Call) -> Difference:
        if isinstance(action, Copy):
            difference = file.difference(action, action.read())
            return Difference(bool(difference), difference or f"{action.dest} is as wanted")
        skip = _skip(action)
        if skip:
            return Difference(changes=False, detail=skip)
        if not action.changed:
            return Difference(changes=False, detail="would run; it is said to change nothing")
        return Difference(None, "would run; what it changes is not known")


def _probed(action: Program, call: Call) -> Probed:
    """Say whether a program's path tells that it was done. One that began and made no path is in doubt."""
    if action.effect_class() is Effect.ONCE:
        return Probed(
            Finding.UNKNOWN, f"nothing tells whether local.{action.verb} has run: no creates, no removes"
        )
    living = ", ".join(map(str, program.living(call.key)))
    if living:
        return Probed(Finding.UNKNOWN, f"it still runs: processes {living}")
    skip = _skip(action)
    if skip:
        return Probed(Finding.APPLIED, f"{skip}, and none of its processes is seen", _skipped(skip))
    path = f"{action.creates} is not there" if action.creates else f"{action.removes} is still there"
    return Probed(Finding.UNKNOWN, f"{path}, none of its processes is seen, and it may have done a part")


def _skipped(why: str) -> Mapping[str, Json]:
    return {"rc": 0, "stdout": "", "stderr": "", "skipped": why}


def _skip(action: Program) -> str:
    if action.creates and Path(action.creates).exists():
        return f"{action.creates} is there already"
    if action.removes and not Path(action.removes).exists():
        return f"{action.removes} is not there"
    return ""


@contextmanager
def _argv(action: Command | Shell | Script, call: Call) -> Iterator[list[str]]:
    """Give the whole argument list; a script's text lies in a file of its own while it runs."""
    before = program.become_words(call)
    match action:
        case Command():
            yield [*before, *action.argv]
        case Shell():
            yield [*before, action.executable, "-c", action.cmd]
        case Script():
            text = action.read()
            with tempfile.TemporaryDirectory(prefix="mimrun-script-") as folder:
                path = Path(folder, "script")
                path.write_bytes(text)
                if before:  # another user has to read it
                    path.chmod(0o644)
                    Path(folder).chmod(0o755)
                yield [*before, *_interpreter(action, text), str(path), *action.args]
        case _:
            assert_never(action)


def _interpreter(action: Script, text: bytes) -> list[str]:
    """Read the `#!` line as the kernel does: a program and at most one argument (execve(2))."""
    if action.executable:
        return [action.executable]
    first = text.split(b"\n", 1)[0]
    words = os.fsdecode(first[2:]).strip().split(None, 1) if first.startswith(b"#!") else []
    return words or ["/bin/sh"]
