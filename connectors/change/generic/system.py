"""Asking a tool as `changes.yaml` says, and reading its answers as `changes.yaml` says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from connectors.change.fields import MISSING, Found, Reading
from connectors.change.generic.path import every, one
from connectors.change.generic.settings import DECIDING, PLACE, Ask, GenericHttpSettings, Moment, Place
from connectors.change.web import Reply, Web
from mimrun.change_system import (
    Added,
    Addition,
    ChangeDraft,
    ChangeRecord,
    ChangeSystem,
    ChangeVote,
    Conflict,
    Refused,
    Unreachable,
    Window,
    read_secret,
)
from mimrun.connector import Json

TRIES: Final = 3
UNSAID: Final = "changes.yaml does not say where it stands, nor that the tool does not have it"


class GenericHttp(ChangeSystem[GenericHttpSettings]):
    """Changes in any tool that speaks JSON over HTTP."""

    Settings = GenericHttpSettings

    def __init__(self, name: str, settings: GenericHttpSettings) -> None:
        super().__init__(name, settings)
        logins = {header: read_secret(where).reveal() for header, where in settings.secret_headers.items()}
        self._web = Web(
            settings.url,
            {**settings.headers, **logins},
            timeout_s=settings.timeout_s,
            ca_file=settings.ca_file,
        )

    def read(self, ref: str) -> ChangeRecord:
        """Read a record, and its approvals where they are an answer of their own, as they are at one moment."""
        self._require_ref(ref)
        s = self.settings
        for _ in range(TRIES):
            reply = self._ask(s.record, {"ref": ref})
            asked = self._ask(s.approvals, {"ref": ref}).value if s.approvals else MISSING
            if s.approvals is None or self._version(self._ask(s.record, {"ref": ref})) == self._version(
                reply
            ):
                return _Mapped(self.name, ref, s, reply.value, asked).record(self._version(reply))
        raise Unreachable(f"{self.name}: {ref} is being changed while it is read; ask again")

    def find(self, key: str) -> str:
        """Give the reference of the record whose key is exactly this one."""
        find = self.settings.find
        if find is None:
            raise Refused(f"{self.name}: changes.yaml does not say how a record is found by its key")
        for found in every(self._ask(find, {"key": key}).value, find.each):
            if one(found, find.key) == key:
                ref = Reading().text("ref", one(found, find.ref))
                self._require_ref(ref)
                return ref
        return ""

    def create(self, draft: ChangeDraft) -> str:
        """Make a record, and look whether the tool kept what its approval is for."""
        create = self.settings.create
        if create is None:
            raise Refused(f"{self.name}: changes.yaml does not say how a record is made")
        ref = Reading().text("ref", one(self._ask(create, self._of_draft(draft)).value, create.ref))
        self._require_ref(ref)
        record = self.read(ref)
        kept = {"run": (record.run, draft.run), "digest": (record.digest, draft.digest)}
        lost = [name for name, (there, given) in kept.items() if name not in record.absent and there != given]
        if lost:
            raise Refused(f"{self.name}: {ref} is made, and does not hold {', '.join(lost)} as it was given")
        return ref

    def add(self, ref: str, addition: Addition) -> Added:
        """Add a fact, as the file says; the key of what was added stands in the text that is written last."""
        self._require_ref(ref)
        s, mark = self.settings, f"[mimrun {addition.key}]"
        asks = s.add.get(addition.what)
        if asks is None or s.notes is None:
            return Added(detail=f"changes.yaml does not say how {addition.what} is written to {self.name}")
        for note in every(self._ask(s.notes, {"ref": ref}).value, s.notes.each):
            text = one(note, s.notes.text)
            if isinstance(text, str) and mark in text:
                return Added(already=True)
        values: dict[str, Json] = {
            "ref": ref,
            "text": f"{addition.text} {mark}",
            "at": self._time(addition.at),
            "url": addition.url,
            "successful": addition.successful,
            "outcome": "successful" if addition.successful else "failed",
        }
        for ask in asks:
            self._ask(ask, values)
        return Added()

    def close(self) -> None:
        """End the conversation."""
        self._web.close()

    def _ask(self, ask: Ask, values: Mapping[str, Json]) -> Reply:
        path = PLACE.sub(lambda found: quote(str(values[found[1]]), safe=""), ask.path)
        params = {name: _said(_filled(text, values)) for name, text in ask.params.items()}
        return self._web.ask(ask.method, path, params=params or None, body=_filled(ask.body, values))

    def _require_ref(self, ref: str) -> None:
        if not re.fullmatch(self.settings.ref_pattern, ref, re.ASCII):
            raise Refused(f"{self.name}: {ref[:60]!r} is not a reference as ref_pattern has it")

    def _version(self, reply: Reply) -> str:
        place = self.settings.fields.version
        if place is None:
            return reply.headers.get("etag", "")
        return Reading().text("version", one(reply.value, place.at))

    def _of_draft(self, draft: ChangeDraft) -> dict[str, Json]:
        window = draft.window
        return {
            "key": draft.key,
            "type": draft.type,
            "title": draft.title,
            "risk": draft.risk,
            "justification": draft.justification,
            "plan": draft.plan,
            "backout": draft.backout,
            "test": draft.test,
            "targets": list(draft.targets),
            "window_start": self._time(window.start if window else None),
            "window_end": self._time(window.end if window else None),
            "run": draft.run,
            "digest": draft.digest,
            "requested_by": draft.requested_by,
            "incident": draft.incident,
        }

    def _time(self, moment: datetime | None) -> str:
        return moment.astimezone(UTC).strftime(self.settings.time_format) if moment else ""


class _Mapped:
    """A record as the file says it is to be read."""

    def __init__(
        self, system: str, ref: str, settings: GenericHttpSettings, value: Json, approvals: Found
    ) -> None:
        self._system, self._ref, self._settings = system, ref, settings
        self._answers: dict[str, Found] = {"record": value, "approvals": approvals}
        self._reading = Reading()

    def record(self, version: str) -> ChangeRecord:
        """Read every field; what the file does not speak of, and no field in a wrong form, is ever guessed."""
        s, f, reading = self._settings, self._settings.fields, self._reading
        if (said := Reading().text("ref", self._at(f.ref))) != self._ref:
            raise Refused(f"{self._system}: asked for {self._ref}, and the answer is about {said[:60]!r}")
        for name in DECIDING:
            if name not in s.mapped() and name not in s.absent:
                reading.miss(name, UNSAID)
        raw = reading.text("state", self._at(f.state), needed=True) if f.state else ""
        return ChangeRecord(
            system=self._system,
            ref=self._ref,
            url=s.page.replace("{ref}", quote(self._ref, safe="")),
            type=reading.choice("type", self._at(f.type), f.type.map) if f.type else None,
            title=reading.words("title", self._at(f.title)) if f.title else "",
            state=reading.choice("state", raw, s.state_map) if raw else None,
            raw_state=raw,
            approval=reading.choice("approval", self._at(f.approval), f.approval.map) if f.approval else None,
            votes=self._votes(),
            window=self._window(),
            on_hold=reading.flag("on_hold", self._at(f.on_hold)) if f.on_hold else False,
            conflicts=self._conflicts(),
            conflicts_at=self._moment("conflicts_at", f.conflicts_at),
            targets=reading.names("targets", self._at(f.targets)) if f.targets else (),
            requested_by=self._text("requested_by", f.requested_by),
            run=self._text("run", f.run),
            digest=self._text("digest", f.digest),
            version=version,
            runbook=self._text("runbook", f.runbook),
            valid_until=self._moment("valid_until", f.valid_until),
            backout=reading.words("backout", self._at(f.backout)) if f.backout else "",
            retrospective=reading.flag("retrospective", self._at(f.retrospective))
            if f.retrospective
            else False,
            unreadable=reading.unreadable,
            absent=frozenset(s.absent),
        )

    def _at(self, place: Place) -> Found:
        return one(self._answers[place.source], place.at)

    def _text(self, name: str, place: Place | None) -> str:
        return self._reading.text(name, self._at(place)) if place else ""

    def _moment(self, name: str, place: Moment | None) -> datetime | None:
        return self._reading.time(name, self._at(place), zone=_zone(place.zone)) if place else None

    def _window(self) -> Window | None:
        rule = self._settings.fields.window
        if rule is None:
            return None
        value = self._answers["record"]
        return self._reading.window(one(value, rule.start), one(value, rule.end), zone=_zone(rule.zone))

    def _votes(self) -> tuple[ChangeVote, ...]:
        rule, reading = self._settings.fields.votes, self._reading
        if rule is None:
            return ()
        answer = self._answers[rule.source]
        rows = _list(answer, rule.each)
        if rows is None:
            reading.miss("votes", f"the answer has no {rule.each}")
            return ()
        if rule.total is not None and one(answer, rule.total) != len(rows):
            reading.miss("votes", f"the answer has {len(rows)} of them, and not as many as {rule.total} says")
        votes = []
        for row in rows:
            account = reading.text("votes", one(row, rule.account), needed=True)
            said = reading.choice("votes", one(row, rule.decision), rule.map)
            when = reading.time("votes", one(row, rule.at), zone=_zone(rule.zone)) if rule.at else None
            why = reading.words("votes", one(row, rule.reason), longest=1000) if rule.reason else ""
            votes.append(ChangeVote(account, None if said == "none" else said, when, why))
        self._look_at_edits(votes)
        return () if "votes" in reading.unreadable else tuple(votes)

    def _look_at_edits(self, votes: list[ChangeVote]) -> None:
        """Name it where the record was changed after somebody approved it."""
        place = self._settings.fields.edited_at
        edited = self._moment("votes", place)
        if place is None:
            return
        for vote in votes:
            if vote.decision == "approved" and (edited is None or vote.at is None or vote.at < edited):
                self._reading.miss(
                    "votes", f"it was changed after {vote.account} approved it, or it is not known when"
                )

    def _conflicts(self) -> tuple[Conflict, ...]:
        rule, reading = self._settings.fields.conflicts, self._reading
        if rule is None:
            return ()
        rows = _list(self._answers["record"], rule.each)
        if rows is None:
            reading.miss("conflicts", f"the answer has no {rule.each}")
            return ()
        return tuple(
            Conflict(
                reading.text("conflicts", one(row, rule.type), needed=True),
                reading.text("conflicts", one(row, rule.record)) if rule.record else "",
            )
            for row in rows
        )


def _list(answer: Found, path: str) -> list[Json] | None:
    """Give the elements that a path names; None where the list itself is not there: an empty one is an answer."""
    rows = every(answer, path)
    if rows:
        return rows
    whole = one(answer, re.sub(r"(\[\*\]|\[\?[^\]]*\])$", "", path))
    return [] if isinstance(whole, list) else None


def _zone(name: str) -> ZoneInfo | None:
    return ZoneInfo(name) if name else None


def _filled(value: Json, values: Mapping[str, Json]) -> Json:
    """Put values in the place of words in braces, once: what a value holds is not looked at again."""
    if isinstance(value, str):
        if (whole := PLACE.fullmatch(value)) is not None:
            return values[whole[1]]
        return PLACE.sub(lambda found: _said(values[found[1]]), value)
    if isinstance(value, dict):
        return {name: _filled(inner, values) for name, inner in value.items()}
    return [_filled(inner, values) for inner in value] if isinstance(value, list) else value


def _said(value: Json) -> str:
    return ", ".join(str(part) for part in value) if isinstance(value, list) else str(value)
