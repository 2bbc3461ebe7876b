"""An incident on its page: the rail of its stages, its clocks, and what may be done next, from how it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from mimrun.incident.incident import Clock, Clocks, Incident
from mimrun.incident.stage import MEANING, MOVES, STAGES, Needs
from mimrun.log.kinds import Stage
from mimrun.log.moment import read_moment


@dataclass(frozen=True, slots=True)
class Stop:
    """A stage on the rail."""

    name: Stage
    state: Literal["past", "here", "to come"]
    note: str


@dataclass(frozen=True, slots=True)
class Ticking:
    """A clock.

    Arguments:
        since: it runs since then; "" where it does not run.
        took: seconds, where it has stopped.
        at: when it stopped, or began.
        note: where what it shows is somebody's word.
    """

    label: str
    since: str = ""
    took: float | None = None
    at: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """A stage that the incident may go to.

    Arguments:
        asks: what the move asks for, for whoever makes it; "" for nothing.
    """

    to: Stage
    meaning: str
    asks: str = ""


_ASKS: Final = {
    Needs.NOTHING: "",
    Needs.REASON: "say why it goes back",
    Needs.PROOF: "contained: shown by the last verified step of its runs, or say why nothing had to be contained",
}
_WORD: Final = {"event": "", "seen": "by somebody's word", "estimate": "estimated", "": ""}
_TO: Final = (("acknowledged", "To acknowledge"), ("contained", "To contain"), ("restored", "To restore"))


def rail_of(state: Incident) -> tuple[Stop, ...]:
    """Give the stages, each with where the incident is."""
    here = STAGES.index(state.stage)
    over = state.status == "closed"
    stops = []
    for number, name in enumerate(STAGES):
        past = number < here or over
        stops.append(
            Stop(name, "past" if past else "here" if number == here else "to come", _note(state, name))
        )
    return tuple(stops)


def _note(state: Incident, stage: Stage) -> str:
    clocks = state.clocks
    match stage:
        case "containment" if clocks.contained:
            return f"contained {clocks.contained.at[11:19]}"
        case "containment" if state.uncontained:
            return "nothing had to be contained"
        case "resolution" if clocks.resolved:
            return f"resolved {clocks.resolved.at[11:19]}"
        case "maintenance" if clocks.closed:
            return f"closed {clocks.closed.at[11:19]}"
        case _:
            return MEANING[stage]


def clocks_of(state: Incident) -> tuple[Ticking, ...]:
    """Give the clocks: how long it goes on, and how long what the figures are made of took, or takes."""
    clocks = state.clocks
    began_by, began = _first(clocks, "started", "detected", "declared")
    told_by, told = _first(clocks, "detected", "declared")
    end = clocks.restored or clocks.resolved
    note = f"since it {began_by}" if began_by == "started" else f"since it was {began_by}"
    going = _clock("Lasted" if end else "Going on", began, end, state)
    word = _WORD[began.source]
    found = [Ticking(going.label, going.since, going.took, began.at, f"{note}{', ' if word else ''}{word}")]
    for name, label in _TO:
        one: Clock = getattr(clocks, name)
        made = _clock(label, told, one, state)
        said = f"from {told_by}" if made.took is not None or made.since else ""
        found.append(Ticking(made.label, made.since, made.took, one.at, said))
    return tuple(found)


def _first(clocks: Clocks, *names: str) -> tuple[str, Clock]:
    """Give the first clock that is known, with its name; the last name where none is."""
    known = ((name, getattr(clocks, name)) for name in names)
    return next(((name, clock) for name, clock in known if clock), (names[-1], Clock()))


def _clock(label: str, began: Clock, ended: Clock, state: Incident) -> Ticking:
    if not began:
        return Ticking(label)
    if ended:
        return Ticking(label, took=max(_seconds(began.at, ended.at), 0.0))
    return Ticking(label, since=began.at if state.status == "open" else "")


def _seconds(began: str, ended: str) -> float:
    return (read_moment(ended) - read_moment(began)).total_seconds()


def moves_of(state: Incident) -> tuple[Move, ...]:
    """Give the stages that an incident that is open may go to by a plain move."""
    if state.status != "open":
        return ()
    ways = ((to, needs) for (was, to), needs in MOVES.items() if was == state.stage)
    return tuple(Move(to, MEANING[to], _ASKS[needs]) for to, needs in ways if needs in _ASKS)


def times_of(state: Incident) -> Iterator[tuple[str, str, str]]:
    """Give every moment that is known: its name, when, and whose word that is."""
    for name, clock in state.clocks.items():
        if clock:
            yield name, clock.at, _WORD[clock.source]
