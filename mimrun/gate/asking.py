"""A request for an approval, as it travels to somebody who has no log at hand.

It holds the plan and the steps behind the gate themselves. Whoever reads it works out their digests anew, so
that what is shown is what is signed, whatever was written around it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError

from mimrun import canonical
from mimrun.errors import InputError
from mimrun.gate.signature import Statement
from mimrun.log.field import Moment, Name, Reason, Seq, Title
from mimrun.log.moment import write_moment
from mimrun.runbook.model import Needed, Part
from mimrun.runbook.node import PlannedGate
from mimrun.runbook.plan import Plan, Segment

FORMAT: Final = "mimapproval-request/1"


class _Asked(Part):
    """The request as it travels."""

    format: Literal["mimapproval-request/1"] = FORMAT
    log: Name
    incident: Name
    run: Name
    gate: Name
    request: Seq
    title: Title
    asked_by: Name
    needed: Annotated[tuple[Needed, ...], Field(max_length=100)]
    change: Name
    freeze: Reason = ""
    expires: Moment
    plan: dict[str, Any]
    segment: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asking:
    """What a gate asks, with all that would run.

    Arguments:
        log: the origin of the log.
        gate: its path in the plan, and `request` the entry that asked.
        title: what the gate is called in the plan.
        asked_by: who asked for the run, and `needed` whose approvals it takes, as the log says.
        freeze: which calendars are closed, in words, where a freeze approver has to allow it; or "".
        expires: when the gate stops waiting.
        frozen: the plan's bytes as they were frozen, perhaps by another version of mimrun.
    """

    log: str
    incident: str
    run: str
    gate: str
    request: int
    title: str
    asked_by: str
    needed: tuple[Needed, ...]
    change: str
    freeze: str
    expires: datetime
    plan: Plan
    segment: Segment
    frozen: bytes

    def encode(self) -> bytes:
        """Give the bytes that travel."""
        asked = _Asked(
            log=self.log,
            incident=self.incident,
            run=self.run,
            gate=self.gate,
            request=self.request,
            title=self.title,
            asked_by=self.asked_by,
            needed=self.needed,
            change=self.change,
            freeze=self.freeze,
            expires=write_moment(self.expires),
            plan=json.loads(self.frozen),
            segment=self.segment.model_dump(mode="json", by_alias=True),
        )
        return canonical.encode(asked.model_dump(mode="json"))

    @classmethod
    def decode(cls, data: bytes) -> Asking:
        """Read what `encode` gave, and see that its parts belong together.

        1. The steps name the digest of the plan, the run and the gate that the request names.
        2. The gate is one of the plan, and its name in the request is that in the plan.

        Raises:
            InputError: it is no request, or its parts do not belong together.
        """
        try:
            asked = _Asked.model_validate_json(data)
            frozen = canonical.encode(asked.plan)
            plan = Plan.frozen(frozen, canonical.digest_bytes(frozen))
            assert plan is not None
            segment = Segment.decode(canonical.encode(asked.segment))
            node = plan.node(asked.gate)
            expires = datetime.fromisoformat(asked.expires)
        except (ValidationError, ValueError, KeyError, RecursionError) as exc:
            raise InputError(f"it is no request of {FORMAT}, or of a newer mimrun: {_first(exc)}") from None
        same = (segment.plan, segment.run, segment.gate) == (plan.digest, asked.run, asked.gate)
        if not same or not isinstance(node, PlannedGate) or node.name != asked.title:
            raise InputError("the parts of this request do not belong together; it was put together by hand")
        return cls(
            asked.log,
            asked.incident,
            asked.run,
            asked.gate,
            asked.request,
            asked.title,
            asked.asked_by,
            asked.needed,
            asked.change,
            asked.freeze,
            expires,
            plan,
            segment,
            frozen,
        )

    def statement(
        self,
        decision: Literal["approved", "rejected"],
        *,
        person: str,
        reason: str,
        at: datetime,
        purpose: Literal["approval", "freeze_override"] = "approval",
    ) -> Statement:
        """Give what is signed to decide this."""
        return Statement(
            log=self.log,
            incident=self.incident,
            run=self.run,
            gate=self.gate,
            request=self.request,
            plan=self.plan.digest,
            segment=self.segment.digest,
            decision=decision,
            purpose=purpose,
            person=person,
            reason=reason,
            at=write_moment(at),
            expires=write_moment(self.expires),
        )


def _first(exc: Exception) -> str:
    if isinstance(exc, ValidationError):
        error = exc.errors()[0]
        return f"{'.'.join(map(str, error['loc']))}: {error['msg']}"[:200]
    return str(exc)[:200]
