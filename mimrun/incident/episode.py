"""Episodes: what a rule has done about one group of alerts, from its first firing until nothing burns any more.

An episode fires once, whoever looks and however often: the state of its group is looked at in the transaction that
records the firing. What was held back may fire once more, when nothing holds it any more and it still burns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from mimrun.log.entry import LogEntry
from mimrun.log.kinds import RuleEnded, RuleFired
from mimrun.log.moment import write_moment
from mimrun.log.store import Store, View

Outcome: TypeAlias = Literal["", "notified", "proposed", "launched", "held", "failed"]


class Episode(BaseModel):
    """How it stands with one group of a rule.

    Arguments:
        episode: the last one, "" where there was none yet.
        seq: the entry of its last firing.
        outcome: what the rule did then; `held` where nothing was done yet.
        fired_at: when.
        incident: which it belongs to, or "".
        proposal, run: what came of it.
        last_run: the last run that was launched for the group, perhaps for an earlier episode.
        ended_at: when it was over; "" while it goes on.
        count: how many episodes there were.
    """

    model_config = ConfigDict(frozen=True)

    rule: str = ""
    group: str = ""
    episode: str = ""
    seq: int = 0
    outcome: Outcome = ""
    reason: str = ""
    fired_at: str = ""
    incident: str = ""
    proposal: str = ""
    run: str = ""
    last_run: str = ""
    ended_at: str = ""
    count: int = 0

    @property
    def goes_on(self) -> bool:
        """Say whether it is not over."""
        return bool(self.episode) and not self.ended_at

    @property
    def held(self) -> bool:
        """Say whether it goes on, and nothing was done about it yet."""
        return self.goes_on and self.outcome == "held"

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Episode:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)

    def after(
        self, body: RuleFired | RuleEnded, at: str, *, seq: int = 0, inc: str = "", run: str = ""
    ) -> Episode:
        """Give the state after one more entry.

        Arguments:
            at: the moment of the entry.
            seq, inc, run: its number, incident and run.
        """
        if isinstance(body, RuleEnded):
            return self.model_copy(update={"ended_at": at}) if body.episode == self.episode else self
        return Episode(
            rule=body.rule,
            group=body.group,
            episode=body.episode,
            seq=seq,
            outcome=body.outcome,
            reason=body.reason,
            fired_at=at,
            # What an earlier episode of the group opened may be open still.
            incident=inc or self.incident,
            proposal=body.proposal,
            run=run,
            last_run=run or self.last_run,
            count=self.count + (body.episode != self.episode),
        )


class Episodes:
    """The projector: rule and group → the last episode."""

    name: Final = "episodes/1"

    def empty(self) -> bytes:
        """A group that no rule has heeded."""
        return Episode().encode()

    def key(self, entry: LogEntry) -> str | None:
        """What a rule did touches its group."""
        body = entry.body
        return episode_key(body.rule, body.group) if isinstance(body, RuleFired | RuleEnded) else None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the state after an entry."""
        body = entry.body
        if not isinstance(body, RuleFired | RuleEnded):
            return state
        at = write_moment(entry.ts)
        return Episode.decode(state).after(body, at, seq=entry.seq, inc=entry.inc, run=entry.run).encode()


def episode_key(rule: str, group: str) -> str:
    """Name the state of a group; the name of a rule has no blank."""
    return f"{rule} {group}"


def episode_in(view: Store | View, rule: str, group: str) -> Episode:
    """Read the last episode of a group."""
    return Episode.decode(view.projection(Episodes.name, episode_key(rule, group)))


def episode_name(rule: str, group: str, number: int) -> str:
    """Name an episode by what it is of, and which one it is: whoever finds it gives it this name."""
    digest = hashlib.sha256(f"{rule} {number} {group}".encode()).digest()
    return "ep-" + "".join("0123456789abcdefghjkmnpqrstvwxyz"[byte % 32] for byte in digest[:8])
