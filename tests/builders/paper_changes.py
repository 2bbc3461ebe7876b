"""A change system on paper: each record is a file in a folder, and the weather says which calls fail, and how.

It is a real adapter under the real contract; what is simple about it is the outside system. `weather` is a file with a
word for each call that is to come: `fine`, `down`, `lost` (done, and the answer is lost), `refused`; when it is empty
all is well.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import Field

from mimrun.change_system import (
    Added,
    Addition,
    ChangeApproval,
    ChangeDraft,
    ChangeRecord,
    ChangeState,
    ChangeSystem,
    ChangeSystemSettings,
    ChangeVote,
    LostAnswer,
    Refused,
    Unreachable,
    Window,
)

T = TypeVar("T")


class PaperSettings(ChangeSystemSettings):
    folder: str = Field(description="Where the records are.")


class Paper(ChangeSystem[PaperSettings]):
    """Keeps records as files."""

    Settings = PaperSettings

    @property
    def folder(self) -> Path:
        return Path(self.settings.folder)

    def read(self, ref: str) -> ChangeRecord:
        return self._weather("read", lambda: self._record(ref))

    def find(self, key: str) -> str:
        def search() -> str:
            records = ((path.stem, json.loads(path.read_text())) for path in self.folder.glob("P*.json"))
            return next((ref for ref, record in sorted(records) if record["key"] == key), "")

        return self._weather("find", search)

    def create(self, draft: ChangeDraft) -> str:
        def make() -> str:
            ref = f"P{len(list(self.folder.glob('P*.json'))) + 1}"
            window = draft.window
            write(
                self.folder,
                ref,
                key=draft.key,
                type=draft.type,
                title=draft.title,
                plan=draft.plan,
                backout=draft.backout,
                targets=list(draft.targets),
                run=draft.run,
                digest=draft.digest,
                state="authorize",
                approval="requested",
                votes=[],
                additions=[],
                window=[window.start.isoformat(), window.end.isoformat()] if window else None,
            )
            return ref

        return self._weather("create", make)

    def add(self, ref: str, addition: Addition) -> Added:
        def note() -> Added:
            record = read(self.folder, ref)
            mark = f"[mimrun {addition.key}]"
            if any(mark in text for _, text in record["additions"]):
                return Added(already=True)
            record["additions"].append([addition.what, f"{addition.text} {addition.url} {mark}"])
            write(self.folder, ref, **record)
            return Added()

        return self._weather("add", note)

    def close(self) -> None:
        pass

    def _record(self, ref: str) -> ChangeRecord:
        try:
            record = read(self.folder, ref)
        except FileNotFoundError as exc:
            raise Refused(f"there is no record {ref}") from exc
        start, end = record["window"] or (None, None)
        return ChangeRecord(
            system=self.name,
            ref=ref,
            url=f"paper://{ref}",
            type=record["type"],
            title=record["title"],
            state=ChangeState(record["state"]),
            raw_state=record["state"],
            approval=ChangeApproval(record["approval"]),
            votes=tuple(ChangeVote(account, said, None, reason) for account, said, reason in record["votes"]),
            window=Window(datetime.fromisoformat(start), datetime.fromisoformat(end)) if start else None,
            targets=tuple(record["targets"]),
            run=record["run"],
            digest=record["digest"],
            unreadable=dict(record.get("unreadable", {})),
            absent=frozenset({"conflicts_at", "conflicts", "requested_by"}),
        )

    def _weather(self, call: str, do: Callable[[], T]) -> T:
        with (self.folder / "calls").open("a") as calls:
            calls.write(f"{call}\n")
        path = self.folder / "weather"
        words = path.read_text().split() if path.exists() else []
        word, rest = (words[0], words[1:]) if words else ("fine", [])
        path.write_text(" ".join(rest))
        match word:
            case "down":
                raise Unreachable("nobody is at the desk")
            case "refused":
                raise Refused("this hand may not write here")
            case "lost":
                do()
                raise LostAnswer("the answer was lost on the way")
            case _:
                return do()


def write(folder: Path, ref: str, **record: Any) -> None:
    """Write a record."""
    (folder / f"{ref}.json").write_text(json.dumps(record))


def read(folder: Path, ref: str) -> dict[str, Any]:
    """Read a record."""
    found: dict[str, Any] = json.loads((folder / f"{ref}.json").read_text())
    return found


def decide(folder: Path, ref: str, account: str, said: str = "approved", reason: str = "") -> None:
    """Let somebody decide about a record there."""
    record = read(folder, ref)
    record["votes"] = [*record["votes"], [account, said, reason]]
    changed: dict[str, Any] = (
        {"approval": "approved", "state": "scheduled"}
        if said == "approved"
        else {"approval": "rejected", "state": "draft"}
    )
    write(folder, ref, **(record | changed))


def calls(folder: Path) -> list[str]:
    """Give every call that was made."""
    path = folder / "calls"
    return path.read_text().split() if path.exists() else []


def additions(folder: Path, ref: str) -> list[str]:
    """Give what was added to a record: the kinds, in order."""
    return [what for what, _ in read(folder, ref)["additions"]]


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the adapter be found as one that is installed."""
    point = EntryPoint("paper", "builders.paper_changes:Paper", "mimrun.change_systems")
    monkeypatch.setattr("mimrun.app.change.file.entry_points", lambda group: [point])
