"""Incidents as people see them: listed, found by what somebody types, and how each stands."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches

from pydantic import JsonValue

from mimrun.app.home import Home
from mimrun.app.naming import PACK
from mimrun.app.priority import declared_in
from mimrun.errors import InputError, LogError
from mimrun.gate.priority import Declared, Priorities
from mimrun.incident.incident import Clock, Incident, Incidents, incident_in
from mimrun.log.kinds import AlertReceived, Kind
from mimrun.log.moment import write_moment
from mimrun.run.record.summary import RunSummaries, RunSummary
from mimrun.run.record.transitions import TERMINAL, RunStatus


@dataclass(frozen=True, slots=True)
class IncidentView:
    """An incident as a person sees it.

    Arguments:
        title: as it was declared, or of the run that opened it.
        declared: how urgent it is at gates, and who said so.
        runs: the newest first.
        state: everything else about it.
    """

    name: str
    title: str
    opened_at: str
    opened_by: str
    declared: Declared
    runs: tuple[RunSummary, ...]
    state: Incident

    @property
    def is_pack(self) -> bool:
        """Say whether it is a sealed pack, which is kept like an incident and is none."""
        return self.name.startswith(PACK)

    @property
    def is_open(self) -> bool:
        """Say whether something is left to do in it, as far as anybody can tell."""
        return self.state.status != "closed" and not self.is_quiet

    @property
    def is_quiet(self) -> bool:
        """Say whether it is there only because runs belong to an incident: all went well, and nobody said a word of it."""
        state = self.state
        said = state.clocks.declared or state.roles or state.links or state.alerted or state.reopened
        well = all(run.status is RunStatus.SUCCEEDED for run in self.runs)
        return bool(self.runs) and well and not said and state.stage == "identification"

    @property
    def busy(self) -> int:
        """How many of its runs are not over."""
        return sum(run.status not in TERMINAL for run in self.runs)

    def as_json(self) -> dict[str, JsonValue]:
        """The incident for `--json`."""
        declared: dict[str, JsonValue] = self.declared.model_dump(mode="json", exclude={"seq"})
        hidden = {"name", "title", "opened", "opened_at", "opened_by", "priority", "runs", "alerted"}
        return {
            "incident": self.name,
            "title": self.title,
            "open": self.is_open,
            "opened_at": self.opened_at,
            "opened_by": self.opened_by,
            "priority": self.declared.priority,
            "declared": declared if self.declared.seq else None,
            "assessed_priority": self.state.priority or None,
            **self.state.model_dump(mode="json", exclude=hidden),
            "runs": [
                {
                    "run": run.run,
                    "title": run.title,
                    "status": run.status.value,
                    "launched_by": run.launched_by,
                }
                for run in self.runs
            ],
        }


def list_incidents(home: Home, *, alerts: bool = True) -> list[IncidentView]:
    """Give every incident, the newest first; sealed packs among them.

    Arguments:
        alerts: read of each what its first alert says; `told_by_alert` does it for those that somebody looks at.
    """
    runs: dict[str, list[RunSummary]] = {}
    for _, state in home.store.projections(RunSummaries.name):
        summary = RunSummary.decode(state)
        if summary.run:
            runs.setdefault(summary.incident, []).append(summary)
    said = {name: Declared.model_validate_json(one) for name, one in home.store.projections(Priorities.name)}
    found = [
        _view(state, runs.get(state.name, ()), said.get(state.name, Declared()))
        for state in _newest_first(home)
    ]
    return [told_by_alert(home, one) for one in found] if alerts else found


def told_by_alert(home: Home, view: IncidentView) -> IncidentView:
    """Give an incident with what its first alert says of when it began and was noticed."""
    return replace(view, state=with_alert(home, view.state))


def find_incident(home: Home, name: str) -> IncidentView:
    """Give one incident by its name, the beginning of its name, or `latest`.

    `latest` is the newest that is not closed; where all of them are, the newest.

    Raises:
        InputError: there is none, or more than one begins so.
    """
    state = find_state(home, name)
    created = home.store.entries(inc=state.name, kinds={Kind.RUN_CREATED})
    runs = (
        RunSummary.decode(home.store.projection(RunSummaries.name, run))
        for run in dict.fromkeys(entry.run for entry in created)
    )
    return told_by_alert(home, _view(state, runs, declared_in(home.store, state.name)))


def incident_name(home: Home, word: str) -> str:
    """Give the name of an incident that somebody typed as for `find_incident`.

    One whose entries are in the log is found by its full name also where nothing says that it was opened.

    Raises:
        InputError: there is none, or more than one begins so.
    """
    return word if next(home.store.readable(inc=word), None) is not None else find_state(home, word).name


def find_state(home: Home, name: str) -> Incident:
    """Say how an incident stands; see `find_incident`.

    Raises:
        InputError: there is none, or more than one begins so.
    """
    for wanted in dict.fromkeys((name, name.upper())):
        found = incident_in(home.store, wanted)
        if found.opened:
            return found
    every = _newest_first(home)
    real = [one for one in every if not one.name.startswith(PACK)]
    if name == "latest" and real:
        return next((one for one in real if one.status != "closed"), real[0])
    begun = [one for one in every if name and one.name.startswith(name.upper())]
    if len(begun) == 1:
        return begun[0]
    if begun:
        raise InputError(f"{name!r} is the beginning of {', '.join(o.name for o in begun[:5])}; write more")
    known = ", ".join(one.name for one in real[:5]) or "none yet"
    close = get_close_matches(name.upper(), [one.name for one in every], n=1, cutoff=0.8)
    meant = f"did you mean {close[0]}? " if close else ""
    raise InputError(f"the log has no incident {name!r}; {meant}the last ones are: {known}")


def declared_incidents(home: Home) -> list[Incident]:
    """Give the incidents that somebody, or a rule, declared and that are not resolved, the newest first."""
    return [one for one in _newest_first(home) if one.clocks.declared and one.status == "open"]


def newest_incident(home: Home) -> Incident | None:
    """Give the incident that was opened last; None where there is none yet."""
    return next((one for one in _newest_first(home) if not one.name.startswith(PACK)), None)


def _newest_first(home: Home) -> list[Incident]:
    states = (Incident.decode(state) for _, state in home.store.projections(Incidents.name))
    return sorted((one for one in states if one.opened), key=lambda one: one.opened, reverse=True)


def _view(state: Incident, runs: Iterable[RunSummary], declared: Declared) -> IncidentView:
    return IncidentView(
        state.name,
        state.title,
        state.opened_at,
        state.opened_by,
        declared,
        tuple(sorted(runs, key=lambda run: run.first_seq, reverse=True)),
        state,
    )


def with_alert(home: Home, state: Incident) -> Incident:
    """Give an incident with what its first alert says of when it began and was noticed, unless somebody said so.

    An alert belongs to no incident when it comes in; the rule that attached it names it.
    """
    clocks = state.clocks
    if not state.alerted or (clocks.started and clocks.detected):
        return state
    with suppress(LogError):
        alert = home.store.entry(state.alerted)
        if isinstance(alert.body, AlertReceived):
            event = Clock(at=write_moment(alert.ts), source="event", seq=alert.seq)
            began = Clock(
                at=alert.body.starts_at, source="event" if alert.body.starts_at else "", seq=alert.seq
            )
            told = {"detected": clocks.detected or event, "started": clocks.started or began}
            return state.model_copy(update={"clocks": clocks.model_copy(update=told)})
    return state
