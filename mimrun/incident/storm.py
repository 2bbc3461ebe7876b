"""The storm guard: how much rules may do by themselves, and what becomes of it when they would do more.

Rules launch so many runs in an hour, over all and of one runbook, and ask people for so much. What would be more is
a storm: from then on they only propose, in one parent incident, until somebody says that they may launch again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from mimrun.log.entry import LogEntry
from mimrun.log.kinds import RuleFired, StormBegan, StormEnded
from mimrun.log.moment import read_moment, write_moment
from mimrun.log.store import Store, View
from mimrun.runbook.duration import Duration
from mimrun.runbook.model import Part

HOUR: Final = timedelta(hours=1)
MOST: Final = 100
"""The largest limit: so many of the last things that rules did are kept to count by."""
KEPT: Final = timedelta(hours=24)
"""So long what rules did is kept: the longest time that a resource can rest."""

Did: TypeAlias = Literal["launched", "proposed", "notified", "failed"]


class Limits(Part):
    """How much rules may do; `limits.yaml` in the folder of the rules says it."""

    runs_per_hour: int = Field(20, ge=0, le=MOST, description="So many runs all rules together launch.")
    runs_per_runbook: int = Field(
        3, ge=0, le=MOST, description="So many runs of one runbook they launch in an hour."
    )
    cool_down: Duration = Field(
        15 * 60_000,
        le=24 * 3_600_000,
        description="So long a group, and a resource that a run has locked, is left alone after it.",
    )
    asks_per_hour: int = Field(
        60,
        ge=1,
        le=MOST,
        description="So many proposals and notices in an hour are no storm; in a storm so many are made at most.",
    )


class Done(BaseModel):
    """One thing that a rule did."""

    model_config = ConfigDict(frozen=True)

    at: str
    did: Did
    rule: str
    incident: str = ""
    run: str = ""


class Budget(BaseModel):
    """What rules have done lately, and whether there is a storm.

    Arguments:
        done: the last of it, the oldest first; nothing from before the last storm.
        storm: the entry that says that there is one, or 0.
        incident: the parent incident of a storm.
    """

    model_config = ConfigDict(frozen=True)

    done: tuple[Done, ...] = ()
    storm: int = 0
    incident: str = ""
    reason: str = ""
    since: str = ""

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Budget:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)

    def lately(self, now: datetime, *, within: timedelta = HOUR) -> tuple[Done, ...]:
        """Give what was done in the time before a moment."""
        since = write_moment(now - within)
        return tuple(one for one in self.done if one.at > since)

    def launched(self, now: datetime, *, within: timedelta = HOUR) -> tuple[Done, ...]:
        """Give the runs that were launched in the time before a moment."""
        return tuple(one for one in self.lately(now, within=within) if one.did == "launched")

    def asked(self, now: datetime) -> int:
        """Say how often people were asked for something, or told, in the hour before a moment; in a storm since then."""
        since = self.since if self.storm else write_moment(now - HOUR)
        return sum(one.did != "launched" and one.at >= since for one in self.done)

    def after(
        self,
        body: RuleFired | StormBegan | StormEnded,
        at: str,
        *,
        seq: int = 0,
        inc: str = "",
        run: str = "",
    ) -> Budget:
        """Give the state after one more entry.

        Arguments:
            at: the moment of the entry.
            seq, inc, run: its number, incident and run.
        """
        match body:
            case StormBegan() if not self.storm:
                news = {"storm": seq, "incident": body.incident, "reason": body.reason, "since": at}
                return self.model_copy(update=news)
            case StormEnded() if self.storm:
                # From here on everything counts anew; else the first firing would be the next storm.
                return Budget()
            case RuleFired() if body.outcome != "held":
                one = Done(at=at, did=body.outcome, rule=body.rule, incident=inc, run=run)
                return self.model_copy(update={"done": _newest((*self.done, one))})
            case _:
                return self


def _newest(done: Sequence[Done]) -> tuple[Done, ...]:
    """Keep what counts still: of runs and of the rest so many, and nothing that is too old."""
    since = write_moment(read_moment(done[-1].at) - KEPT)
    runs = [one for one in done if one.did == "launched" and one.at > since][-MOST:]
    rest = [one for one in done if one.did != "launched" and one.at > since][-MOST:]
    return tuple(sorted((*runs, *rest), key=lambda one: one.at))


class Budgets:
    """The projector: the one budget of this log."""

    name: Final = "storm/1"

    def empty(self) -> bytes:
        """Rules have done nothing yet."""
        return Budget().encode()

    def key(self, entry: LogEntry) -> str | None:
        """What rules do, and storms, touch the one state."""
        return "rules" if isinstance(entry.body, RuleFired | StormBegan | StormEnded) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the state after an entry."""
        body = entry.body
        if not isinstance(body, RuleFired | StormBegan | StormEnded):
            return state
        was, at = Budget.decode(state), write_moment(entry.ts)
        now = was.after(body, at, seq=entry.seq, inc=entry.inc, run=entry.run)
        return state if now is was else now.encode()


def budget_in(view: Store | View) -> Budget:
    """Read what rules have done lately."""
    return Budget.decode(view.projection(Budgets.name, "rules"))


def trips(limits: Limits, budget: Budget, now: datetime, *, runbook: str, of: Mapping[str, str]) -> str:
    """Say why one more run would be a storm; "" where it would not.

    Arguments:
        runbook: the one to be launched.
        of: by run that was launched, its runbook.
    """
    runs = budget.launched(now)
    same = Counter(of.get(one.run, "") for one in runs)[runbook]
    if same >= limits.runs_per_runbook:
        return f"{same} runs of {runbook} were launched within the hour; {limits.runs_per_runbook} may be"
    if len(runs) >= limits.runs_per_hour:
        return f"{len(runs)} runs were launched within the hour; {limits.runs_per_hour} may be"
    return ""


def floods(limits: Limits, budget: Budget, now: datetime) -> str:
    """Say why asking people once more would be a storm; "" where it would not."""
    asked = budget.asked(now)
    if asked < limits.asks_per_hour:
        return ""
    return f"people were asked or told {asked} times within the hour; {limits.asks_per_hour} is the most"


def has_room(limits: Limits, budget: Budget, now: datetime) -> bool:
    """Say whether people may be asked anew about something: half of the limit is for what is new."""
    return budget.asked(now) * 2 < limits.asks_per_hour
