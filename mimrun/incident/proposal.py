"""Proposals: frozen plans that rules have made, each waiting for one person to launch it or to let it be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from mimrun.log.entry import LogEntry
from mimrun.log.kinds import ProposalDismissed, ProposalMade, ProposalTaken, RuleFired
from mimrun.log.moment import read_moment, write_moment
from mimrun.log.store import Store, View

Decided: TypeAlias = Literal["", "taken", "dismissed"]
Standing: TypeAlias = Literal["open", "taken", "dismissed", "expired"]


class Proposal(BaseModel):
    """How a proposal stands.

    Arguments:
        made: the entry that has the plan; 0 where there is no such proposal.
        group, episode, alerts: what it was proposed for, and the entries of the first alerts.
        reason: why the rule proposes it, where it is for launching.
        digest: of the plan.
        decided: what became of it, by whom, when and why.
        run: the run that was launched.
    """

    model_config = ConfigDict(frozen=True)

    name: str = ""
    rule: str = ""
    group: str = ""
    episode: str = ""
    alerts: tuple[int, ...] = ()
    reason: str = ""
    incident: str = ""
    runbook: str = ""
    version: str = ""
    digest: str = ""
    title: str = ""
    risk: str = ""
    made: int = 0
    made_at: str = ""
    expires_at: str = ""
    decided: Decided = ""
    by: str = ""
    at: str = ""
    why: str = ""
    run: str = ""

    def standing(self, now: datetime) -> Standing:
        """Say how it stands at a moment: time takes it away also where nobody looks."""
        if self.decided:
            return self.decided
        return "expired" if now >= read_moment(self.expires_at) else "open"

    def encode(self) -> bytes:
        """Give the bytes that the store keeps."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> Proposal:
        """Read what `encode` gave."""
        return cls.model_validate_json(data)


class Proposals:
    """The projector: one state for each proposal, by its name."""

    name: Final = "proposals/1"

    def empty(self) -> bytes:
        """A proposal that nobody made."""
        return Proposal().encode()

    def key(self, entry: LogEntry) -> str | None:
        """An entry about a proposal touches it."""
        match entry.body:
            case RuleFired() | ProposalMade() | ProposalTaken() | ProposalDismissed() as body:
                return body.proposal or None
            case _:
                return None

    def apply(self, state: bytes, entry: LogEntry, blobs: Mapping[str, bytes]) -> bytes:
        """Give the state after an entry. The first word about it holds."""
        was = Proposal.decode(state)
        now = was.model_copy(update=_changes(was, entry))
        return now.encode()


def _changes(was: Proposal, entry: LogEntry) -> dict[str, object]:
    at = write_moment(entry.ts)
    match entry.body:
        case RuleFired() as body if not was.episode:
            said = body.model_dump(include={"rule", "group", "episode", "alerts", "reason"})
            return {**said, "name": body.proposal}
        case ProposalMade() as body if not was.made:
            said = body.model_dump(
                include={"rule", "runbook", "version", "digest", "title", "risk", "expires_at"}
            )
            return {**said, "name": body.proposal, "incident": entry.inc, "made": entry.seq, "made_at": at}
        case ProposalTaken() if was.made and not was.decided:
            return {"decided": "taken", "by": entry.actor.id, "at": at, "run": entry.run}
        case ProposalDismissed() as body if was.made and not was.decided:
            return {"decided": "dismissed", "by": entry.actor.id, "at": at, "why": body.reason}
        case _:
            return {}


def proposal_in(view: Store | View, name: str) -> Proposal:
    """Read how a proposal stands; one without a name where there is none."""
    return Proposal.decode(view.projection(Proposals.name, name))
