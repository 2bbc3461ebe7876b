"""The kinds for what made something begin: alerts, the rules that heeded them, and the runs that these propose."""

from __future__ import annotations

from typing import Literal

from mimrun.log.field import Count, Digest, Moment, Name, Reason, Seq, Title, Word
from mimrun.log.kind import Body, Kind

__all__ = [
    "AlertReceived",
    "ProposalDismissed",
    "ProposalMade",
    "ProposalTaken",
    "RuleEnded",
    "RuleFired",
    "StormBegan",
    "StormEnded",
]


class AlertReceived(Body):
    """A monitoring system said that something is wrong, or right again.

    The blob is the alert in mimrun's own form, canonical JSON with its labels and annotations. `key` tells an alert from
    its repetitions, `fingerprint` tells what it is about from everything else, as its source does.
    """

    kind = Kind.ALERT_RECEIVED
    blobs = frozenset({"alert"})
    source: Word
    key: Digest
    fingerprint: Name
    status: Literal["firing", "resolved", "acknowledged", "info"]
    severity: Literal["critical", "high", "warning", "info", "unknown"]
    title: Title
    service: Word = ""
    value: Word = ""
    starts_at: Moment = ""
    ends_at: Moment = ""
    auth: Literal["signature", "token", "person", "none"]
    raw_digest: Digest
    more: bool = False


class RuleFired(Body):
    """A rule heeded alerts, once for the episode: what it did, or why it did less than it is for.

    `alerts` are the entries of the alerts that made it fire, the first ones where there are very many.
    """

    kind = Kind.RULE_FIRED
    rule: Name
    rules: Digest
    episode: Word
    group: Name
    outcome: Literal["notified", "proposed", "launched", "held", "failed"]
    reason: Reason = ""
    proposal: Word = ""
    alerts: tuple[Seq, ...] = ()
    count: Count = 0


class RuleEnded(Body):
    """An episode is over: the alerts were resolved, or none came any more."""

    kind = Kind.RULE_ENDED
    rule: Name
    episode: Word
    group: Name
    reason: Reason = ""


class ProposalMade(Body):
    """A plan waits for a person to launch it; the blobs are its canonical JSON, and the runbooks that it was made of."""

    kind = Kind.PROPOSAL_MADE
    blobs = frozenset({"plan", "runbooks"})
    proposal: Word
    rule: Name
    runbook: Name
    version: Word
    digest: Digest
    title: Title
    risk: Word
    expires_at: Moment


class ProposalTaken(Body):
    """Somebody launched what was proposed; the entry's run is that run."""

    kind = Kind.PROPOSAL_TAKEN
    proposal: Word


class ProposalDismissed(Body):
    """What was proposed is not going to be launched."""

    kind = Kind.PROPOSAL_DISMISSED
    proposal: Word
    reason: Reason


class StormBegan(Body):
    """More runs were asked for than rules may launch; until somebody ends it they only propose.

    `incident` is the one incident that what comes belongs to from now on.
    """

    kind = Kind.STORM_BEGAN
    incident: Name
    reason: Reason


class StormEnded(Body):
    """Rules may launch again."""

    kind = Kind.STORM_ENDED
    reason: Reason
